"""The files that install it: the systemd unit and the image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from agent.cli.run import MISTAKE

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "systemd" / "leakwatch.service"
DOCKERFILE = ROOT / "Dockerfile"

BLINDING = (
    "ProtectProc=invisible",
    "ProtectProc=ptraceable",
    "ProcSubset=pid",
    "PrivateUsers=yes",
    "PrivatePIDs=yes",
)


def directives() -> list[str]:
    lines = UNIT.read_text().splitlines()
    return [line for line in lines if re.match(r"[A-Z]\w+=", line)]


def test_each_directive_has_its_reason_on_the_line_above() -> None:
    lines = UNIT.read_text().splitlines()

    bare = [line for above, line in pairwise(lines) if is_bare(above, line)]

    assert bare == []
    assert len(directives()) > 30


def is_bare(above: str, line: str) -> bool:
    return re.match(r"#?[A-Z]\w+=", line) is not None and not above.startswith("# ")


def test_the_daemon_says_itself_when_it_is_ready_and_alive() -> None:
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=60"} <= set(directives())


def test_evidence_keeps_its_capability_and_gains_no_other() -> None:
    granted = [line for line in directives() if line.startswith(("AmbientCap", "CapabilityBound"))]

    assert granted == ["AmbientCapabilities=CAP_SYS_PTRACE", "CapabilityBoundingSet=CAP_SYS_PTRACE"]


def test_the_right_to_look_into_processes_writes_into_none() -> None:
    assert "SystemCallFilter=~process_vm_writev" in directives()
    assert not [line for line in directives() if line.startswith("SystemCallFilter=") and "@debug" in line]


def test_it_is_started_again_however_often_it_fails_but_for_a_mistake_in_its_file() -> None:
    life = {"StartLimitIntervalSec=0", "Restart=on-failure", f"RestartPreventExitStatus={MISTAKE}"}

    assert life <= set(directives())


@pytest.mark.parametrize("directive", BLINDING)
def test_nothing_hides_the_targets(directive: str) -> None:
    assert directive not in directives()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))

    found = subprocess.run(
        [tool, "verify", str(copy)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )

    assert (found.returncode, [line for line in found.stderr.splitlines() if UNIT.name in line]) == (0, [])


def instructions() -> list[str]:
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_has_two_stages_and_ends_without_root() -> None:
    lines = instructions()
    last_stage = lines[max(at for at, line in enumerate(lines) if line.startswith("FROM ")) :]

    assert sum(line.startswith("FROM ") for line in lines) == 2
    assert [line for line in last_stage if line.startswith("USER ")] == ["USER 10001:0"]
    assert not [line for line in last_stage if "pip install" in line]


def test_the_image_starts_leakwatch_itself_and_no_shell() -> None:
    assert [line for line in instructions() if line.startswith(("ENTRYPOINT", "CMD"))] == [
        'ENTRYPOINT ["leakwatch"]',
        'CMD ["run", "--config", "/etc/leakwatch/leakwatch.yaml"]',
    ]


def test_what_the_image_copies_is_let_into_its_context() -> None:
    copied = {
        word.removeprefix("./")
        for line in instructions()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == let_in
