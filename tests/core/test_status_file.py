"""What the daemon tells of itself comes back whole, or as a sentence."""

from __future__ import annotations

import gzip
import json
import os
import stat
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent import status_file
from agent.model import Event, Instant, State, Subject
from agent.statedir import InstanceLock
from agent.status_file import (
    MAX_FILE_BYTES,
    NAME,
    DaemonStatus,
    IncidentLine,
    ParkedDelivery,
    StatusFileError,
    WatchedProcess,
    condition,
    read,
)
from agent.web.health import Chance, ChannelHealth, HealthView, ServiceHealth, Status

if TYPE_CHECKING:
    from pathlib import Path

NOW = Instant(1000.0, 1_800_000_000.0)
VIEW = HealthView(
    version="0.1.0",
    started_t_s=900.0,
    interval_s=10.0,
    last_tick_t_s=995.0,
    tick_s=0.02,
    ticks=10,
    warnings_open=0,
    criticals_open=0,
    services=(
        ServiceHealth(
            "api",
            1,
            448_000_000,
            None,
            24e6,
            leak=True,
            last_alert_wall_s=None,
            chances=(Chance(Subject.HEAP, 0.968),),
        ),
    ),
    channels=(ChannelHealth("slack", pending=0, parked=0, delivered=4, last_error=None),),
)
PROCESS = WatchedProcess("api", 4211, "gunicörn", 448_000_000, 1_000_000_000, State.WARNING, 24e6, 0.968)
INCIDENT = IncidentLine(
    "7f3a9c21",
    "api",
    Subject.HEAP,
    State.WARNING,
    1_799_999_000.0,
    Event.LEAK,
    "/captures/7f3a",
    0.968,
    "native",
)
PARKED = ParkedDelivery("7f3a9c21", "sentry", "403 from host")


def write(directory: Path, **changes: object) -> DaemonStatus:
    write_only(directory, **changes)
    return read(directory)


def write_only(directory: Path, **changes: object) -> None:
    given = {
        "watching": [PROCESS],
        "incidents": [INCIDENT],
        "parked": [PARKED],
        "dropped": 12,
        "denied": 3,
        "config_path": "/etc/leakwatch/leakwatch.yaml",
    }
    status_file.write(directory, VIEW, NOW, **given | changes)  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert write(tmp_path) == DaemonStatus(
        pid=os.getpid(),
        written_t_s=NOW.t_s,
        written_wall_s=NOW.wall_s,
        config_path="/etc/leakwatch/leakwatch.yaml",
        view=VIEW,
        watching=(PROCESS,),
        incidents=(INCIDENT,),
        parked=(PARKED,),
        dropped=12,
        denied=3,
    )


def test_only_its_owner_reads_it_and_nothing_else_stays(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_what_a_crash_has_left_half_written_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"{NAME}.new").symlink_to(victim)

    assert write(tmp_path, dropped=7).dropped == 7
    assert victim.read_text() == "precious"


def test_a_file_of_the_same_length_is_written_over_in_place(tmp_path: Path) -> None:
    write(tmp_path)
    before = (tmp_path / NAME).stat().st_ino

    assert write(tmp_path, dropped=13).dropped == 13
    assert (tmp_path / NAME).stat().st_ino == before


@pytest.mark.parametrize("harm", ["longer", "for others", "a link"])
def test_a_file_of_another_length_mode_or_kind_is_replaced(tmp_path: Path, harm: str) -> None:
    victim = tmp_path / "victim"
    write(tmp_path)
    if harm == "longer":
        os.truncate(tmp_path / NAME, 2 * 4096)
    elif harm == "for others":
        (tmp_path / NAME).chmod(0o644)
    else:
        (tmp_path / NAME).rename(victim)
        (tmp_path / NAME).symlink_to(victim)
    content = (tmp_path / NAME).read_bytes()

    write(tmp_path, dropped=13)

    assert (tmp_path / NAME).stat(follow_symlinks=False).st_size == 4096
    assert stat.S_IMODE((tmp_path / NAME).lstat().st_mode) == 0o600
    assert harm != "a link" or victim.read_bytes() == content


def test_who_reads_while_it_is_written_reads_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    listed = [replace(PROCESS, pid=number, heap_bytes=number**4) for number in range(1, 150)]
    write(tmp_path, watching=listed)
    ended = threading.Event()

    def write_on() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            turned = listed[number % 7 :] + listed[: number % 7]
            status_file.write(
                tmp_path,
                VIEW,
                NOW,
                watching=turned,
                incidents=[],
                parked=[],
                dropped=0,
                denied=0,
                config_path="",
            )

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(write_on)
        try:
            for _ in range(40):
                assert len(read(tmp_path).watching) == len(listed)
        finally:
            ended.set()
        done.result()


def test_a_directory_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "gone")


def test_none_written_yet_is_told(tmp_path: Path) -> None:
    with pytest.raises(StatusFileError, match=r"status\.json\.gz: not written yet"):
        read(tmp_path)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()

    with pytest.raises(StatusFileError, match="Is a directory"):
        read(tmp_path)


def test_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(gzip.compress(b'{"schema": 1}'))

    with pytest.raises(StatusFileError, match="written by another version of leakwatch"):
        read(tmp_path)


@pytest.mark.parametrize("foreign", ["", "null", "[]", "{}", '{"schema": 5}', "\x00", "[" * 100_000])
def test_foreign_content_is_told(tmp_path: Path, foreign: str) -> None:
    (tmp_path / NAME).write_bytes(gzip.compress(foreign.encode()))

    with pytest.raises(StatusFileError, match="not a status that leakwatch has written"):
        read(tmp_path)


def test_a_torn_file_is_told_wherever_it_is_torn(tmp_path: Path) -> None:
    write(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    unpacker = zlib.decompressobj(wbits=31)
    unpacker.decompress(whole)
    whole = whole[: -len(unpacker.unused_data)]  # the page's rest means nothing

    for length in range(0, len(whole), 7):
        (tmp_path / NAME).write_bytes(whole[:length])
        with pytest.raises(StatusFileError, match="not a status"):
            read(tmp_path)


def test_every_value_of_another_type_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    values = json.loads(gzip.decompress((tmp_path / NAME).read_bytes()))

    for key in values.keys() - {"schema"}:
        (tmp_path / NAME).write_bytes(gzip.compress(json.dumps(values | {key: {"odd": 1}}).encode()))
        with pytest.raises(StatusFileError, match="not a status"):
            read(tmp_path)


def test_a_file_of_any_size_is_read_in_part_only(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(100 * MAX_FILE_BYTES)

    with pytest.raises(StatusFileError, match="not a status"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "silent_s", "expected"),
    [
        ({"incidents": (), "parked": ()}, 0.0, Status.HEALTHY),
        ({"incidents": (), "parked": ()}, 60.0, Status.HEALTHY),
        ({"incidents": (), "parked": ()}, 61.0, Status.CRITICAL),
        ({"incidents": ()}, 0.0, Status.DEGRADED),
        ({"parked": ()}, 0.0, Status.DEGRADED),
        ({"view": replace(VIEW, criticals_open=1)}, 0.0, Status.CRITICAL),
        ({"view": replace(VIEW, last_tick_t_s=950.0)}, 0.0, Status.CRITICAL),
    ],
)
def test_the_condition_is_the_worst_that_holds(
    tmp_path: Path, changes: dict[str, object], silent_s: float, expected: Status
) -> None:
    told = replace(write(tmp_path), **changes)  # type: ignore[arg-type]

    assert condition(told, Instant(NOW.t_s + silent_s, NOW.wall_s + silent_s)) == expected


def test_the_holder_is_told_and_keeps_the_lock(tmp_path: Path) -> None:
    with InstanceLock(tmp_path):
        assert status_file.holder(tmp_path) == os.getpid()
        assert status_file.holder(tmp_path) == os.getpid()

    assert status_file.holder(tmp_path) is None
    assert status_file.holder(tmp_path / "nowhere") is None


def test_asking_leaves_a_free_lock_free(tmp_path: Path) -> None:
    with InstanceLock(tmp_path):
        pass
    assert status_file.holder(tmp_path) is None

    with InstanceLock(tmp_path):
        assert status_file.holder(tmp_path) == os.getpid()
