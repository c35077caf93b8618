"""The documents that people read, and how what they show is run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
DETECTION = (ROOT / "docs" / "detection.md").read_text()
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text()
DOCUMENTS = {
    "README.md": README,
    "docs/guide.md": GUIDE,
    "docs/detection.md": DETECTION,
    "docs/evidence.md": EVIDENCE,
}
EXECUTABLES = Path(sys.executable).parent

TRY = re.compile(r"<!-- try(?:: exit (?P<codes>[\d or]+))? -->\n```sh\n(?P<command>.*?)```", re.DOTALL)
"""What runs as it stands from a clone."""


def environment(home: Path) -> dict[str, str]:
    path = f"{EXECUTABLES}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "XDG_STATE_HOME": str(home), "LC_ALL": "C.UTF-8"}


def run_shell(command: str, home: Path, cwd: Path = ROOT) -> CompletedProcess[str]:
    """Run a command as a person would; it must not wait for anybody."""
    return run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=cwd,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
