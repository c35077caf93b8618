"""Reads how much memory each watched process uses: the hot path of every poll."""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from agent.logs import log_event
from agent.model import Process, ProcessKey, Sample
from agent.watch.procfs import Pages, parse_stat, parse_statm, parse_swap_bytes, parse_swaps_used

logger = logging.getLogger(__name__)

WHOLE_EVERY_S = 10.0
"""Threads and CPU time are read this often at most; memory at every poll."""
CALM_EVERY_S = (30, 60)
"""Who had used no CPU time at the latest whole reading, nor anything else, is read whole at an interval
between these: without running nothing opens a descriptor or starts a thread."""
SWAP_EVERY_S = 30.0
"""On a host that swaps, what is swapped out of a process is read this often, and when its memory shrinks."""
FDS_EVERY_S = 60.0
"""Counting descriptors costs up to 43 us a process, and a leak of them is slow."""
RESERVED_FDS = 256
"""Left for channels, the store, the page and evidence."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 1024
"""A stat line is about 52 numbers; 400 bytes are usual."""
_STATM_BYTES = 256
_STATUS_BYTES = 8192
_GONE_ERRORS = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class Gone:
    """The process does not live any more."""

    why: str


class Polled(NamedTuple):
    """What one poll of everybody saw."""

    changed: list[tuple[ProcessKey, Sample | None]]
    """Whose figures are others than at the poll before; None for a gap: it lives, but could not be read."""
    gone: list[tuple[ProcessKey, Gone]]


@dataclass(slots=True)
class _Held:
    """What is kept open of one process, -1 where descriptors are short, and what was seen of it last."""

    stat: int = -1
    statm: int = -1
    fds: int | None = None
    fds_due_t_s: float = -math.inf
    children: int | None = None
    swap_bytes: int = 0
    swap_due_t_s: float = -math.inf
    raw: bytes = b""
    """The contents of statm at the latest poll; empty where the next poll has to read everything."""
    whole_due_t_s: float = -math.inf
    seen: Sample | None = None


class Sampler:
    """Samples processes by descriptors held open, which follow the process and not its number.

    After the process has been reaped, reading them fails with ESRCH even if the pid lives again. Where
    descriptors run short, files are opened anew at each poll and the start time tells processes apart.
    Not thread-safe: it belongs to the thread that polls.
    """

    def __init__(self, proc_root: Path = Path("/proc")) -> None:
        self._root = str(proc_root)
        self._held: dict[ProcessKey, _Held] = {}
        self._open_fds = 0
        self._limit_fds = _count(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._short_told = False
        self._swap_t_s = float("nan")
        self._swapping = False
        self._kernel_counts_fds = _kernel_counts_fds(self._root)

    def open(self, process: Process) -> None:
        """Begin to follow a process; that it has gone meanwhile is told by the next `sample`."""
        if process.key in self._held:
            return
        held = self._held[process.key] = _Held()
        if not self._room_for_two():
            self._tell_short("descriptors are short")
            return
        try:
            self._hold(process.key, held)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._tell_short(os.strerror(error.errno))

    def note_children(self, key: ProcessKey, children: int | None) -> None:
        """Take over how many children a process has: its samples tell it from now on."""
        held = self._held.get(key)
        if held is not None and held.children != children:
            held.children, held.raw = children, b""

    def poll(self, t_s: float) -> Polled:
        """Read the memory of everybody who is followed, and of some in turn all the rest.

        A process that idles costs one read: what its statm says is what it said before.
        """
        changed: list[tuple[ProcessKey, Sample | None]] = []
        gone: list[tuple[ProcessKey, Gone]] = []
        read = os.pread
        for key, held in self._held.items():
            if t_s < held.whole_due_t_s and held.raw:
                try:
                    if read(held.statm, _STATM_BYTES, 0) == held.raw:
                        continue
                except OSError:
                    held.raw = b""
            whole = t_s >= held.whole_due_t_s or not held.raw
            seen = self._sample(key, held, t_s, whole=whole)
            if isinstance(seen, Gone):
                gone.append((key, seen))
            elif seen is None or seen != held.seen:
                changed.append((key, seen))
                held.seen = seen
            elif whole and held.raw:
                held.whole_due_t_s = t_s + _calm_s(key)
        return Polled(changed, gone)

    def sample(self, key: ProcessKey, t_s: float) -> Sample | Gone | None:
        """Return all that the process uses at `t_s`; None is a gap: it lives, but could not be read now."""
        return self._sample(key, self._held.get(key) or _Held(), t_s, whole=True)

    def close(self, key: ProcessKey) -> None:
        """Stop following a process; one that is not followed is no error."""
        held = self._held.pop(key, None)
        if held is not None:
            self._release(held)

    def close_all(self) -> None:
        """Stop following every process."""
        for key in list(self._held):
            self.close(key)

    def _sample(self, key: ProcessKey, held: _Held, t_s: float, *, whole: bool) -> Sample | Gone | None:
        held.raw = b""
        try:
            return self._read(key, held, t_s) if whole else self._read_memory(key, held, t_s)
        except OSError as error:
            return Gone("exited") if error.errno in _GONE_ERRORS else None
        except ValueError:
            return None

    def _read(self, key: ProcessKey, held: _Held, t_s: float) -> Sample | Gone:
        # The stat is read last: where it still shows the same start, all that was read by number before
        # it belonged to this process too.
        fds = self._count_fds(key.pid, held, t_s)
        raw = self._contents(held.statm, key.pid, "statm")
        pages = parse_statm(raw)
        swap_bytes = self._swap_bytes(key.pid, held, pages, t_s)
        stat = parse_stat(self._contents(held.stat, key.pid, "stat"))
        if stat.start_ticks != key.start_ticks:
            return Gone("exited, its pid is used again")
        if stat.dead or pages.size == 0:
            return Gone("exited, not yet reaped by its parent" if stat.dead else "exiting")
        if held.statm >= 0:
            held.raw = raw
            held.whole_due_t_s = t_s + WHOLE_EVERY_S - (0 if held.seen else _turn_s(key))
        anonymous_bytes = max(0, pages.resident - pages.shared) * _PAGE_BYTES
        return Sample(
            rss_bytes=pages.resident * _PAGE_BYTES,
            heap_bytes=anonymous_bytes + swap_bytes,
            shared_bytes=pages.shared * _PAGE_BYTES,
            swap_bytes=swap_bytes,
            threads=stat.threads,
            fds=fds,
            cpu_s=stat.cpu_ticks / _TICKS_PER_S,
            children=held.children,
        )

    def _read_memory(self, key: ProcessKey, held: _Held, t_s: float) -> Sample | Gone:
        """Return the sample with new figures of memory; by a held descriptor it is the same process."""
        raw = self._contents(held.statm, key.pid, "statm")
        pages = parse_statm(raw)
        if held.seen is None or pages.size == 0:
            return self._read(key, held, t_s)
        held.raw = raw
        swap_bytes = self._swap_bytes(key.pid, held, pages, t_s)
        anonymous_bytes = max(0, pages.resident - pages.shared) * _PAGE_BYTES
        return replace(
            held.seen,
            rss_bytes=pages.resident * _PAGE_BYTES,
            heap_bytes=anonymous_bytes + swap_bytes,
            shared_bytes=pages.shared * _PAGE_BYTES,
            swap_bytes=swap_bytes,
            children=held.children,
        )

    def _contents(self, held_fd: int, pid: int, name: str) -> bytes:
        if held_fd >= 0:
            return os.pread(held_fd, _STAT_BYTES, 0)
        return _read_once(f"{self._root}/{pid}/{name}", _STAT_BYTES)

    def _hold(self, key: ProcessKey, held: _Held) -> None:
        directory = os.open(f"{self._root}/{key.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Through the directory both files belong to one process, whichever it is.
            held.stat = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
            held.statm = os.open("statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
            self._open_fds += 2
        except OSError:
            self._release(held)
            raise
        finally:
            os.close(directory)

    def _release(self, held: _Held) -> None:
        if held.stat >= 0 and held.statm >= 0:
            self._open_fds -= 2
        for fd in (held.stat, held.statm):
            if fd >= 0:
                os.close(fd)
        held.stat = held.statm = -1

    def _room_for_two(self) -> bool:
        if self._open_fds + 2 + RESERVED_FDS > self._limit_fds:
            self._limit_fds = _raise_limit()
        return self._open_fds + 2 + RESERVED_FDS <= self._limit_fds

    def _tell_short(self, why: str) -> None:
        if self._short_told:
            return
        self._short_told = True
        log_event(
            logger,
            "refused",
            what="open files",
            limit=self._limit_fds,
            held=self._open_fds,
            why=why,
            then="further processes are opened anew at each poll: slower, same figures; raise LimitNOFILE=",
        )

    def _count_fds(self, pid: int, held: _Held, t_s: float) -> int | None:
        if t_s >= held.fds_due_t_s:
            held.fds_due_t_s = t_s + FDS_EVERY_S
            held.fds = self._fds_now(pid)
        return held.fds

    def _fds_now(self, pid: int) -> int | None:
        path = f"{self._root}/{pid}/fd"
        with suppress(OSError):
            if self._kernel_counts_fds:
                return os.stat(path).st_size  # noqa: PTH116 - of thousands a poll
            return len(os.listdir(path))  # noqa: PTH208 - the same
        return None

    def _swap_bytes(self, pid: int, held: _Held, pages: Pages, t_s: float) -> int:
        """Return what is swapped out: read in its turn, and at once where memory has shrunk by that."""
        if not self._host_swaps(t_s):
            return 0
        shrunk = held.seen is not None and pages.resident * _PAGE_BYTES < held.seen.rss_bytes
        if shrunk or t_s >= held.swap_due_t_s:
            held.swap_due_t_s = t_s + SWAP_EVERY_S
            held.swap_bytes = parse_swap_bytes(_read_once(f"{self._root}/{pid}/status", _STATUS_BYTES))
        return held.swap_bytes

    def _host_swaps(self, t_s: float) -> bool:
        if t_s != self._swap_t_s:
            self._swap_t_s = t_s
            self._swapping = _host_swaps(self._root)
        return self._swapping


def _turn_s(key: ProcessKey) -> float:
    """Return by how much earlier a process has its first turn: not all of them at the same poll."""
    return float(key.pid % int(WHOLE_EVERY_S))


def _calm_s(key: ProcessKey) -> float:
    """Return an interval of its own for each process, so that not all of them come at the same poll."""
    shortest_s, longest_s = CALM_EVERY_S
    return float(shortest_s + key.pid % (longest_s - shortest_s + 1))


def _read_once(path: str, limit_bytes: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, limit_bytes)
    finally:
        os.close(fd)


def _host_swaps(root: str) -> bool:
    with suppress(OSError):
        return parse_swaps_used(_read_once(f"{root}/swaps", _STATUS_BYTES).decode("utf-8", "replace"))
    return False


def _kernel_counts_fds(root: str) -> bool:
    """Whether the size of /proc/PID/fd is the count (since Linux 6.2); it then needs no privilege."""
    with suppress(OSError):
        return Path(root, "self", "fd").stat().st_size > 0
    return False


def _raise_limit() -> int:
    """Lift the soft limit on open files to the hard one and return what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _count(soft) < _count(hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return _count(hard)
    return _count(soft)


def _count(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
