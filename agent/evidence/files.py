"""The files of one capture: private, never over another file, the long ones compressed."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agent.evidence.source import SourceError
from agent.gz import gzipped
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

REPORT = "report.html"
LEAST_FREE_BYTES = 100_000_000
"""What must stay free on the disk: a full one hurts the target more than a missing capture."""
COMPRESS_FROM_BYTES = 64_000
"""Longer files are kept as NAME.gz; a page is not, as people open it as it is."""
_COMPRESSION = 3
"""Three quarters of what 9 saves, in a tenth of its time: the alert may be waiting."""
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def check_room(name: str, file: BinaryIO, size_bytes: int, budget_bytes: int) -> None:
    """Raise SourceError where what is being written of a source has grown too long, or its disk too full.

    Whoever hands it over may lie about its length, and never come to an end.
    """
    if size_bytes > budget_bytes:
        raise SourceError(f"{name}: longer than evidence.disk_budget, {format_bytes(budget_bytes)}")
    disk = os.fstatvfs(file.fileno())
    if disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES:
        least = format_bytes(LEAST_FREE_BYTES)
        raise SourceError(f"{name}: given up after {format_bytes(size_bytes)}, {least} must stay free")


class CaptureFolder:
    """One capture being written."""

    def __init__(self, path: Path, fd: int, files: Iterable[str] = ()) -> None:
        self.path = path
        self.files = list(files)
        self._fd = fd

    def write(self, name: str, content: bytes) -> None:
        """Write a new file, mode 0600; a long one compressed, as NAME.gz.

        Nothing is left of one that does not fit. Raises OSError.
        """
        if len(content) > COMPRESS_FROM_BYTES and name != REPORT and not name.endswith(".gz"):
            name, content = f"{name}.gz", gzipped(content, level=_COMPRESSION)
        with self.open(name) as file:
            file.write(content)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file in the place of an earlier one, which stays until the new one is whole."""
        new = f".{name}.new"
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=self._fd)
        self._write_out(new, content)
        os.rename(new, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        if name not in self.files:
            self.files.append(name)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file, mode 0600, for what is too long to be held; gone again when the block fails."""
        fd = os.open(name, _CREATE_FILE, 0o600, dir_fd=self._fd)
        try:
            with os.fdopen(fd, "wb") as file:
                yield file
        except BaseException:
            os.unlink(name, dir_fd=self._fd)
            raise
        self.files.append(name)

    def _write_out(self, name: str, content: bytes) -> None:
        with os.fdopen(os.open(name, _CREATE_FILE, 0o600, dir_fd=self._fd), "wb") as file:
            file.write(content)


class MemoryFolder:
    """Files that are only held: what a baseline is made of."""

    def __init__(self) -> None:
        self.path = Path()
        self.content: dict[str, bytes] = {}

    @property
    def files(self) -> list[str]:
        """Return the names."""
        return list(self.content)

    def write(self, name: str, content: bytes) -> None:
        """Hold a file."""
        self.content[name] = content

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Raise OSError: nothing that is too long to be held belongs into a baseline."""
        raise OSError(f"{name} is not held")
