from __future__ import annotations

import logging
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock
from fault_disks import MountError
from fault_disks import small_disk as mounted
from incident_samples import opened

from agent.alerts.outbox import Outbox
from agent.alerts.state_schema import StateFileError
from agent.model import Alert, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Full = Callable[[], AbstractContextManager[None]]

RECORD_AND_HANG = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fakes import FakeClock
from incident_samples import opened
from agent.alerts.outbox import Outbox

outbox, clock = Outbox(Path(sys.argv[1])), FakeClock()
incident, change = opened()
outbox.record(incident, [("slack", change.alert("web-3", {}))], clock.now())
if sys.argv[3] == "sent":
    print("sent", outbox.due(clock.now())[0].alert.dedup_key, flush=True)
else:
    print("recorded", flush=True)
sys.stdin.read()
"""

FILL_AND_HANG = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fakes import FakeClock
from fault_disks import Disk
from incident_samples import opened
from agent.alerts.outbox import Outbox

outbox, clock = Outbox(Path(sys.argv[1]) / "state.db"), FakeClock()
outbox.write_behind(lambda: None)
for number in range(51):
    incident, change = opened(4000 + number)
    outbox.record(incident, [("slack", change.alert("web-3", {}))], clock.now())
    if number == 0:
        Disk(Path(sys.argv[1])).fill()
outbox._backlog.close()
print("adrift" if outbox.adrift else "stored", flush=True)
sys.stdin.read()
"""

NOW = FakeClock().now()


def alerts() -> tuple[Alert, Alert]:
    alert = opened()[1].alert("web-3", {})
    return alert, replace(alert, sequence=2, transition=Transition.RESOLVED)


def record(outbox: Outbox, alert: Alert, pid: int = 4211) -> None:
    incident = replace(opened(pid)[0], sequence=alert.sequence, ended=alert.transition.ends)
    outbox.record(incident, [("slack", alert)], NOW)


def waiting(outbox: Outbox) -> list[int]:
    return [delivery.alert.sequence for delivery in outbox.due(NOW)]


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "agent.alerts.state_file"]


@pytest.mark.parametrize("moment", ["recorded", "sent"])
def test_kill_9_between_recording_and_marking_loses_nothing(tmp_path: Path, moment: str) -> None:
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - an argument, not a path to work with
    command = [sys.executable, "-c", RECORD_AND_HANG, str(tmp_path / "state.db"), tests, moment]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().split()[0] == moment
        child.kill()
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        (delivery,) = outbox.due(NOW)
        assert delivery.alert.dedup_key == opened()[1].alert("web-3", {}).dedup_key
        assert outbox.open_incidents() == [opened()[0]]


def test_kill_9_at_a_full_disk_loses_nothing_while_there_is_room_in_the_file(small_disk: Path) -> None:
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - an argument, not a path to work with
    command = [sys.executable, "-c", FILL_AND_HANG, str(small_disk), tests]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "stored\n"
        child.kill()
    assert (small_disk / "ballast").exists()
    with closing(Outbox(small_disk / "state.db")) as outbox:
        assert len(outbox.open_incidents()) == 51
        assert outbox.counts() == {"slack": {"pending": 51}}
        assert not outbox.adrift


@contextmanager
def another_writer(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def no_file_may_grow() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_space_left(directory: Path) -> Iterator[None]:
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.writelines(bytes(4096) for _ in range(2000))
    yield
    ballast.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    try:
        with mounted(disk):
            yield disk
    except MountError as error:
        pytest.skip(f"a small disk cannot be mounted: {error}")


@pytest.fixture(params=["locked", "file-size-limit", "no-space"])
def trouble(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Full]:
    """Return where the state lies, and what makes it unwritable for a while."""
    if request.param == "no-space":
        disk = request.getfixturevalue("small_disk")
        return disk / "state.db", lambda: no_space_left(disk)
    path = tmp_path / "state.db"
    return path, (lambda: another_writer(path)) if request.param == "locked" else no_file_may_grow


def test_what_cannot_be_written_is_sent_from_memory_and_stored_later(
    trouble: tuple[Path, Full], caplog: pytest.LogCaptureFixture
) -> None:
    path, unwritable = trouble
    caplog.set_level(logging.INFO)
    with closing(Outbox(path)) as outbox:
        with unwritable():
            record(outbox, alerts()[0])
            assert outbox.adrift
            assert waiting(outbox) == [1]
            assert outbox.open_incidents() == [opened()[0]]
            assert words(caplog) == ["delayed"]
        assert waiting(outbox) == [1]
        assert not outbox.adrift
        assert words(caplog) == ["delayed", "stored"]
    with closing(Outbox(path)) as outbox:
        assert waiting(outbox) == [1]


def test_the_reason_and_the_number_of_alerts_in_memory_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Outbox(tmp_path / "state.db")) as outbox, another_writer(tmp_path / "state.db"):
        record(outbox, alerts()[0])
    pairs = next(r.pairs for r in caplog.records if r.getMessage() == "delayed")  # type: ignore[attr-defined]
    expected = "state cannot be written: database is locked; keeping 1 alerts in memory"
    assert pairs["why"] == expected


def test_order_holds_between_file_and_memory(trouble: tuple[Path, Full]) -> None:
    path, unwritable = trouble
    trigger, resolve = alerts()
    with closing(Outbox(path)) as outbox:
        record(outbox, trigger)
        with unwritable():
            record(outbox, resolve)
            assert waiting(outbox) == [1]
        assert waiting(outbox) == [1]


def test_what_was_sent_while_nothing_could_be_written_is_not_sent_again(
    trouble: tuple[Path, Full],
) -> None:
    path, unwritable = trouble
    with closing(Outbox(path)) as outbox:
        record(outbox, alerts()[0])
        with unwritable():
            outbox.mark_sent(outbox.due(NOW)[0].delivery_id, NOW)
            assert waiting(outbox) == []
        assert waiting(outbox) == []
    with closing(Outbox(path)) as outbox:
        assert waiting(outbox) == []
        assert outbox.counts() == {"slack": {"sent": 1}}


def test_a_full_disk_at_the_start_still_sends(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = small_disk / "state.db"
    with no_space_left(small_disk):
        outbox = Outbox(path)
        record(outbox, alerts()[0])
        assert waiting(outbox) == [1]
    assert "delayed" in words(caplog)
    outbox.close()
    with closing(Outbox(path)) as outbox:
        assert waiting(outbox) == [1]


def test_alerts_that_never_reached_the_file_are_owned_up_to_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path / "state.db")
    with another_writer(tmp_path / "state.db"):
        record(outbox, alerts()[0])
        outbox.close()
    assert words(caplog) == ["delayed", "stopped"]
    with pytest.raises(StateFileError, match="closed"):
        outbox.due(NOW)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, but long enough to look like one" * 100)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(byte ^ 0xFF for byte in content[4096:8192])
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage, half, flipped])
def test_a_corrupt_database_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    for number in (1, 2):
        with closing(Outbox(path)) as outbox:
            record(outbox, alerts()[0])
        damage(path)
        damaged = path.read_bytes()
        caplog.clear()
        with closing(Outbox(path)) as outbox:
            assert words(caplog) == ["refused"]
            assert waiting(outbox) == []
        assert path.with_name(f"state.db.corrupt-{number}").read_bytes() == damaged


def test_corruption_found_while_running_loses_no_new_alert(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    with closing(Outbox(path)) as outbox:
        record(outbox, alerts()[0])
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("DELETE FROM incidents")
            other.commit()
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        garbage(path)
        record(outbox, alerts()[1])
        assert words(caplog) == ["refused"]
        assert waiting(outbox) == [2]
    assert path.with_name("state.db.corrupt-1").exists()


def test_a_state_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(StateFileError, match="newer leakwatch"):
        Outbox(path)
    assert [p.name for p in tmp_path.iterdir() if "corrupt" in p.name] == []


def test_a_missing_directory_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Outbox(tmp_path / "nowhere" / "state.db")


def test_a_corrupt_state_is_a_trouble_for_an_hour_and_one_in_memory_until_it_is_written(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "state.db", FakeClock()
    garbage(path)
    with closing(Outbox(path)) as outbox:
        (told,) = outbox.troubles(clock.now())
        assert "kept as state.db.corrupt-1" in told
        assert outbox.troubles(clock.advance(3601)) == ()
        with another_writer(path):
            record(outbox, alerts()[0])
            (told,) = outbox.troubles(clock.now())
            assert "kept in memory" in told
        assert outbox.troubles(clock.now()) == ()


def test_room_that_was_being_taken_at_a_kill_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Outbox(path).close()
    with closing(sqlite3.connect(path)) as killed:
        killed.execute("CREATE TABLE room (content BLOB)")
    with closing(Outbox(path)) as outbox:
        with another_writer(path):
            record(outbox, alerts()[0])
            assert outbox.adrift
        assert waiting(outbox) == [1]
        assert not outbox.adrift
        outbox._file.keep_room()  # noqa: SLF001 - what the thread that writes does
    with closing(sqlite3.connect(path)) as later:
        assert later.execute("SELECT count(*) FROM sqlite_master WHERE name = 'room'").fetchone() == (0,)
        assert later.execute("PRAGMA freelist_count").fetchone()[0] > 200
