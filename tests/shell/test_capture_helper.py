"""leakwatch-capture as a real process: what it takes of other users' processes, for whom, and what not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from capture_helpers import (
    CAP_DAC_READ_SEARCH,
    CAP_SYS_PTRACE,
    CLIENT_UID,
    SECRET,
    TARGET_UID,
    Captor,
    Helper,
    ask,
    capture_helper,
    last,
    open_folder,
    other_users_program,
    request_for,
)

from agent.capture_helper.client import CaptureHelper, HelperAbsentError
from agent.diagnosis import machine
from agent.diagnosis.checks import Check, Grade
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users are needed")


@pytest.fixture(scope="module")
def target() -> Iterator[Process]:
    with other_users_program() as process:
        yield process


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture
def helper(folder: Path) -> Iterator[Helper]:
    with capture_helper(folder) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    """One helper for everything that must not kill it."""
    with capture_helper(tmp_path_factory.mktemp("lasting")) as running:
        yield running
        assert running.alive()


# What it is for


def test_without_a_helper_an_unprivileged_capture_says_what_is_missing(target: Process, folder: Path) -> None:
    folder.chmod(0o755)
    with Captor(folder / "captures", folder / "nobody.sock", target.key.pid) as captor:
        evidence = captor.capture()

    assert evidence["files"] == ["status.json", "evidence.json"]
    assert [text.partition(":")[0] for text in evidence["missing"]] == ["smaps", "py-spy", "fds"]
    assert all("CAP_" in text for text in evidence["missing"])
    assert not any("leakwatch-capture" in text for text in evidence["missing"])


def test_an_unprivileged_capture_takes_everything_with_a_helper(
    target: Process, helper: Helper, folder: Path
) -> None:
    with Captor(folder / "captures", helper.path, target.key.pid) as captor:
        evidence = captor.capture()

    assert evidence["missing"] == []
    assert {"pyspy.txt", "pyspy.json", "smaps.json", "fds.json", "status.json"} <= set(evidence["files"])
    assert evidence["gist"][0] == "top stack: handle (<string>:6) in 1 of 1 thread"
    folder = Path(evidence["directory"])
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        (CLIENT_UID, 0o600)
    }


def test_the_second_capture_tells_what_grew_since_the_first(
    target: Process, helper: Helper, folder: Path
) -> None:
    with Captor(folder / "captures", helper.path, target.key.pid) as captor:
        first, second = captor.capture(), captor.capture()

    assert any(line.startswith("holds: ") for line in first["gist"]), first
    assert any(line.startswith("grew: ") or "grew" in line for line in second["gist"]), second


def test_the_right_to_trace_alone_gives_stacks_and_mappings(target: Process, folder: Path) -> None:
    with (
        capture_helper(folder, capabilities=[CAP_SYS_PTRACE]) as helper,
        Captor(folder / "captures", helper.path, target.key.pid) as captor,
    ):
        evidence = captor.capture()
        client = CaptureHelper(str(helper.path))
        why_not = [client.why_not(name, target.key) for name in ("py-spy", "smaps")]

    assert why_not == ["", ""]
    assert {"pyspy.txt", "smaps.json"} <= set(evidence["files"])
    (missing,) = evidence["missing"]
    assert missing.startswith("fds: needs CAP_DAC_READ_SEARCH"), missing


def test_the_helper_sees_of_which_kind_a_program_is(folder: Path) -> None:
    with (
        capture_helper(folder, capabilities=[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]) as helper,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=TARGET_UID, group=TARGET_UID) as program,
        Captor(folder / "alone", "", program.pid) as alone,
        Captor(folder / "helped", helper.path, program.pid) as helped,
    ):
        without, with_helper = alone.capture(), helped.capture()
        program.kill()

    assert "heap-contents.txt" in with_helper["files"]
    assert not any(text.startswith("heap contents") for text in without["missing"])


def test_two_capabilities_give_everything(target: Process, folder: Path) -> None:
    with (
        capture_helper(folder, capabilities=[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]) as helper,
        Captor(folder / "captures", helper.path, target.key.pid) as captor,
    ):
        assert captor.capture()["missing"] == []


def test_nothing_is_left_of_a_request(target: Process, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    with capture_helper(folder) as helper:
        answers = ask(helper, request_for(target))

    assert "smaps.json" in [answer.head.get("name") for answer in answers]
    assert list((folder / "tmp").iterdir()) == []


def test_it_ends_when_nobody_comes(folder: Path) -> None:
    with capture_helper(folder, "--idle", "0.1") as helper:
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


def test_one_process_is_found_as_a_look_at_all_finds_it(target: Process) -> None:
    key, discovery = target.key, Discovery()
    (seen,) = [process for process in discovery.processes() if process.key == key]

    assert discovery.process(key) == seen
    others = [key._replace(start_ticks=1), key._replace(pid=2**22), key._replace(boot_id="00000000")]
    assert [discovery.process(other) for other in others] == [None, None, None]


# Who may ask, and what


def test_another_user_is_refused(target: Process, folder: Path) -> None:
    with (
        capture_helper(folder, user=CLIENT_UID + 1) as helper,
        Captor(folder / "captures", helper.path, target.key.pid) as captor,
    ):
        evidence = captor.capture()
        log = helper.end()

    assert evidence["files"] == ["status.json", "evidence.json"]
    assert all(text.endswith("leakwatch-capture: does not serve this user") for text in evidence["missing"])
    assert f"refused   uid={CLIENT_UID}" in log


def test_what_is_asked_beyond_the_settings_is_refused(target: Process, lasting: Helper) -> None:
    told = last(lasting, request_for(target, name="collection", consent=["collect", "inject"]))
    known = last(lasting, request_for(target, name="smaps", consent=["pprof"]))

    assert (told["served"], told["lines"]) == (False, [])
    assert known["why_not"] == "does not know pprof"


def test_local_variables_need_the_helpers_own_word(target: Process, folder: Path) -> None:
    def content(helper: Helper) -> bytes:
        return b"".join(
            answer.content for answer in ask(helper, request_for(target, name="py-spy", locals=True))
        )

    (folder / "strict").mkdir()
    (folder / "loose").mkdir()
    with capture_helper(folder / "strict") as helper:
        assert SECRET.encode() not in content(helper)
    with capture_helper(folder / "loose", "--allow", "locals") as helper:
        assert SECRET.encode() in content(helper)


def test_it_says_what_it_serves(helper: Helper) -> None:
    about = CaptureHelper(str(helper.path)).about()

    assert "smaps" in about.served
    assert about.allowed == ()


def test_doctor_tells_of_the_helper_what_it_takes(helper: Helper) -> None:
    check = machine.helper(str(helper.path))

    assert check.grade is Grade.OK
    assert re.fullmatch(
        r"leakwatch-capture \S+ takes smaps, .* of every process; it allows nothing else", check.text
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "evidence.helper is empty"),
        ("/nowhere/x.sock", "/nowhere/x.sock: No such file or directory"),
        ("x" * 108, "x" * 108 + ": AF_UNIX path too long"),
    ],
)
def test_doctor_tells_of_no_helper_what_is_missing(path: str, why: str) -> None:
    assert machine.helper(path) == Check(
        "evidence",
        "helper",
        Grade.OK,
        f"no leakwatch-capture to ask ({why}): what our own rights do not reach is missing in captures",
    )


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
    (answer,) = ask(lasting, request_for(target, **changed))

    assert answer.head["why_not"].endswith("has ended")
