"""Finds out which processes exist now and hands them to the selection."""

from __future__ import annotations

import os
import pwd
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from agent.model import Process, ProcessKey
from agent.redaction import redact
from agent.text import MAX_NAME_CHARS, one_line
from agent.watch.ports import listening_ports
from agent.watch.procfs import Stat, parse_arguments, parse_cgroup, parse_stat, parse_uids, telling_cgroup
from agent.watch.runtimes import ELF_HEAD_BYTES, is_go, runtime_of_maps, runtime_of_name
from agent.watch.targets import Facts, Selection, Target, select

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from agent.watch.options import DiscoverOptions, WatchEntry

_T = TypeVar("_T")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CMDLINE_BYTES = 64 * 1024
"""Class paths of JVMs reach tens of kB, and the main class comes after them."""
_MAPS_BYTES = 1024 * 1024
_MAX_PROGRAMS = 1024
"""Executables of which it is remembered whether Go has linked them."""
_FILE_BYTES = 16 * 1024
_DELETED = " (deleted)"
"""What the kernel adds to an executable that was replaced while it runs."""
_PIECE = 50
"""So many processes are looked at between two pauses."""
_SETTLED_S = 60.0
"""A process that has run for so long is read once, ..."""
_MOST_AGAIN = 500
"""... and of younger ones so many a second time in each scan."""
_PID = re.compile(r"\s*(\d{1,9})\b")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a process between two scans."""

    process: Process
    arguments: tuple[str, ...]
    uid: int
    comm: bytes
    settled: bool
    """Seen in two scans, or old: what starts may still exec, drop its user or be moved to its cgroup."""


class _Seen(NamedTuple):
    key: ProcessKey
    stat: Stat


class Discovery:
    """Scans /proc; what does not change in a process's life is read once or twice and then remembered.

    One scan of 5,000 processes costs one small file each. Not thread-safe: it belongs to one thread.
    What is obviously a secret is left out of the commands it tells, unless they are wanted `as_they_are`;
    entries are matched with the whole command lines all the same.
    """

    def __init__(
        self,
        proc_root: Path = Path("/proc"),
        *,
        as_they_are: bool = False,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin; `pause` is called again and again during a scan, and may wait."""
        self._root = proc_root
        self._pause = pause
        self._as_they_are = as_they_are
        self._boot_id = _boot_id(proc_root)
        self._own_pid = _own_pid(proc_root)
        self._known: dict[ProcessKey, _Known] = {}
        self._users: dict[int, str] = {}
        self._linked_by_go: dict[tuple[int, int, int], bool] = {}
        """By device, inode and time of change."""
        self._rss_bytes: dict[ProcessKey, int] = {}
        self._again = 0
        """How many may still be looked at a second time in the scan under way."""
        self._denied: tuple[int, ...] = ()
        self._children: Counter[int] = Counter()
        """By the parent's pid, zombies included: who is not waited for takes a pid too."""

    def scan(
        self, entries: Sequence[WatchEntry], discover: DiscoverOptions, watched: Collection[ProcessKey]
    ) -> Selection:
        """Return who is to be watched now; `watched` is what is watched so far.

        What vanishes while it is read is left out, and nothing that a process does raises here.
        """
        processes = self.processes()
        selection = select(processes, entries, discover, self._facts(processes, entries, frozenset(watched)))
        targets = tuple(
            Target(t.service, t.process, t.labels, t.entry, self._children[t.process.key.pid])
            for t in selection.targets
        )
        return replace(selection, targets=targets, denied=self._denied)

    def processes(self) -> tuple[Process, ...]:
        """Return every live process but kernel threads and zombies, by pid."""
        seen, denied = self._look()
        old_ticks, self._again = (_uptime_s(self._root) - _SETTLED_S) * _TICKS_PER_S, _MOST_AGAIN
        known = {s.key: k for s in self._paced(seen) if (k := self._recall(s, old_ticks)) is not None}
        self._known = known
        self._rss_bytes = {s.key: s.stat.rss_pages * _PAGE_BYTES for s in seen}
        self._denied = denied
        return tuple(k.process for k in known.values())

    def process(self, key: ProcessKey) -> Process | None:
        """Return one live process, looking at no other; None where it has ended, or its pid is another's."""
        try:
            stat = parse_stat(_contents(f"{self._root}/{key.pid}/stat", _FILE_BYTES))
        except (OSError, ValueError):
            return None
        if stat.dead or stat.kernel_thread or key != (key.pid, stat.start_ticks, self._boot_id):
            return None
        known = self._read(_Seen(key, stat), settled=False)
        return None if known is None else known.process

    def _look(self) -> tuple[list[_Seen], tuple[int, ...]]:
        seen: list[_Seen] = []
        denied: list[int] = []
        children: Counter[int] = Counter()
        for pid in self._paced(_pids(self._root)):
            try:
                stat = parse_stat(_contents(f"{self._root}/{pid}/stat", _FILE_BYTES))
            except PermissionError:
                denied.append(pid)
            except (OSError, ValueError):
                continue  # gone since it was listed
            else:
                children[stat.parent_pid] += 1
                if not (stat.dead or stat.kernel_thread):
                    seen.append(_Seen(ProcessKey(pid, stat.start_ticks, self._boot_id), stat))
        self._children = children
        return seen, tuple(denied)

    def _paced(self, items: Sequence[_T]) -> Iterator[_T]:
        """Yield them all, with a pause after each piece."""
        for number, item in enumerate(items):
            if number % _PIECE == 0:
                self._pause()
            yield item

    def _recall(self, seen: _Seen, old_ticks: float) -> _Known | None:
        known = self._known.get(seen.key)
        if known is None or known.comm != seen.stat.comm:
            return self._read(seen, settled=seen.stat.start_ticks <= old_ticks)
        if not known.settled and self._again > 0:
            self._again -= 1
            return self._read(seen, settled=True)
        if known.process.parent_pid != seen.stat.parent_pid:
            return replace(known, process=replace(known.process, parent_pid=seen.stat.parent_pid))
        return known

    def _read(self, seen: _Seen, *, settled: bool) -> _Known | None:
        try:
            # Files opened through the directory all belong to one process, whoever gets its pid next.
            directory = os.open(f"{self._root}/{seen.key.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return self._describe(seen, directory, settled=settled)
        except (OSError, ValueError):
            return None
        finally:
            os.close(directory)

    def _describe(self, seen: _Seen, directory: int, *, settled: bool) -> _Known | None:
        stat = parse_stat(_contents("stat", _FILE_BYTES, directory))
        if stat.start_ticks != seen.key.start_ticks:
            return None
        arguments = parse_arguments(_readable("cmdline", _CMDLINE_BYTES, directory))
        uid = parse_uids(_contents("status", _FILE_BYTES, directory)).effective
        exe = _executable(directory)
        cgroups = parse_cgroup(
            _readable("cgroup", _FILE_BYTES, directory).decode("utf-8", "backslashreplace")
        )
        name = one_line(stat.comm, MAX_NAME_CHARS)
        process = Process(
            key=seen.key,
            name=name,
            command=self._command(arguments) or f"[{name}]",
            exe=exe,
            user=self._user(uid),
            parent_pid=stat.parent_pid,
            cgroup=one_line(telling_cgroup(cgroups)),
            started_t_s=stat.start_ticks / _TICKS_PER_S,
            runtime=self._runtime(directory, exe, arguments),
        )
        texts = tuple(one_line(argument, _CMDLINE_BYTES) for argument in arguments)
        return _Known(process, texts, uid, stat.comm, settled)

    def _command(self, arguments: Sequence[bytes]) -> str:
        command = one_line(b" ".join(arguments))
        return command if self._as_they_are else one_line(redact(command))

    def _runtime(self, directory: int, exe: str, arguments: Sequence[bytes]) -> str:
        """Return the runtime; where the executable may not be read, the one that the command promises."""
        if not exe:
            promised = runtime_of_name(arguments[0].decode("utf-8", "replace")) if arguments else None
            return promised or "unknown"
        runtime = runtime_of_name(exe) or runtime_of_maps(_whole("maps", _MAPS_BYTES, directory))
        return runtime or ("go" if self._is_go(directory) else "native")

    def _is_go(self, directory: int) -> bool:
        with suppress(OSError):
            about = os.stat("exe", dir_fd=directory)
            program = about.st_dev, about.st_ino, about.st_mtime_ns
            if program not in self._linked_by_go:
                if len(self._linked_by_go) >= _MAX_PROGRAMS:
                    self._linked_by_go.clear()
                self._linked_by_go[program] = is_go(_readable("exe", ELF_HEAD_BYTES, directory))
            return self._linked_by_go[program]
        return False

    def _user(self, uid: int) -> str:
        if uid not in self._users:
            try:
                self._users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:  # a user of another container
                self._users[uid] = str(uid)
        return self._users[uid]

    def _facts(
        self, processes: Sequence[Process], entries: Sequence[WatchEntry], watched: frozenset[ProcessKey]
    ) -> Facts:
        matches = [entry.match for entry in entries]
        ports = {match.port for match in matches if match.port is not None}
        pids = [process.key.pid for process in processes] if ports else []
        return Facts(
            own_pid=self._own_pid,
            watched=watched,
            rss_bytes=self._rss_bytes,
            arguments={key: known.arguments for key, known in self._known.items()},
            uids={key: known.uid for key, known in self._known.items()},
            ports=listening_ports(self._root, pids, ports),
            pidfiles=_pidfiles(match.pidfile for match in matches if match.pidfile is not None),
            real_paths={
                m.exe: os.path.realpath(m.exe) for m in matches if m.exe is not None and "/" in m.exe
            },
        )


def _uptime_s(root: Path) -> float:
    """Return how long the host is up, by the clock of `start_ticks` (proc(5)); 0 where that is not told."""
    try:
        return float(_contents(f"{root}/uptime", _FILE_BYTES).split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0


def _pids(root: Path) -> list[int]:
    names = os.listdir(root)  # noqa: PTH208 - 5,000 strings, not 5,000 paths
    return sorted(int(name) for name in names if name.isdigit())


def _executable(directory: int) -> str:
    with suppress(OSError):
        path = os.readlink(b"exe", dir_fd=directory).decode("utf-8", "backslashreplace")
        return one_line(path.removesuffix(_DELETED), os.pathconf("/", "PC_PATH_MAX"))
    return ""


def _pidfiles(paths: Iterable[str]) -> dict[str, int]:
    pids: dict[str, int] = {}
    for path in paths:
        with suppress(OSError):
            found = _PID.match(_contents(path, 64).decode("ascii", "replace"))
            if found is not None:
                pids[path] = int(found[1])
    return pids


def _boot_id(root: Path) -> str:
    with suppress(OSError):
        return _contents(f"{root}/sys/kernel/random/boot_id", 64).decode("ascii", "replace")[:8]
    return "00000000"


def _own_pid(root: Path) -> int:
    with suppress(OSError, ValueError):
        return int(str((root / "self").readlink()))  # our number there, also where that is the host's /proc
    return os.getpid()


def _readable(path: str, limit_bytes: int, directory: int) -> bytes:
    with suppress(PermissionError):
        return _contents(path, limit_bytes, directory)
    return b""


def _contents(path: str, limit_bytes: int, directory: int | None = None) -> bytes:
    """Return what one read gives: all of a small file, and of any but those of many lines (maps)."""
    # Not blocking: what a configured path names might be a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    try:
        return os.read(fd, limit_bytes)
    finally:
        os.close(fd)


def _whole(path: str, limit_bytes: int, directory: int) -> bytes:
    """Return a file that the kernel gives page by page; empty where it may not be read."""
    with suppress(PermissionError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
        try:
            read = b""
            while len(read) < limit_bytes and (more := os.read(fd, _FILE_BYTES)):
                read += more
            return read
        finally:
            os.close(fd)
    return b""
