"""Evidence as attachments: files read when they are sent, bounded, and never through a link."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Evidence

MAX_FILES = 10
MAX_TOTAL_BYTES = 5_000_000
"""A quarter of what the strictest receiver takes (20 MB): captures compress well, incidents are many."""

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Attachment(NamedTuple):
    """One file of a capture."""

    name: str
    content: bytes


class Attachments(NamedTuple):
    """What goes with an alert, and what does not and why."""

    taken: tuple[Attachment, ...]
    left_out: tuple[str, ...]


NONE = Attachments((), ())


def read_attachments(evidence: Evidence | None) -> Attachments:
    """Read the files of a capture that still exist, most telling first; a failure is a sentence."""
    if evidence is None or not evidence.directory:
        return NONE
    try:
        with _opened(evidence.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as directory:
            return _read_all(directory, evidence.files)
    except (OSError, ValueError):
        return Attachments((), ("the capture is no longer there",))


def _read_all(directory: int, names: tuple[str, ...]) -> Attachments:
    taken: list[Attachment] = []
    left_out: list[str] = [f"{len(names) - MAX_FILES} more files"] if len(names) > MAX_FILES else []
    room_bytes = MAX_TOTAL_BYTES
    for name in names[:MAX_FILES]:
        shown = one_line(name, MAX_NAME_CHARS)
        try:
            content = _read(directory, name, room_bytes)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            left_out.append(f"{shown}: {why}")
            continue
        room_bytes -= len(content)
        taken.append(Attachment(shown, content))
    return Attachments(tuple(taken), tuple(left_out))


def _read(directory: int, name: str, room_bytes: int) -> bytes:
    """Return a whole regular file of the directory itself. Raises OSError, or ValueError with the reason."""
    if "/" in name:
        raise ValueError("not in the capture")
    with _opened(name, _OPEN, directory) as file:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > room_bytes:
            raise ValueError(f"{format_bytes(status.st_size)} is too large")
        with open(file, "rb", closefd=False) as stream:
            return stream.read(room_bytes)


@contextmanager
def _opened(path: str, flags: int, directory: int | None = None) -> Iterator[int]:
    file = os.open(path, flags, dir_fd=directory)
    try:
        yield file
    finally:
        os.close(file)
