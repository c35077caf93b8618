"""leakwatch killed in the middle of a capture: the process that was looked at runs on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of

from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.python import pyspy

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 4
TAKE_ON = """
import sys
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.model import Instant
from agent.watch.discovery import Discovery
from pathlib import Path

pid, folder = int(sys.argv[1]), Path(sys.argv[2])
process = next(one for one in Discovery().processes() if one.key.pid == pid)
taker = Captures(folder, EvidenceOptions(cooldown_s=0.0))
print("ready", flush=True)
while True:
    evidence = taker.capture(process, "x", Instant(1.0, 1.0))
    print(len(evidence.files), flush=True)
"""


@pytest.mark.skipif(pyspy.find() is None, reason="py-spy is not installed")
def test_a_target_runs_on_whenever_leakwatch_is_killed(tmp_path: Path, child: LeakyChild) -> None:
    seed = random.SystemRandom().randrange(1000)
    chance, pause = random.Random(seed), threading.Event()  # noqa: S311 - moments, no secrets
    for number in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", TAKE_ON, str(child.pid), str(tmp_path / str(number))],
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as taker:
            assert taker.stdout is not None
            assert taker.stdout.readline() == b"ready\n"
            pause.wait(chance.uniform(0.0, 0.25))
            taker.send_signal(signal.SIGKILL)
            taker.wait()
        child.grow(4096)  # it answers, so it runs
        with HeldProcess(process_of(child.pid).key) as held:
            assert not held.check().stopped, f"seed {seed}, kill {number}"
