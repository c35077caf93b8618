"""The file by which the daemon tells `leakwatch status` how it is doing, and the question whether it runs."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import zlib
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from agent.gz import WINDOW_BITS, gzipped
from agent.model import Event, Instant, State, Subject
from agent.statedir import LOCK_NAME, MAX_PID_CHARS, StateError
from agent.web import health
from agent.web.health import HealthView, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "status.json.gz"
"""Compressed, as it is written again and again: a page or two of the disk instead of ten."""
SCHEMA = 5
"""The version of the file's form."""
WRITE_EVERY_S = 30.0
"""The daemon writes at changes, and at least so often."""
MAX_FILE_BYTES = 16_000_000
"""A few hundred processes are some 100 kB."""
_UNWRITTEN = NAME + ".new"
_MODE = 0o600
_PAGE_BYTES = 4096
_LOOKS = 50
"""How often a reader looks again who has come in the middle of writing, which takes microseconds."""


class StatusFileError(Exception):
    """Why the daemon's state cannot be told, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class WatchedProcess:
    """One process that is watched, as it was at the latest tick."""

    service: str
    pid: int
    name: str
    heap_bytes: int
    limit_bytes: int | None
    state: State
    rate_bytes_per_hour: float | None
    probability: float | None = None
    """Of its likeliest leak; None while nothing grows."""
    disproof: str = ""
    """Why its latest growth was no leak; empty where nothing has shown that."""


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """One open incident."""

    incident_id: str
    service: str
    subject: Subject
    state: State
    since_wall_s: float
    event: Event
    evidence: str
    """Where its capture lies, or what became of it; empty for nothing."""
    probability: float | None = None
    kind: str = ""
    """What grows, one of `agent.model.Kind`; empty where nothing can be said."""
    standing: str = ""
    """Why nobody hears of it at present, e.g. that it is acknowledged; empty where people do."""


@dataclass(frozen=True, slots=True)
class ParkedDelivery:
    """One alert that a channel has refused for good."""

    incident_id: str
    channel: str
    error: str


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """Everything that the daemon has told last."""

    pid: int
    written_t_s: float
    written_wall_s: float
    config_path: str
    """Empty when it runs without a file."""
    view: HealthView
    watching: tuple[WatchedProcess, ...]
    """Those that grow, and the largest of the others."""
    incidents: tuple[IncidentLine, ...]
    parked: tuple[ParkedDelivery, ...]
    dropped: int
    """How many more processes were discovered than may be watched."""
    denied: int
    """Processes of which nothing may be read."""
    unlisted: int = 0
    """How many more are watched than `watching` lists."""

    @property
    def written(self) -> Instant:
        """When it was told."""
        return Instant(self.written_t_s, self.written_wall_s)


def write(  # noqa: PLR0913 - everything that a person asks of a daemon
    directory: Path,
    view: HealthView,
    now: Instant,
    *,
    watching: Sequence[WatchedProcess],
    incidents: Sequence[IncidentLine],
    parked: Sequence[ParkedDelivery],
    dropped: int,
    denied: int,
    config_path: str,
    unlisted: int = 0,
) -> None:
    """Write the file, mode 0600. Raises OSError.

    It is not forced to the disk: after a crash of the machine nobody runs that it could speak of.
    """
    told = DaemonStatus(
        pid=os.getpid(),
        written_t_s=now.t_s,
        written_wall_s=now.wall_s,
        config_path=config_path,
        view=view,
        unlisted=unlisted,
        watching=tuple(watching),
        incidents=tuple(incidents),
        parked=tuple(parked),
        dropped=dropped,
        denied=denied,
    )
    data = _padded(_packed({"schema": SCHEMA} | to_plain(told)))
    if not _overwritten(directory / NAME, data):
        _replace(directory, data)


def _padded(data: bytes) -> bytes:
    """Return it with zeros up to a whole page, which gzip allows and ignores."""
    return data + bytes(-len(data) % _PAGE_BYTES)


def _overwritten(path: Path, data: bytes) -> bool:
    """Write over the file that is there if it is ours and as long; False where a new one is needed.

    A new file every half a minute makes the file system write six more pages: a directory, bitmaps, an inode.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        ours = stat.S_ISREG(found.st_mode) and found.st_mode & 0o777 == _MODE and found.st_uid == os.geteuid()
        return ours and found.st_size == len(data) and os.pwrite(fd, data, 0) == len(data)
    finally:
        os.close(fd)


def _replace(directory: Path, data: bytes) -> None:
    unwritten = directory / _UNWRITTEN
    unwritten.unlink(missing_ok=True)  # left by a crash
    try:
        with os.fdopen(os.open(unwritten, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
            file.write(data)
        unwritten.replace(directory / NAME)
    except OSError:
        with suppress(OSError):
            unwritten.unlink(missing_ok=True)
        raise


def _packed(values: dict[str, Any]) -> bytes:
    """Return values as JSON in the format of gzip; `zcat` shows them."""
    return gzipped(json.dumps(values).encode(), level=1)


def _unpacked(data: bytes) -> bytes:
    """Return what was packed. Raises ValueError where its end is missing, zlib.error."""
    unpacker = zlib.decompressobj(WINDOW_BITS)
    text = unpacker.decompress(data, MAX_FILE_BYTES)
    if not unpacker.eof:
        raise ValueError("torn")
    return text


def read(directory: Path) -> DaemonStatus:
    """Return what the daemon has told last. Raises StatusFileError for everything else that may lie there."""
    path = directory / NAME
    for _ in range(_LOOKS):
        try:
            text = _unpacked(_content(path))
        except (zlib.error, ValueError):
            continue
        return _parsed(text, path)
    raise StatusFileError(f"{path}: not a status that leakwatch has written")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        raise StatusFileError(f"{path}: not written yet") from None
    except OSError as error:
        raise StatusFileError(f"{path}: {error.strerror}") from None


def _parsed(text: bytes, path: Path) -> DaemonStatus:
    try:
        values = json.loads(text)
        if values["schema"] != SCHEMA:
            raise StatusFileError(f"{path}: written by another version of leakwatch")
        status: DaemonStatus = _from_plain(DaemonStatus, values)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise StatusFileError(f"{path}: not a status that leakwatch has written") from None
    return status


def holder(directory: Path) -> int | None:
    """Return the pid of the instance that uses a state directory, 0 if it does not say; None for none.

    The lock is asked for, shared with other askers, and given back at once. Raises StateError when it may
    not be asked for.
    """
    path = directory / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(f"lock {path}: {error.strerror}; ask as the user that leakwatch runs as") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, MAX_PID_CHARS, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
    return None


def condition(told: DaemonStatus, now: Instant) -> Status:
    """Return how the daemon is doing, as far as can be told from what it has written and when."""
    silent_s = now.t_s - told.written_t_s
    if silent_s > WRITE_EVERY_S + health.MISSED_INTERVALS * told.view.interval_s:
        return Status.CRITICAL
    own = health.status(told.view, told.written)
    if own is Status.HEALTHY and (told.parked or told.incidents):
        return Status.DEGRADED
    return own


def to_plain(value: Any) -> Any:
    """Return values for JSON: a class as a mapping, a state by its name."""
    if (names := _names(value.__class__)) is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, State) else value


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """Return the names of a class's fields; None where it has none."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def _from_plain(kind: Any, value: Any) -> Any:
    """Return what `to_plain` was given. Raises KeyError, TypeError or ValueError for anything else."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(
            **{field.name: _from_plain(hints[field.name], value[field.name]) for field in fields(kind)}
        )
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError
        return tuple(_from_plain(get_args(kind)[0], item) for item in value)
    if type(None) in get_args(kind):
        return None if value is None else _from_plain(get_args(kind)[0], value)
    return _scalar(kind, value)


def _scalar(kind: Any, value: Any) -> Any:
    if kind is State:
        return State[value.upper()] if isinstance(value, str) else State(value)
    if kind in (Event, Subject):
        return kind(value)
    if type(value) is not kind and (kind, type(value)) != (float, int):
        raise TypeError
    return value
