"""One capture: what a leaking process holds and where, in private files and in a few lines for the alert."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.evidence import pyspy, smaps, stacks
from agent.evidence.folder import CaptureFolder, CaptureFolders, FolderError
from agent.evidence.procfs import HeldProcess, ProcessGoneError, read_fds, read_smaps, read_status
from agent.logs import log_event
from agent.model import Evidence, Instant, Process
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.evidence.options import EvidenceOptions
    from agent.evidence.smaps import Smaps
    from agent.model import ProcessKey

logger = logging.getLogger(__name__)

SCHEMA = 1
"""The version of the files' form, kept in evidence.json."""
MOST_TELLING = ("pyspy.txt", "smaps.json", "status.json", "fds.json", "pyspy.json", "evidence.json")
MANY = 200
"""So many descriptors or threads are told in the gist."""

_PYTHON_RUNTIMES = ("python", "unknown")
"""Of an unknown runtime py-spy at least says why it cannot be read."""

_CAPABILITIES = {"fds": "CAP_DAC_READ_SEARCH"}
"""/proc/PID/fd is a folder of mode 0500: the right to trace does not open it (proc_pid_fd(5))."""


@dataclass(slots=True)
class _Taking:
    """What one capture has found so far."""

    process: Process
    held: HeldProcess
    folder: CaptureFolder
    now: Instant
    gist: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def evidence(self) -> Evidence:
        """Return it as an alert tells it."""
        files = tuple(sorted(self.folder.files, key=MOST_TELLING.index))
        directory = str(self.folder.path) if files else ""
        return Evidence(directory, tuple(self.gist), tuple(self.missing), files)

    def write(self, name: str, data: Any) -> None:
        """Write a value as JSON. Raises OSError."""
        self.folder.write(name, json.dumps(data, indent=1).encode("utf-8", "backslashreplace"))


class Captures:
    """Takes captures, one at a time, and keeps them under `directory` within the budget."""

    def __init__(
        self,
        directory: Path,
        options: EvidenceOptions,
        *,
        find_tool: Callable[[], Path | None] = pyspy.find,
    ) -> None:
        self._folders = CaptureFolders(directory)
        self._options = options
        self._find_tool = find_tool
        self._recent: dict[ProcessKey, tuple[float, Evidence]] = {}

    def capture(self, process: Process, label: str, now: Instant) -> Evidence:
        """Take what can be taken of a process; what cannot is a sentence in `missing`. Never raises.

        Within the cooldown of a process the earlier capture is given again.
        """
        earlier = self._within_cooldown(process.key, now)
        if earlier is not None:
            return earlier
        try:
            evidence = self._capture(process, label, now)
        except (ProcessGoneError, FolderError) as error:
            return Evidence("", missing=(str(error),))
        except OSError as error:
            return Evidence("", missing=(f"captures: {one_line(str(error))}",))
        except Exception as error:  # noqa: BLE001 - evidence never costs the alert
            log_event(logger, "refused", level=logging.ERROR, capture=label, error=repr(error))
            return Evidence("", missing=(f"captures: failed with {type(error).__name__}",))
        if evidence.directory:
            self._recent[process.key] = (now.t_s, evidence)
        return evidence

    def _within_cooldown(self, key: ProcessKey, now: Instant) -> Evidence | None:
        cooldown_s = self._options.cooldown_s
        self._recent = {k: taken for k, taken in self._recent.items() if 0 <= now.t_s - taken[0] < cooldown_s}
        if key not in self._recent:
            return None
        taken_t_s, evidence = self._recent[key]
        age, cooldown = format_duration(now.t_s - taken_t_s), format_duration(cooldown_s)
        note = f"a newer capture: this one is {age} old, the next is taken after {cooldown}"
        return replace(evidence, missing=(*evidence.missing, note))

    def _capture(self, process: Process, label: str, now: Instant) -> Evidence:
        with HeldProcess(process.key) as held, self._folders.create(label, now.wall_s) as folder:
            taking = _Taking(process, held, folder, now)
            try:
                self._take_all(taking)
                held.check()
            except ProcessGoneError as error:
                taking.missing.append(f"{error} during the capture")
            if folder.files:
                self._finish(taking, label)
        return taking.evidence()

    def _take_all(self, taking: _Taking) -> None:
        held = taking.held
        self._take(taking, "smaps", lambda: self._smaps(taking))
        if taking.process.runtime in _PYTHON_RUNTIMES:
            self._take(taking, "py-spy", lambda: self._python_stacks(taking))
        self._take(taking, "status", lambda: _status(taking, read_status(held)))
        self._take(taking, "fds", lambda: _fds(taking, read_fds(held)))

    def _take(self, taking: _Taking, source: str, take: Callable[[], None]) -> None:
        """Take one source; its failure is noted. Raises ProcessGoneError."""
        try:
            take()
        except pyspy.PySpyError as error:
            taking.held.check()
            taking.missing.append(str(error))
        except PermissionError:
            needs = _CAPABILITIES.get(source, "CAP_SYS_PTRACE")
            taking.missing.append(f"{source}: no permission (needs {needs}, or the process's user and group)")
        except (OSError, ValueError, KeyError, TypeError) as error:
            taking.held.check()
            taking.missing.append(f"{source}: {one_line(str(error) or type(error).__name__)}")

    def _smaps(self, taking: _Taking) -> None:
        found = read_smaps(taking.held)
        who = {"process": str(taking.process.key), "taken_t_s": taking.now.t_s}
        taking.write("smaps.json", who | found.to_json())
        before = self._first_smaps(taking)
        if before is None:
            taking.gist.append(smaps.largest(found))
        else:
            since = format_duration(taking.now.t_s - before[0])
            taking.gist.append(f"{smaps.growth(before[1], found)} in {since}")

    def _first_smaps(self, taking: _Taking) -> tuple[float, Smaps] | None:
        """Return when the first capture of this incident saw the same process, and its memory then."""
        for content in self._folders.earlier(taking.folder, "smaps.json"):
            try:
                data = json.loads(content)
                if data["process"] == str(taking.process.key):
                    return float(data["taken_t_s"]), smaps.Smaps.from_json(data)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # cut off by a full disk, or written by another version
        return None

    def _python_stacks(self, taking: _Taking) -> None:
        options = self._options
        dump = pyspy.dump(
            taking.held, self._find_tool(), timeout_s=options.timeout_s, with_locals=options.locals
        )
        threads = stacks.read(dump.threads)
        taking.folder.write("pyspy.json", dump.raw)
        taking.folder.write("pyspy.txt", stacks.readable(threads).encode("utf-8", "backslashreplace"))
        taking.gist[:0] = stacks.summarise(threads)

    def _finish(self, taking: _Taking, label: str) -> None:
        """Write the summary, then make room: the newest capture is worth more than old ones."""
        process, when = taking.process, datetime.fromtimestamp(taking.now.wall_s, UTC)
        summary = {
            "schema": SCHEMA,
            "taken_at": when.isoformat(timespec="seconds"),
            "label": label,
            "process": asdict(process) | {"key": str(process.key)},
            "gist": taking.gist,
            "missing": taking.missing,
            "files": taking.folder.files,
        }
        try:
            taking.write("evidence.json", summary)
            removed = self._folders.keep_within(self._options.disk_budget_bytes, label)
        except (OSError, FolderError) as error:
            taking.missing.append(f"captures: {one_line(str(error))}")
            return
        if removed:
            log_event(logger, "evidence", removed=len(removed), why="disk budget")


def _status(taking: _Taking, status: dict[str, Any]) -> None:
    taking.write("status.json", status)
    names: dict[str, int] = status["threads"]
    if sum(names.values()) >= MANY:
        taking.gist.append(f"threads: {_most(names)} of {sum(names.values())}")


def _fds(taking: _Taking, fds: dict[str, Any]) -> None:
    taking.write("fds.json", fds)
    if fds["open"] >= MANY:
        taking.gist.append(f"descriptors: {_most(fds['classes'])} of {fds['open']}")


def _most(counts: dict[str, int]) -> str:
    name = max(counts, key=lambda name: counts[name])
    return f"{counts[name]} {name}"
