"""Checks of whom the agent would watch now, and what it can read of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.capture_helper.sources import sources_of
from agent.config import Config
from agent.consent import Consent
from agent.diagnosis.checks import Check, Grade
from agent.diagnosis.runtime import runtime_of
from agent.evidence.readiness import Ready, readiness
from agent.model import Instant
from agent.units import format_bytes, format_duration
from agent.watch.cgroups import LimitReader
from agent.watch.processes import Gone, Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from agent.model import Limit, Process, Sample
    from agent.watch.options import WatchEntry
    from agent.watch.targets import Selection, Target

AREA = "targets"
MANY = 50
"""An entry that matches more processes is rarely what was meant."""
MAX_SHOWN = 20
"""Processes looked at in detail, of an entry or of discovery."""
MAX_DUMPS = 20
"""Of all entries together so many real dumps are tried; each takes some 50 ms."""


def targets(config: Config, selection: Selection, examiner: Examiner, own_pid: int) -> list[Check]:
    """Return what each entry matches and what discovery would watch, each process in detail."""
    watched = [target for target in selection.targets if target.process.key.pid != own_pid]
    checks: list[Check] = []
    for entry in config.watch:
        matched = [target for target in watched if target.entry is entry]
        checks += [entry_matches(entry, len(matched)), *_shown(matched, examiner)]
    if config.discovers:
        found = [target for target in watched if target.entry is None]
        checks += [discovered(config, len(found), selection.dropped), *_shown(found, examiner)]
    if selection.denied:
        text = f"{len(selection.denied)} processes may not be read at all (/proc is mounted with hidepid)"
        checks.append(Check(AREA, "denied", Grade.WARN, text, {"denied": len(selection.denied)}))
    return checks


def entry_matches(entry: WatchEntry, count: int) -> Check:
    """Return whether an entry matches a sensible number of processes."""
    facts = {"service": entry.service, "processes": count}
    if not count:
        text = f"{entry.service}: matches no process now{_hint(entry)}"
        return Check(AREA, "entry", Grade.WARN, text, facts)
    if count > MANY:
        text = f"{entry.service}: matches {count} processes; is the match too wide?"
        return Check(AREA, "entry", Grade.WARN, text, facts)
    return Check(AREA, "entry", Grade.OK, f"{entry.service}: matches {_processes(count)}", facts)


def discovered(config: Config, count: int, dropped: int) -> Check:
    """Return how many processes discovery would watch, and how many it would leave out."""
    facts = {"processes": count, "dropped": dropped}
    least = format_bytes(config.discover.min_rss_bytes)
    text = f"discovery: would watch {_processes(count)} of {least} and more"
    if dropped:
        text += f"; {dropped} more are left out (discover.max_processes is {config.discover.max_processes})"
    grade = Grade.WARN if dropped or (not count and not config.watch) else Grade.OK
    return Check(AREA, "discovery", grade, text, facts)


@dataclass(slots=True)
class Examiner:
    """Looks at one process after another as the agent would, and closes everything again."""

    config: Config
    tool: Path | None
    now: Instant
    limits: LimitReader = field(default_factory=LimitReader)
    dumps_left: int = MAX_DUMPS

    def examine(self, target: Target, others: AbstractSet[int] = frozenset()) -> Check:
        """Return what can be read of a process, and why the rest cannot; `others` are of the same service."""
        process = target.process
        sample = self._sample(process)
        if isinstance(sample, Gone):
            return Check(AREA, "process", Grade.OK, f"{_who(process, self.now)}: {sample.why}", depth=1)
        limit = self.limits.limit(process.key.pid, self.now.t_s)
        sources = self._evidence(target)
        missing = [source for source in sources if source.why_not]
        runtime = runtime_of(target, others)
        words = [_memory(sample, limit), *([runtime.text] if runtime.text else []), *_evidence_words(sources)]
        if not sources:
            words.append("snapshots off")
        grade = Grade.WARN if missing or sample is None or runtime.fails else Grade.OK
        facts = _facts(target, sample, limit, sources) | {"runtime_heap": runtime.text}
        return Check(AREA, "process", grade, f"{_who(process, self.now)}: {'; '.join(words)}", facts, depth=1)

    def _sample(self, process: Process) -> Sample | Gone | None:
        sampler = Sampler()
        sampler.open(process)
        try:
            return sampler.sample(process.key, self.now.t_s)
        finally:
            sampler.close_all()

    def _evidence(self, target: Target) -> tuple[Ready, ...]:
        own = None if target.entry is None else target.entry.snapshots
        wanted = self.config.snapshots if own is None else own
        if not (wanted and self.config.evidence.enabled):
            return ()
        python = target.process.runtime == "python"
        run_tool = python and self.dumps_left > 0
        self.dumps_left -= run_tool
        allowed = Consent() if target.entry is None else target.entry.allow
        sources = sources_of(self.config.evidence, lambda: self.tool)
        return readiness(
            target.process,
            sources(target.process, allowed),
            allowed,
            dump_with=self.tool if run_tool else None,
            timeout_s=self.config.evidence.timeout_s,
        )


def _shown(matched: Sequence[Target], examiner: Examiner) -> Iterator[Check]:
    pids: defaultdict[str, set[int]] = defaultdict(set)
    for target in matched:
        pids[target.service].add(target.process.key.pid)
    for target in matched[:MAX_SHOWN]:
        yield examiner.examine(target, pids[target.service] - {target.process.key.pid})
    if len(matched) > MAX_SHOWN:
        yield Check(AREA, "more", Grade.OK, f"and {len(matched) - MAX_SHOWN} more", depth=1)


def _who(process: Process, now: Instant) -> str:
    age = format_duration(now.t_s - process.started_t_s)
    return f"pid {process.key.pid} {process.name} ({process.runtime}, user {process.user}, up {age})"


def _memory(sample: Sample | None, limit: Limit) -> str:
    top = f"{format_bytes(limit.limit_bytes)} ({limit.source})"
    if sample is None:
        return f"memory cannot be read, limit {top}"
    percent = 100.0 * sample.heap_bytes / limit.limit_bytes
    fds = "fds cannot be counted" if sample.fds is None else f"{sample.fds} fds"
    return f"heap {format_bytes(sample.heap_bytes)}, {percent:.0f}% of {top}; {fds}"


def _evidence_words(sources: Sequence[Ready]) -> Iterator[str]:
    """Yield what works, then what does not, those with the same reason together."""
    works = [source.name for source in sources if not source.why_not]
    if works:
        yield f"evidence {', '.join(works)}"
    for why in dict.fromkeys(source.why_not for source in sources if source.why_not):
        yield f"no {', '.join(source.name for source in sources if source.why_not == why)}: {why}"


def _facts(target: Target, sample: Sample | None, limit: Limit, sources: Sequence[Ready]) -> dict[str, Any]:
    process = target.process
    return {
        "service": target.service,
        "pid": process.key.pid,
        "name": process.name,
        "user": process.user,
        "runtime": process.runtime,
        "heap_bytes": None if sample is None else sample.heap_bytes,
        "fds": None if sample is None else sample.fds,
        "limit": asdict(limit),
        "evidence": {source.name: source.why_not or "ok" for source in sources},
    }


def _hint(entry: WatchEntry) -> str:
    if entry.match.pidfile is not None and not Path(entry.match.pidfile).exists():
        return f" ({entry.match.pidfile} does not exist, or its folder may not be entered)"
    if entry.match.port is not None:
        return " (ports of other users' processes are seen with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH only)"
    return ""


def _processes(count: int) -> str:
    return f"{count} process{'' if count == 1 else 'es'}"
