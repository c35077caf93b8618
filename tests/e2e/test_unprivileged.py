"""The daemon without any right finds the leak of another user's program, and asks the helper for the rest.

A second counts as a minute. Three users: the daemon's, the program's, and root, as which the helper runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml
from capture_helpers import CLIENT_UID, PYTHON, TARGET_UID, capture_helper, open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users are needed")

SCALE = 60
BYTES_PER_S = 4_000_000
"""240 MB/h of the daemon's clock."""
LEAK = f"""
import os, sys, threading

kept, forever = [], threading.Event()

def remember():
    kept.append(b"." * ({BYTES_PER_S} // 10))
    return forever.wait(0.1)

os.setgroups([])
os.setresgid({TARGET_UID}, {TARGET_UID}, {TARGET_UID})
os.setresuid({TARGET_UID}, {TARGET_UID}, {TARGET_UID})
while not remember():
    pass
"""
DAEMON = f"""
import codecs, os, sys, tempfile
from contextlib import ExitStack
from pathlib import Path
from agent.bootstrap import Setting, build
from agent.cli.run import command
from agent.clock import SystemClock
from agent.config import load
from agent.evidence.sources import all_sources
from agent.report.page import page
with tempfile.TemporaryDirectory() as state, ExitStack() as stack:  # everything is imported
    build(Setting(load(sys.argv[2], os.environ), "", Path(state), SystemClock(), {{}}), stack)
codecs.lookup("ascii"), all_sources()
os.setgroups([])
os.setresgid({CLIENT_UID}, {CLIENT_UID}, {CLIENT_UID})
os.setresuid({CLIENT_UID}, {CLIENT_UID}, {CLIENT_UID})
command(sys.argv[1:])
"""


class Told(NamedTuple):
    """What a daemon has logged."""

    leak: str
    evidence: str


@contextmanager
def leaking() -> Iterator[int]:
    with subprocess.Popen([PYTHON, "-c", LEAK]) as program:
        yield program.pid
        program.kill()


@contextmanager
def daemon(folder: Path, pid: int, helper: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "state").mkdir()
    os.chown(folder / "state", CLIENT_UID, CLIENT_UID)
    entry = {"service": "shop", "match": {"pid": pid}}
    config = {"watch": [entry], "state_dir": str(folder / "state"), "evidence": {"helper": helper}}
    file = folder / "leakwatch.yaml"
    file.write_text(yaml.safe_dump(config))
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            DAEMON,
            "--config",
            str(folder / "leakwatch.yaml"),
            "--time-scale",
            str(SCALE),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def told(running: subprocess.Popen[str]) -> Told:
    """Return the first lines on the leak and on its evidence, and stop the daemon."""
    assert running.stderr is not None
    found = {"LIMIT": "", "LEAK": "", "evidence": ""}
    for line in running.stderr:
        sys.stdout.write(line)  # shown where the test fails
        word = next((word for word in line.split() if word in found), "")
        found[word] = line
        if word == "evidence":
            break
    running.send_signal(signal.SIGTERM)
    return Told(found["LIMIT"] or found["LEAK"], found["evidence"])


def test_a_leak_is_found_without_any_right_and_explained_with_the_helper() -> None:
    with ExitStack() as stack:
        pid = stack.enter_context(leaking())
        alone, helped = (stack.enter_context(open_folder()) for _ in range(2))
        helper = stack.enter_context(capture_helper(helped))
        daemons = [
            stack.enter_context(daemon(folder, pid, path))
            for folder, path in ((alone, ""), (helped, str(helper.path)))
        ]
        without, with_helper = (told(running) for running in daemons)

    for line in (without.leak, with_helper.leak):
        assert f"service=shop pid={pid} " in line
    assert "smaps: " in without.evidence
    assert "py-spy: " in without.evidence
    assert "CAP_SYS_PTRACE" in without.evidence
    assert 'top="remember (<string>:' in with_helper.evidence
    assert "missing=" not in with_helper.evidence
