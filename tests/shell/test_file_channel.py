"""The file channel: whole lines, through rotation, full disks and paths that are no regular files."""

from __future__ import annotations

import json
import os
import resource
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alert_samples import alert, later
from channel_cases import failure_of

from agent.alerts.jsonl import FileChannel, FileOptions
from agent.alerts.message import document
from agent.model import Transition

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVED = later(2, Transition.RESOLVED)


def sender(path: Path, mode: str = "0600") -> FileChannel:
    return FileChannel("lines", FileOptions(str(path), mode))


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_each_alert_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    for told in (alert(), RESOLVED):
        sender(path).send(told)

    assert lines(path) == [document(alert()), document(RESOLVED)]
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("mode", ["0600", "640", "0604"])
def test_a_new_file_has_the_mode_of_the_options_whatever_the_umask(mode: str, tmp_path: Path) -> None:
    earlier = os.umask(0o077)
    try:
        sender(tmp_path / "alerts.jsonl", mode).send(alert())
    finally:
        os.umask(earlier)

    assert stat.S_IMODE((tmp_path / "alerts.jsonl").stat().st_mode) == int(mode, 8)


def test_the_mode_of_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.touch(0o640)
    sender(path).send(alert())

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(lines(path)) == 1


def test_after_a_rotation_a_new_file_is_begun(tmp_path: Path) -> None:
    path, rotated = tmp_path / "alerts.jsonl", tmp_path / "alerts.jsonl.1"
    channel = sender(path)
    channel.send(alert())
    path.rename(rotated)
    channel.send(RESOLVED)

    assert (lines(rotated), lines(path)) == ([document(alert())], [document(RESOLVED)])


def test_after_a_rotation_that_truncates_lines_begin_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    channel = sender(path)
    channel.send(alert())
    os.truncate(path, 0)
    channel.send(RESOLVED)

    assert lines(path) == [document(RESOLVED)]


@pytest.mark.parametrize("room", [0, 100], ids=["no room", "room for a part"])
def test_a_full_disk_is_worth_another_try_and_leaves_no_half_line(room: int, tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    channel = sender(path)
    channel.send(alert())
    with room_for(path.stat().st_size + room):
        error = failure_of(channel)
    channel.send(RESOLVED)

    assert str(error) == f"{path} cannot be written: file too large"
    assert not error.permanent
    assert lines(path) == [document(alert()), document(RESOLVED)]


def test_a_line_that_a_power_cut_tore_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"schema": 1, "deliv')
    sender(path).send(alert())

    torn, whole = path.read_text().splitlines()
    assert torn == '{"schema": 1, "deliv'
    assert json.loads(whole) == document(alert())


def make(kind: str, path: Path, target: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling link":
        path.symlink_to(target.with_name("missing"))
    else:
        target.write_text("precious\n")
        path.symlink_to(target)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "dangling link"])
def test_what_is_no_regular_file_is_refused_and_left_alone(kind: str, tmp_path: Path) -> None:
    path, target = tmp_path / "alerts.jsonl", tmp_path / "target"
    make(kind, path, target)
    error = failure_of(sender(path))

    assert str(error) == f"{path} is not a regular file"
    assert error.permanent
    assert not target.exists() or target.read_text() == "precious\n"
    assert not (tmp_path / "missing").exists()


def test_a_device_is_refused() -> None:
    assert failure_of(sender(Path("/dev/null"))).permanent


def test_a_folder_that_is_not_there_yet_is_worth_another_try(tmp_path: Path) -> None:
    path = tmp_path / "later" / "alerts.jsonl"
    error = failure_of(sender(path))
    path.parent.mkdir()
    sender(path).send(alert())

    assert str(error) == f"{path} cannot be written: no such file or directory"
    assert not error.permanent
    assert len(lines(path)) == 1


def test_nothing_is_left_open(tmp_path: Path) -> None:
    def descriptors() -> set[Path]:
        return set(Path("/proc/self/fd").iterdir())

    before = descriptors()
    sender(tmp_path / "alerts.jsonl").send(alert())
    failure_of(sender(tmp_path))
    failure_of(sender(Path("/dev/null")))

    assert descriptors() == before
