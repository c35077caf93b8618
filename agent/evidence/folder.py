"""Where captures lie: private files that no planted link can redirect, and a budget for all of them."""

from __future__ import annotations

import os
import re
import zlib
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.files import LEAST_FREE_BYTES, CaptureFolder
from agent.gz import WINDOW_BITS
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_READ_BYTES = 16_000_000
"""What is read back of a file of an earlier capture; the longest are counts by class or by line of code."""
SUMMARY = "evidence.json"

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(r"\d{3,}-\d{8}T\d{6}Z")
_MAX_NUMBER_ATTEMPTS = 10
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderError(Exception):
    """Why nothing can be kept, in a sentence for people."""


class Stored(NamedTuple):
    """One capture on the disk."""

    label: str
    name: str
    size_bytes: int


class CaptureFolders:
    """All captures: `<directory>/<label>/<NNN>-<UTC time>/`, each level mode 0700."""

    def __init__(self, directory: Path, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
        self._directory = directory
        self._least_free_bytes = least_free_bytes

    @contextmanager
    def create(self, label: str, wall_s: float) -> Iterator[CaptureFolder]:
        """Make the next folder of a label, removed again when it stays empty.

        Raises FolderError when there is no room, or a link lies in the way, and OSError.
        """
        self.make(label)
        self._check_space()
        with self._root() as root, self._label(root, label, create=True) as parent:
            name = _make_next(parent, wall_s)
            with opened(name, parent) as fd:
                folder = CaptureFolder(self._directory / label / name, fd)
                try:
                    yield folder
                finally:
                    if not folder.files:
                        os.rmdir(name, dir_fd=parent)

    @contextmanager
    def reopen(self, path: Path, files: Iterable[str]) -> Iterator[CaptureFolder]:
        """Open a folder that `create` has made, to add to its `files`. Raises FolderError, OSError."""
        label, name = path.parent.name, path.name
        if path != self._directory / label / name or not (_LABEL.fullmatch(label) and _NAME.fullmatch(name)):
            raise FolderError("captures: that is no folder of a capture")
        with self._root() as root, self._label(root, label) as parent, opened(name, parent) as fd:
            yield CaptureFolder(path, fd, files)

    @property
    def directory(self) -> Path:
        """Where they lie."""
        return self._directory

    def free_bytes(self) -> int:
        """Return what may still be written; what must stay free is left out. Raises OSError."""
        return _free_bytes(self._directory) - self._least_free_bytes

    def make(self, label: str) -> None:
        """Make the folder of all captures where it is not there yet.

        Raises FolderError for what is no label, OSError.
        """
        if not _LABEL.fullmatch(label):
            raise FolderError("captures: a label is letters, digits, dots and dashes")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def earlier(self, folder: CaptureFolder, file: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield summary and a file's content out of the other captures of a label, first capture first."""
        label, own = folder.path.parent.name, folder.path.name
        with self._root() as root, self._label(root, label) as parent:
            for name in _names(parent):
                if name == own:
                    continue
                with suppress(OSError, FolderError), opened(name, parent) as fd:
                    yield read(SUMMARY, fd), _read_kept(file, fd)

    def keep_within(self, budget_bytes: int, newest_label: str) -> list[Stored]:
        """Remove captures until the rest fits, and return what was removed. Raises OSError, FolderError."""
        from shutil import rmtree  # noqa: PLC0415 - loads every archive format there is

        with self._root() as root:
            removed = to_remove(self._stored(root), budget_bytes, newest_label)
            for stored in removed:
                with suppress(FileNotFoundError):
                    rmtree(f"{stored.label}/{stored.name}", dir_fd=root)
                with suppress(OSError):  # other captures lie there still
                    os.rmdir(stored.label, dir_fd=root)
        return removed

    def _check_space(self) -> None:
        free_bytes = _free_bytes(self._directory)
        if free_bytes < self._least_free_bytes:
            raise FolderError(
                f"captures: only {format_bytes(free_bytes)} free in {self._directory}, "
                f"{format_bytes(self._least_free_bytes)} must stay free"
            )

    @contextmanager
    def _root(self) -> Iterator[int]:
        with opened(str(self._directory)) as fd:
            yield fd

    @contextmanager
    def _label(self, root: int, label: str, *, create: bool = False) -> Iterator[int]:
        if create:
            with suppress(FileExistsError):
                os.mkdir(label, 0o700, dir_fd=root)
        with opened(label, root) as fd:
            yield fd

    def _stored(self, root: int) -> list[Stored]:
        found = []
        for label in filter(_LABEL.fullmatch, os.listdir(root)):
            with suppress(OSError, FolderError), self._label(root, label) as parent:
                found += [Stored(label, name, _size_bytes(name, parent)) for name in _names(parent)]
        return found


def to_remove(stored: Iterable[Stored], budget_bytes: int, newest_label: str) -> list[Stored]:
    """Return which captures go so that the rest fits the budget.

    First those between the first and the newest of their label, the oldest before the others; then whole
    labels, the one that was added to longest ago before the others. Of `newest_label` the first and the
    newest stay in any case.
    """
    labels: dict[str, list[Stored]] = {}
    for capture in sorted(stored, key=lambda capture: _order(capture.name)):
        labels.setdefault(capture.label, []).append(capture)
    middle = [capture for captures in labels.values() for capture in captures[1:-1]]
    middle.sort(key=lambda capture: _taken(capture.name))
    ends = [[captures[0], *captures[1:][-1:]] for label, captures in labels.items() if label != newest_label]
    ends.sort(key=lambda group: _taken(group[-1].name))
    excess = sum(capture.size_bytes for captures in labels.values() for capture in captures) - budget_bytes
    removed: list[Stored] = []
    for group in [[capture] for capture in middle] + ends:
        if excess <= 0:
            break
        removed += group
        excess -= sum(capture.size_bytes for capture in group)
    return removed


def _order(name: str) -> int:
    return int(name.partition("-")[0])


def _taken(name: str) -> str:
    return name.partition("-")[2]


def _make_next(parent: int, wall_s: float) -> str:
    when = datetime.fromtimestamp(wall_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    number = max((_order(name) for name in _names(parent)), default=0)
    for following in range(number + 1, number + 1 + _MAX_NUMBER_ATTEMPTS):
        name = f"{following:03d}-{when}"
        with suppress(FileExistsError):  # somebody else's capture in the same moment
            os.mkdir(name, 0o700, dir_fd=parent)
            return name
    raise FolderError("captures: others write here at the same time; no number is free")


def _names(parent: int) -> list[str]:
    """Return the captures of a label in the order they were taken."""
    names = filter(_NAME.fullmatch, os.listdir(parent))
    return sorted(names, key=_order)


@contextmanager
def opened(name: str, parent: int | None = None) -> Iterator[int]:
    """Open a folder of our own without following a link. Raises FolderError for anything else, OSError."""
    try:
        fd = os.open(name, _OPEN_FOLDER, dir_fd=parent)
    except NotADirectoryError:
        raise FolderError(f"captures: {name} is no folder (links are not followed)") from None
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise FolderError(f"captures: {name} belongs to another user")
        yield fd
    finally:
        os.close(fd)


def _read_kept(file: str, folder: int) -> bytes:
    """Return a file, whether it was compressed or not; empty where what is compressed is cut off."""
    with suppress(FileNotFoundError):
        return read(file, folder)
    return expanded(read(f"{file}.gz", folder))


def expanded(compressed: bytes) -> bytes:
    """Return what was compressed, `MAX_READ_BYTES` at most; empty for what gzip has not written."""
    with suppress(zlib.error):
        return zlib.decompressobj(WINDOW_BITS).decompress(compressed, MAX_READ_BYTES)
    return b""


def read(file: str, folder: int) -> bytes:
    """Return a file of an opened folder, `MAX_READ_BYTES` at most; no link is followed. Raises OSError."""
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "rb") as kept:
        return kept.read(MAX_READ_BYTES)


def _size_bytes(name: str, parent: int) -> int:
    """Return what a capture takes of the disk."""
    with suppress(OSError, FolderError), opened(name, parent) as fd, os.scandir(fd) as entries:
        return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in entries)
    return 0


def _free_bytes(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize
