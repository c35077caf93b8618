"""A real leakwatch-capture for tests, started as systemd starts it, and clients of other users."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from children import process_of

from agent.capture_helper.protocol import VERSION, Message
from agent.capture_helper.wire import receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.model import Process

CLIENT_UID = 65_531
HELPER_UID = 65_532
CAP_DAC_READ_SEARCH = 2
CAP_SYS_PTRACE = 19
TARGET_UID = 65_533
SECRET = "hunter2-in-a-local"
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
"""One that lies in no private folder: its file is read by the right to trace alone."""
APPLICATION = f"""
import os, sys

def handle(token):
    print("ready", flush=True)
    sys.stdin.readline()

os.setgroups([])
os.setresgid({TARGET_UID}, {TARGET_UID}, {TARGET_UID})
os.setresuid({TARGET_UID}, {TARGET_UID}, {TARGET_UID})
handle("{SECRET}")
"""
START = """
import codecs, ctypes, os, struct, sys
from agent.capture_helper.main import command
from agent.evidence.sources import all_sources
codecs.lookup("ascii"), all_sources()  # before their folder may be closed to us
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
uid, capabilities = int(sys.argv[2]), [int(word) for word in sys.argv[3].split(",") if word]
if uid:
    libc, bits = ctypes.CDLL(None), sum(1 << number for number in capabilities)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", bits, bits, bits, 0, 0, 0))
    for number in capabilities:
        libc.prctl(47, 2, number, 0, 0)  # PR_CAP_AMBIENT_RAISE
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
command(sys.argv[4:])
"""
"""What systemd does before it starts a service: socket, user, ambient capabilities (capabilities(7))."""
CAPTURE = """
import codecs, json, os, sys
from dataclasses import asdict
from pathlib import Path
from agent.capture_helper.client import CaptureHelper
from agent.capture_helper.sources import helped
from agent.clock import SystemClock
from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.evidence.sources import all_sources
from agent.watch.discovery import Discovery
folder, path, pid, uid = sys.argv[1:]

codecs.lookup("ascii")  # before its folder may be closed to us
sources = all_sources()
os.setgroups([])
os.setresgid(int(uid), int(uid), int(uid))
os.setresuid(int(uid), int(uid), int(uid))
process = next(one for one in Discovery().processes() if one.key.pid == int(pid))
captures = Captures(Path(folder), EvidenceOptions(cooldown_s=0.0), helped(sources, CaptureHelper(path)))
for line in sys.stdin:
    consent = Consent(**dict.fromkeys(line.split(), True))
    evidence = captures.capture(process, "x", SystemClock().now(), consent=consent)
    print(json.dumps(asdict(evidence)), flush=True)
"""


class Helper(NamedTuple):
    """One that runs."""

    path: Path
    program: subprocess.Popen[str]

    def alive(self) -> bool:
        return self.program.poll() is None

    def end(self) -> str:
        """Kill it, and return its log."""
        self.program.kill()
        _, log = self.program.communicate()
        return log

    def connect(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(20.0)
        line.connect(str(self.path))
        return line


@contextmanager
def capture_helper(
    folder: Path, *options: str, user: int = CLIENT_UID, capabilities: Sequence[int] | None = None
) -> Iterator[Helper]:
    """Run a helper as root, or as a user of its own with nothing but these capabilities."""
    uid = 0 if capabilities is None else HELPER_UID
    numbers = ",".join(map(str, capabilities or ()))
    path = folder / "capture.sock"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(16)
        number = listener.fileno()
        program = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", START, str(number), str(uid), numbers, "--user", str(user), *options],
                pass_fds=(number,),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(program.kill)
        yield Helper(path, program)


class Captor:
    """An unprivileged client in a process of its own; captures the target whenever it is told."""

    def __init__(self, folder: Path, path: Path | str, pid: int, uid: int = CLIENT_UID) -> None:
        folder.mkdir()
        os.chown(folder, uid, uid)
        self._program = subprocess.Popen(
            [sys.executable, "-c", CAPTURE, str(folder), str(path), str(pid), str(uid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def capture(self, *consent: str) -> dict[str, Any]:
        """Return the evidence of a capture, as JSON values."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(" ".join(consent) + "\n")
        self._program.stdin.flush()
        told: dict[str, Any] = json.loads(self._program.stdout.readline())
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.communicate()


@contextmanager
def other_users_program() -> Iterator[Process]:
    """Run a Python program of another user, with a secret in a local variable."""
    with subprocess.Popen(
        [PYTHON, "-c", APPLICATION], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        yield process_of(program.pid)
        program.kill()


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that other users reach too, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="leakwatch-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def request_for(process: Process, **changed: object) -> dict[str, Any]:
    """Return a request to take smaps, with what is changed in it."""
    pid, start_ticks, boot_id = process.key
    told = {"version": VERSION, "ask": "take", "name": "smaps", "pid": pid, "start_ticks": start_ticks}
    return told | {"boot_id": boot_id, "timeout_s": 5.0, "locals": False, "consent": []} | changed


def ask(helper: Helper, head: dict[str, Any]) -> list[Message]:
    """Return every message that a request is answered by, once the helper has closed the line."""
    with helper.connect() as line:
        send(line, Message(head))
        answers = [receive(line, 50_000_000)]
        while answers[-1].head["say"] != "end":
            if answers[-1].head["say"] == "want":
                send(line, Message({"age_s": None}))
            answers.append(receive(line, 50_000_000))
        assert swallowed(line) == b""
        return answers


def last(helper: Helper, head: dict[str, Any]) -> dict[str, Any]:
    """Return what the answer ends with."""
    return ask(helper, head)[-1].head


def swallowed(line: socket.socket) -> bytes:
    """Return everything that still comes."""
    found = b""
    try:
        while chunk := line.recv(65_536):
            found += chunk
    except ConnectionResetError:
        pass  # it has closed the line without reading everything
    return found
