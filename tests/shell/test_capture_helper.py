"""leakwatch-capture: a real helper, real other users, and clients that mean harm."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from capture_helpers import (
    CAP_DAC_READ_SEARCH,
    CAP_SYS_PTRACE,
    CLIENT_UID,
    TARGET_UID,
    Captor,
    Helper,
    capture_helper,
)
from children import process_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.capture_helper.client import CaptureHelper, HelperAbsentError
from agent.capture_helper.protocol import MAX_REQUEST_BYTES, VERSION, Message, encode
from agent.capture_helper.server import MAX_CONNECTIONS
from agent.capture_helper.sources import helped
from agent.capture_helper.wire import receive, send
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Cost, SourceError, Tier
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Evidence, Process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users are needed")

SECRET = "hunter2-in-a-local"
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
"""One that lies in no private folder: its file is read by the right to trace alone."""
NOW = Instant(10_000.0, 1_800_000_000.0)
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


@pytest.fixture(scope="module")
def target() -> Iterator[Process]:
    """A Python program of another user."""
    with subprocess.Popen(
        [PYTHON, "-c", APPLICATION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        yield process_of(program.pid)
        program.kill()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that other users reach too, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="leakwatch-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    with capture_helper(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    """One helper for everything that must not kill it."""
    with capture_helper(tmp_path_factory.mktemp("lasting")) as running:
        yield running
        assert running.alive()


def request(process: Process, **changed: object) -> dict[str, Any]:
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


def end(helper: Helper, head: dict[str, Any]) -> dict[str, Any]:
    return ask(helper, head)[-1].head


# What it is for


def test_without_a_helper_an_unprivileged_capture_says_what_is_missing(
    target: Process, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    with Captor(tmp_path / "captures", tmp_path / "nobody.sock", target.key.pid) as captor:
        evidence = captor.capture()

    assert evidence["files"] == ["status.json", "evidence.json"]
    assert [text.partition(":")[0] for text in evidence["missing"]] == ["smaps", "py-spy", "fds"]
    assert all("CAP_" in text for text in evidence["missing"])
    assert not any("leakwatch-capture" in text for text in evidence["missing"])


def test_an_unprivileged_capture_takes_everything_with_a_helper(
    target: Process, helper: Helper, tmp_path: Path
) -> None:
    with Captor(tmp_path / "captures", helper.path, target.key.pid) as captor:
        evidence = captor.capture()

    assert evidence["missing"] == []
    assert {"pyspy.txt", "pyspy.json", "smaps.json", "fds.json", "status.json"} <= set(evidence["files"])
    assert evidence["gist"][0] == "top stack: handle (<string>:6) in 1 of 1 thread"
    folder = Path(evidence["directory"])
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        (CLIENT_UID, 0o600)
    }


def test_the_second_capture_tells_what_grew_since_the_first(
    target: Process, helper: Helper, tmp_path: Path
) -> None:
    with Captor(tmp_path / "captures", helper.path, target.key.pid) as captor:
        first, second = captor.capture(), captor.capture()

    assert any(line.startswith("holds: ") for line in first["gist"]), first
    assert any(line.startswith("grew: ") or "grew" in line for line in second["gist"]), second


def test_the_right_to_trace_alone_gives_stacks_and_mappings(target: Process, tmp_path: Path) -> None:
    with (
        capture_helper(tmp_path, capabilities=[CAP_SYS_PTRACE]) as helper,
        Captor(tmp_path / "captures", helper.path, target.key.pid) as captor,
    ):
        evidence = captor.capture()

    assert {"pyspy.txt", "smaps.json"} <= set(evidence["files"])
    (missing,) = evidence["missing"]
    assert missing.startswith("fds: needs CAP_DAC_READ_SEARCH"), missing


def test_two_capabilities_give_everything(target: Process, tmp_path: Path) -> None:
    with (
        capture_helper(tmp_path, capabilities=[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]) as helper,
        Captor(tmp_path / "captures", helper.path, target.key.pid) as captor,
    ):
        assert captor.capture()["missing"] == []


def test_nothing_is_left_of_a_request(
    target: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with capture_helper(tmp_path) as helper:
        answers = ask(helper, request(target))

    assert "smaps.json" in [answer.head.get("name") for answer in answers]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_it_ends_when_nobody_comes(tmp_path: Path) -> None:
    with capture_helper(tmp_path, "--idle", "0.1") as helper:
        _, log = helper.program.communicate(timeout=20)

    assert helper.program.returncode == 0
    assert 'stopped   why="nobody has come for a while"' in log


def test_without_a_socket_it_says_who_starts_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from agent.capture_helper.main import command; command([])"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (ran.returncode, "leakwatch-capture.socket" in ran.stderr) == (3, True)


# Who may ask, and what


def test_another_user_is_refused(target: Process, tmp_path: Path) -> None:
    with (
        capture_helper(tmp_path, user=CLIENT_UID + 1) as helper,
        Captor(tmp_path / "captures", helper.path, target.key.pid) as captor,
    ):
        evidence = captor.capture()
        log = helper.end()

    assert evidence["files"] == ["status.json", "evidence.json"]
    assert all(text.endswith("leakwatch-capture: does not serve this user") for text in evidence["missing"])
    assert f"refused   uid={CLIENT_UID}" in log


def test_what_is_asked_beyond_the_settings_is_refused(target: Process, lasting: Helper) -> None:
    told = end(lasting, request(target, name="collection", consent=["collect", "inject"]))
    known = end(lasting, request(target, name="smaps", consent=["pprof"]))

    assert (told["served"], told["lines"]) == (False, [])
    assert known["why_not"] == "does not know pprof"


def test_local_variables_need_the_helpers_own_word(target: Process, tmp_path: Path) -> None:
    def content(helper: Helper) -> bytes:
        return b"".join(answer.content for answer in ask(helper, request(target, name="py-spy", locals=True)))

    (tmp_path / "strict").mkdir()
    (tmp_path / "loose").mkdir()
    with capture_helper(tmp_path / "strict") as helper:
        assert SECRET.encode() not in content(helper)
    with capture_helper(tmp_path / "loose", "--allow", "locals") as helper:
        assert SECRET.encode() in content(helper)


def test_it_says_what_it_serves(helper: Helper) -> None:
    about = CaptureHelper(str(helper.path)).about()

    assert "smaps" in about.served
    assert about.allowed == ()


def test_readiness_is_found_out_without_taking_anything(target: Process, helper: Helper) -> None:
    client = CaptureHelper(str(helper.path))

    assert client.why_not("smaps", target.key) == ""
    assert (
        client.why_not("smaps", target.key._replace(start_ticks=1)) == f"process {target.key.pid} has ended"
    )
    with pytest.raises(HelperAbsentError):
        client.why_not("no such source", target.key)
    assert "evidence" not in helper.end()


@pytest.mark.parametrize(
    "changed", [{"pid": 4_194_304}, {"start_ticks": 1}, {"boot_id": "00000000"}, {"pid": 2, "start_ticks": 0}]
)
def test_a_process_that_is_not_there_any_more_is_never_mistaken(
    target: Process, lasting: Helper, changed: dict[str, Any]
) -> None:
    (answer,) = ask(lasting, request(target, **changed))

    assert answer.head["why_not"].endswith("has ended")


# Who means harm


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.builds(lambda raw: struct.pack("!II", len(raw), 0) + raw, st.binary(max_size=99))
)
def test_bytes_of_any_kind_get_no_more_than_a_closed_line(lasting: Helper, raw: bytes) -> None:
    with lasting.connect() as line:
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)

        assert swallowed(line) == b""
    assert lasting.alive()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "ask": st.sampled_from(["about", "ready", "take", "collect", ""]) | VALUES,
        "name": st.sampled_from(["smaps", "fds", "collection", "../x"]) | VALUES,
        "pid": st.integers(1, 400) | VALUES,
        "start_ticks": st.integers(0, 2**70) | VALUES,
        "boot_id": VALUES,
        "timeout_s": st.floats() | VALUES,
        "consent": st.lists(st.sampled_from(["heavy", "inject", "pprof", "x"])) | VALUES,
        "version": VALUES,
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_a_request_with_wrong_values_never_ends_the_helper(
    target: Process, lasting: Helper, changed: dict[str, Any]
) -> None:
    with lasting.connect() as line:
        line.sendall(encode(Message(request(target) | {"name": "status"} | changed)))
        line.shutdown(socket.SHUT_WR)
        swallowed(line)

    assert lasting.alive()


def swallowed(line: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := line.recv(65_536):
            found += chunk
    except ConnectionResetError:
        pass  # it has closed the line without reading everything
    return found


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("!II", 2**32 - 1, 2**32 - 1),
        struct.pack("!II", MAX_REQUEST_BYTES + 1, 0),
        struct.pack("!II", 10, 5) + b"x" * 15,
        struct.pack("!II", 4_000, 0) + b"[" * 4_000,
        struct.pack("!II", 4_000, 0) + b'{"a":' * 800,
    ],
)
def test_lengths_that_lie_and_deep_json_close_the_line(target: Process, lasting: Helper, raw: bytes) -> None:
    with lasting.connect() as line:
        line.sendall(raw)
        assert swallowed(line) == b""
    assert end(lasting, request(target))["why_not"] == ""


def test_clients_that_hang_keep_nobody_waiting(target: Process, tmp_path: Path) -> None:
    with ExitStack() as stack:
        helper = stack.enter_context(capture_helper(tmp_path))
        captor = stack.enter_context(Captor(tmp_path / "captures", helper.path, target.key.pid))
        for _ in range(MAX_CONNECTIONS):
            line = stack.enter_context(helper.connect())  # these are root's: silent, and cut off
            line.sendall(b"\0")
        evidence = captor.capture()

        assert evidence["missing"] == []
        assert all(swallowed(line) == b"" for line in [line])


def test_one_user_cannot_take_all_connections(target: Process, tmp_path: Path) -> None:
    with ExitStack() as stack:
        helper = stack.enter_context(capture_helper(tmp_path))
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(helper.connect())

        why = CaptureHelper(str(helper.path)).why_not("smaps", target.key)

    assert why == f"has {MAX_CONNECTIONS} connections of this user open"


def test_a_client_that_leaves_in_the_middle_is_forgotten(target: Process, helper: Helper) -> None:
    for _ in range(MAX_CONNECTIONS + 2):
        with helper.connect() as line:
            send(line, Message(request(target)))
            receive(line, 50_000_000)  # asks for the earlier file, and gets no answer

    assert end(helper, request(target, name="status"))["why_not"] == ""


@pytest.mark.parametrize("content", [b"[" * 1_000_000, b'{"kinds": 1}', b"\xff" * 99, b"1" * 9_999])
def test_an_earlier_file_that_lies_spoils_nothing(target: Process, lasting: Helper, content: bytes) -> None:
    with lasting.connect() as line:
        send(line, Message(request(target)))
        while (answer := receive(line, 50_000_000)).head["say"] != "want":
            pass
        send(line, Message({"age_s": 1.0}, content))
        while answer.head["say"] != "end":
            answer = receive(line, 50_000_000)

    assert lasting.alive()
    assert answer.head["served"] is True


# A helper that lies


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


def captured(folder: Path, path: str) -> Evidence:
    """Return what a capture of ourselves makes of a helper."""
    captures = Captures(folder / "captures", EvidenceOptions(), helped([Denied()], CaptureHelper(path)))
    return captures.capture(process_of(os.getpid()), "x", NOW)


END = Message({"say": "end", "why_not": "", "served": True, "lines": [[0, "top: x"]], "missing": []})


def test_what_the_helper_gives_is_kept_as_if_it_was_taken_here(tmp_path: Path) -> None:
    file = Message({"say": "file", "name": "x.txt"}, b"content")
    with impostor(tmp_path, file, END) as path:
        evidence = captured(tmp_path, path)

    assert (evidence.gist, evidence.missing) == (("top: x",), ())
    assert (Path(evidence.directory) / "x.txt").read_bytes() == b"content"


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/tmp/outside.txt", "a/../../outside.txt", ".hidden", "evidence.json"]
)
def test_a_helper_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    with impostor(tmp_path, Message({"say": "file", "name": name}, b"x"), END) as path:
        evidence = captured(tmp_path, path)

    assert (evidence.files, len(evidence.missing)) == ((), 1)
    assert evidence.missing[0].startswith("smaps: no right; leakwatch-capture: ")
    assert not list(tmp_path.rglob("outside.txt"))


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
    tmp_path: Path, answers: list[Message | bytes], why: str
) -> None:
    with impostor(tmp_path, *answers) as path:
        evidence = captured(tmp_path, path)

    assert evidence.missing == (f"smaps: no right; leakwatch-capture: {why}",)


@pytest.mark.parametrize("path", ["", "/nowhere/capture.sock", "/dev/null"])
def test_no_helper_is_as_if_there_was_none(tmp_path: Path, path: str) -> None:
    assert captured(tmp_path, path).missing == (f"smaps: no right to {os.getpid()}",)


def test_a_helper_of_another_user_is_not_believed(tmp_path: Path) -> None:
    script = f"""
import os, socket, sys
os.setresuid({CLIENT_UID}, {CLIENT_UID}, {CLIENT_UID})
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
print("ready", flush=True)
sys.stdin.read()
"""
    tmp_path.chmod(0o777)
    path = str(tmp_path / "other.sock")
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"

        with pytest.raises(HelperAbsentError, match="belongs to another user"):
            CaptureHelper(path).about()
        other.kill()
