"""The daemon and a leakwatch-capture that lies: it writes nowhere else, and is a reason for people."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from capture_helpers import (
    CLIENT_UID,
    open_folder,
)
from children import process_of

from agent.capture_helper.client import CaptureHelper, HelperAbsentError
from agent.capture_helper.protocol import Message, encode
from agent.capture_helper.sources import helped
from agent.consent import Consent
from agent.evidence.captures import NO_CONSENT, Captures
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Cost, SourceError, Tier
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.taking import Taking
    from agent.model import Evidence, Process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users are needed")
NOW = Instant(10_000.0, 1_800_000_000.0)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


class Denied:
    """A source that this user may not take."""

    name = "smaps"
    cost = Cost(Tier.CHEAP)

    def suits(self, process: Process, consent: Consent) -> bool:
        return process.key.pid > 0 and not consent.heavy

    def why_not(self, process: Process, held: HeldProcess) -> str:
        return "" if held.key != process.key else "no right"

    def take(self, taking: Taking) -> None:
        raise SourceError(f"{self.name}: no right to {taking.process.key.pid}")


@contextmanager
def impostor(folder: Path, *answers: Message | bytes) -> Iterator[str]:
    """Answer one connection with what is given, whatever is asked; yield where it listens."""
    path = str(folder / "impostor.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)

        def serve() -> None:
            line, _ = listener.accept()
            with line, suppress(OSError):
                for answer in answers:
                    line.sendall(answer if isinstance(answer, bytes) else encode(answer))
                line.shutdown(socket.SHUT_WR)
                while line.recv(65_536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(20)
        assert not thread.is_alive()


def captured(folder: Path, path: str, consent: Consent = NO_CONSENT) -> Evidence:
    """Return what a capture of ourselves makes of a helper."""
    captures = Captures(folder / "captures", EvidenceOptions(), helped([Denied()], CaptureHelper(path)))
    return captures.capture(process_of(os.getpid()), "x", NOW, consent=consent)


END = Message(
    {"say": "end", "why_not": "", "served": True, "suits": True, "lines": [[0, "top: x"]], "missing": []}
)


def test_what_the_helper_gives_is_kept_as_if_it_was_taken_here(folder: Path) -> None:
    file = Message({"say": "file", "name": "x.txt"}, b"content")
    with impostor(folder, file, END) as path:
        evidence = captured(folder, path)

    assert (evidence.gist, evidence.missing) == (("top: x",), ())
    assert (Path(evidence.directory) / "x.txt").read_bytes() == b"content"


@pytest.mark.parametrize(("consent", "disproof"), [(Consent(collect=True), "took it back"), (NO_CONSENT, "")])
def test_a_helper_disproves_growth_only_where_a_collection_is_allowed(
    folder: Path, consent: Consent, disproof: str
) -> None:
    file = Message({"say": "file", "name": "x.txt"}, b"content")
    with impostor(folder, file, Message(END.head | {"disproof": "took it back"})) as path:
        assert captured(folder, path, consent).disproof == disproof


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/tmp/outside.txt", "a/../../outside.txt", ".hidden", "evidence.json"]
)
def test_a_helper_cannot_write_elsewhere(folder: Path, name: str) -> None:
    with impostor(folder, Message({"say": "file", "name": name}, b"x"), END) as path:
        evidence = captured(folder, path)

    assert (evidence.files, len(evidence.missing)) == ((), 1)
    assert evidence.missing[0].startswith("smaps: no right; leakwatch-capture: ")
    assert not list(folder.rglob("outside.txt"))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([b""], "the other side has closed the line"),
        ([b"\0\0"], "the other side has closed the line"),
        ([struct.pack("!II", 2**31, 0)], "a message that is too long"),
        ([struct.pack("!II", 2, 2**31)], "a message that is too long"),
        ([struct.pack("!II", 9, 0) + b"[" * 9], "a message that is no JSON"),
        ([Message({"say": "what"})], "an answer that is none"),
        ([Message({"say": "end", "served": True, "why_not": 7})], "an answer that is none"),
        ([Message(END.head | {"lines": [[0]]})], "an answer that is none"),
        ([Message({"say": "want", "name": "smaps.json"})] * 99, "it does not come to an end"),
        ([Message(END.head | {"why_not": "broken\nstraw"})], r"broken\x0astraw"),
    ],
)
def test_a_helper_that_lies_is_a_reason_for_people(
    folder: Path, answers: list[Message | bytes], why: str
) -> None:
    with impostor(folder, *answers) as path:
        evidence = captured(folder, path)

    assert evidence.missing == (f"smaps: no right; leakwatch-capture: {why}",)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (END, ""),
        (Message(END.head | {"why_not": "no right"}), "no right"),
        (Message(END.head | {"why_not": "is busy"}), "no right; leakwatch-capture: is busy"),
        (Message(END.head | {"served": False}), "no right"),
        (Message(END.head | {"suits": False}), "not for this runtime"),
        (Message({}), "no right; leakwatch-capture: an answer that is none"),
    ],
)
def test_readiness_tells_why_neither_of_the_two_can(folder: Path, answer: Message, why: str) -> None:
    process = process_of(os.getpid())
    with impostor(folder, answer) as path, HeldProcess(process.key) as held:
        (source,) = helped([Denied()], CaptureHelper(path))

        assert source.why_not(process, held) == why


@pytest.mark.parametrize("path", ["", "/nowhere/capture.sock", "/dev/null"])
def test_no_helper_is_as_if_there_was_none(folder: Path, path: str) -> None:
    assert captured(folder, path).missing == (f"smaps: no right to {os.getpid()}",)


def test_a_helper_of_another_user_is_not_believed(folder: Path) -> None:
    script = f"""
import os, socket, sys
os.setresuid({CLIENT_UID}, {CLIENT_UID}, {CLIENT_UID})
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
print("ready", flush=True)
sys.stdin.read()
"""
    folder.chmod(0o777)
    path = str(folder / "other.sock")
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"

        with pytest.raises(HelperAbsentError, match="belongs to another user"):
            CaptureHelper(path).about()
        other.kill()
