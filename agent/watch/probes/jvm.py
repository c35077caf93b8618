"""Reads heap and collections of a JVM from its hsperfdata file: no attaching, no cost to the JVM."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.watch.probes.hsperfdata import PROLOGUE_BYTES, Layout, figures, layout_of
from agent.watch.procfs import parse_stat, parse_uids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Process, ProcessKey
    from agent.watch.probes.base import RuntimeFigures

MAX_FILE_BYTES = 1_000_000
"""Read of a file at most; HotSpot makes it 32 kB (-XX:PerfDataMemorySize)."""
_STATUS_BYTES = 8192
_MAX_MAPS_LINES = 200_000
"""Three times the usual vm.max_map_count, which bounds the lines of maps."""
_SHARED_MAPPING = b" rw-s "
_DELETED = b" (deleted)"
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_FILE = (
    "it publishes no hsperfdata file (-XX:-UsePerfData, -XX:+PerfDisableSharedMem, or not a HotSpot JVM)"
)


class _RefusedError(Exception):
    """There is no file to follow; the text is the sentence for `why`."""


@dataclass(slots=True)
class _Held:
    fd: int
    layout: Layout


class JvmProbe:
    """Follows JVMs by a descriptor each on /tmp/hsperfdata_USER/PID of their own file system.

    It reads as the JVM's user or with CAP_SYS_PTRACE. The descriptor outlives a cleaner of /tmp. A file is
    taken only when the process itself has mapped it: containers that share a /tmp overwrite each other's,
    as each of them has a process 1. Not thread-safe: it belongs to the thread that polls.
    """

    def __init__(self, proc_root: Path = Path("/proc")) -> None:
        self._root = proc_root
        self._held: dict[ProcessKey, _Held] = {}
        self._why: dict[ProcessKey, str] = {}

    def open(self, process: Process) -> bool:
        """Begin to follow a JVM; False where it has no readable file (yet): it may be tried again."""
        key = process.key
        if key in self._held:
            return True
        try:
            self._held[key] = self._follow(key)
        except _RefusedError as refusal:
            self._why[key] = str(refusal)
        except (OSError, ValueError) as error:
            self._why[key] = _sentence(error)
        else:
            self._why.pop(key, None)
        return key in self._held

    def why(self, key: ProcessKey) -> str:
        """Return why there are no figures, as a sentence; empty where there are."""
        return self._why.get(key, "")

    def read(self, key: ProcessKey) -> RuntimeFigures | None:
        """Return the figures of now; None where they could not be read, `why` says the reason.

        What they mean, and what they leave open, stands at `hsperfdata.figures`. The file keeps its last
        figures when the JVM has ended: whether it lives is for others to say.
        """
        held = self._held.get(key)
        if held is None:
            return None
        try:
            answer = _figures(held)
        except (OSError, ValueError) as error:
            self._why[key] = _sentence(error)
            return None
        self._why.pop(key, None)
        return answer

    def close(self, key: ProcessKey) -> None:
        """Forget a process, also one that was refused; an unknown one is no error."""
        self._why.pop(key, None)
        held = self._held.pop(key, None)
        if held is not None:
            os.close(held.fd)

    def close_all(self) -> None:
        """Forget every process."""
        for key in {*self._held, *self._why}:
            self.close(key)

    def _follow(self, key: ProcessKey) -> _Held:
        directory = self._root / str(key.pid)
        if not directory.exists():
            raise _RefusedError("the process has exited")
        with _directory(directory) as process_fd:
            if parse_stat(_contents("stat", process_fd)).start_ticks != key.start_ticks:
                raise _RefusedError("the process has exited, its pid is used again")
            status = _contents("status", process_fd)
            folder, name = _mapped_file(process_fd, own_pid(status))
            file_fd = _open_file(process_fd, folder, name)
        try:
            _check_file(file_fd, parse_uids(status).effective)
            return _Held(file_fd, layout_of(os.pread(file_fd, MAX_FILE_BYTES, 0)))
        except BaseException:
            os.close(file_fd)
            raise


def own_pid(status: bytes) -> int:
    """Return the pid in the process's own namespace, the last of NSpid (else Pid) in /proc/PID/status.

    Raises ValueError where there is neither.
    """
    found = re.search(rb"^NSpid:(?:\s+\d+)*\s+(\d+)$", status, re.MULTILINE)
    found = found or re.search(rb"^Pid:\s+(\d+)$", status, re.MULTILINE)
    if found is None:
        raise ValueError("no pid in its status")
    return int(found[1])


def _figures(held: _Held) -> RuntimeFigures:
    data = os.pread(held.fd, held.layout.end, 0)
    if data[:PROLOGUE_BYTES] != held.layout.prologue:
        data = os.pread(held.fd, MAX_FILE_BYTES, 0)
        held.layout = layout_of(data)
    return figures(data, held.layout)


@contextmanager
def _directory(path: Path | str, within: int | None = None, flags: int = 0) -> Iterator[int]:
    fd = os.open(path, _DIRECTORY_FLAGS | flags, dir_fd=within)
    try:
        yield fd
    finally:
        os.close(fd)


def _contents(name: str, process_fd: int) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        return os.read(fd, _STATUS_BYTES)
    finally:
        os.close(fd)


def _mapped_file(process_fd: int, pid: int) -> tuple[str, str]:
    """Return folder and name of the hsperfdata file that the process has mapped."""
    pattern = re.compile(rb"/(hsperfdata_[^/\n]{1,64})/%d(%s)?$" % (pid, re.escape(_DELETED)))
    fd = os.open("maps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    with open(fd, "rb") as maps:  # noqa: PTH123 - a descriptor, not a path
        for _, line in zip(range(_MAX_MAPS_LINES), maps, strict=False):
            found = pattern.search(line) if _SHARED_MAPPING in line else None
            if found and found[2]:
                raise _RefusedError("its hsperfdata file has been deleted")
            if found:
                return os.fsdecode(found[1]), str(pid)
    raise _RefusedError(_NO_FILE)


def _open_file(process_fd: int, folder: str, name: str) -> int:
    """Open the file within the process's own root, step by step: no symlink leads out of it."""
    with (
        _directory("root", process_fd) as root_fd,
        _directory("tmp", root_fd, os.O_NOFOLLOW) as tmp_fd,
        _directory(folder, tmp_fd, os.O_NOFOLLOW) as folder_fd,
    ):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=folder_fd)


def _check_file(fd: int, uid: int) -> None:
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode):
        raise _RefusedError("its hsperfdata file is not a regular file")
    if about.st_uid != uid:
        raise _RefusedError(f"its hsperfdata file belongs to uid {about.st_uid}, the process to {uid}")


def _sentence(error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return "its files may not be read: that takes its user or CAP_SYS_PTRACE"
    if isinstance(error, ProcessLookupError):
        return "the process has exited"
    if isinstance(error, OSError):
        return f"its hsperfdata file cannot be read: {error.strerror or error} ({error.filename or 'file'})"
    return f"what it publishes makes no sense: {error}"
