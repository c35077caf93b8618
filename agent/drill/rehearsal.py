"""The drill, step by step: leak, notice, judge, capture, tell, recover, tell again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.alerts.base import Channel
from agent.clock import Clock
from agent.drill import keeping
from agent.drill.child import LeakingChild
from agent.drill.steps import DrillError, Grade, Step, Stopwatch
from agent.drill.telling import stamped, tell, title
from agent.drill.watching import FastWatch
from agent.evidence.options import EvidenceOptions
from agent.model import State, Transition
from agent.units import format_bytes, format_duration, format_rate
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from agent.incidents import Change
    from agent.model import Alert, Evidence, Process

QUIET_S = 3600.0
"""A settled baseline: the critical limit holds only for a process that has one."""
LEAK_BYTES_PER_HOUR = 600e6
"""The built-in limit is 500 MB/h."""
FIRST_LEAK_S = 60.0
MAX_LEAK_S = 1200.0
"""Ten times what the verdict takes; it costs 200 MB at most."""
MAX_CALM_S = 7200.0
"""Four times what the end takes."""
SEEN_SHARE = 0.9
"""The sampler sees at least so much of what the child has leaked."""
WITHDRAW_WAIT_S = 5.0

CHILD, BASELINE, GROWTH, VERDICT = "child", "baseline", "growth", "verdict"
EVIDENCE, RECOVERY, END = "evidence", "recovery", "child's end"


@dataclass(frozen=True, slots=True)
class Plan:
    """With what the drill is done."""

    channels: Mapping[str, Channel]
    host: str
    clock: Clock
    """The real one: how long things take, and when alerts are sent."""
    state_dir: Path
    evidence: EvidenceOptions
    no_evidence: str = ""
    """Why none is to be taken; empty where it is."""


def titles(channels: Mapping[str, object]) -> tuple[str, ...]:
    """Return what the steps are called, for a table that is written while they happen."""
    both = (Transition.OPENED, Transition.RESOLVED)
    told = (title(name, transition) for name in channels for transition in both)
    return (CHILD, BASELINE, GROWTH, VERDICT, EVIDENCE, RECOVERY, END, *told)


def rehearse(plan: Plan) -> Iterator[Step]:
    """Do the drill and yield each step as it is done; closing the iterator ends the child.

    What fails is a row. The drill then goes on with what does not stand on it, and an alert that was told
    is told to be over in any case, so that nobody is left with a page.
    """
    watch = Stopwatch(plan.clock, CHILD)
    try:
        with LeakingChild() as child:
            process = _found(child.pid)
            yield watch.done("started", f"pid {child.pid}, {process.runtime}, leaks as it is told")
            with FastWatch(process, plan.clock.now()) as eyes:
                yield from _Rehearsal(plan, child, process, eyes, watch).run()
            watch.begin(END)
            code = child.end()
        yield watch.failed(f"exit code {code}") if code else watch.done("ended", "exit code 0")
    except DrillError as error:
        yield watch.failed(str(error))


class _Rehearsal:
    """One drill, with its child under watch."""

    def __init__(
        self, plan: Plan, child: LeakingChild, process: Process, eyes: FastWatch, watch: Stopwatch
    ) -> None:
        self._plan = plan
        self._child = child
        self._process = process
        self._eyes = eyes
        self._watch = watch

    def run(self) -> Iterator[Step]:
        """Yield every step but the child's. Raises DrillError when the rest cannot be done."""
        yield from self._rest_quietly()
        yield from self._leak_visibly()
        change = yield from self._leak_until_critical()
        evidence = yield from self._capture()
        alert = change.alert(self._plan.host, {})
        yield from self._tell(replace(alert, transition=Transition.OPENED, evidence=evidence))

    def _rest_quietly(self) -> Iterator[Step]:
        self._watch.begin(BASELINE)
        for _ in range(self._polls(QUIET_S)):
            if self._eyes.look():
                raise DrillError("alarmed though nothing grew")
        polls, heap = self._polls(QUIET_S), format_bytes(self._eyes.heap_bytes)
        yield self._watch.done("quiet", f"{format_duration(QUIET_S)} in {polls} polls, heap {heap}")

    def _leak_visibly(self) -> Iterator[Step]:
        self._watch.begin(GROWTH)
        before = self._eyes.heap_bytes
        leaked = sum(self._leak()[0] for _ in range(self._polls(FIRST_LEAK_S)))
        grown = self._eyes.heap_bytes - before
        found = f"{format_bytes(grown)} of {format_bytes(leaked)} leaked in {format_duration(FIRST_LEAK_S)}"
        if grown < SEEN_SHARE * leaked:
            yield self._watch.failed(f"the sampler saw only {found}")
        else:
            yield self._watch.done("seen", found)

    def _leak_until_critical(self) -> Generator[Step, None, Change]:
        self._watch.begin(VERDICT)
        change: Change | None = None
        leaked_s = FIRST_LEAK_S
        while self._eyes.state < State.CRITICAL and leaked_s < MAX_LEAK_S:
            _, changes = self._leak()
            leaked_s += self._eyes.poll_s
            change = changes[-1] if changes else change
        if change is None:
            raise DrillError(f"no alarm after {format_duration(leaked_s)} of leak")
        verdict = change.lead.verdict
        rate = format_rate(verdict.rate.value) if verdict.rate else "growth"
        reason = f"{rate} after {format_duration(leaked_s)} of leak"
        critical = change.incident.state is State.CRITICAL
        yield self._watch.done(str(change.incident.state), reason, Grade.OK if critical else Grade.FAILED)
        return change

    def _capture(self) -> Generator[Step, None, Evidence | None]:
        self._watch.begin(EVIDENCE)
        plan = self._plan
        if plan.no_evidence:
            yield Step(EVIDENCE, Grade.NOTE, "off", None, plan.no_evidence)
            return None
        evidence = keeping.take(self._process, plan.state_dir, plan.evidence, plan.clock.now())
        if evidence.missing:
            yield self._watch.failed("; ".join(evidence.missing))
        else:
            taken = sorted({Path(file).stem for file in evidence.files} - {"evidence"})
            yield self._watch.done("taken", f"{', '.join(taken)} in {evidence.directory}")
        return evidence

    def _tell(self, alert: Alert) -> Iterator[Step]:
        """Tell that it leaks, let it recover, and tell that too."""
        end = replace(alert, transition=Transition.RESOLVED, sequence=alert.sequence + 1)
        told: dict[str, Channel] = {}
        try:
            for name, step in self._send(alert, self._plan.channels):
                if step.grade is Grade.OK:
                    told[name] = self._plan.channels[name]
                yield step
            recovered = yield from self._recover()
        except (GeneratorExit, KeyboardInterrupt):
            list(self._send(end, self._plan.channels, WITHDRAW_WAIT_S))
            raise
        if recovered is not None:
            end = replace(recovered.alert(self._plan.host, {}), sequence=end.sequence)
        yield from (step for _, step in self._send(end, told))

    def _recover(self) -> Generator[Step, None, Change | None]:
        """Look on until the incident is over; None where that fails, which is no reason not to tell it."""
        self._watch.begin(RECOVERY)
        try:
            for _ in range(self._polls(MAX_CALM_S)):
                for change in self._eyes.look():
                    if change.transition.ends:
                        yield self._watch.done(str(change.transition), change.note)
                        return change
        except DrillError as error:
            yield self._watch.failed(str(error))
            return None
        yield self._watch.failed(f"not resolved after {format_duration(MAX_CALM_S)} without growth")
        return None

    def _send(
        self, alert: Alert, channels: Mapping[str, Channel], wait_s: float | None = None
    ) -> Iterator[tuple[str, Step]]:
        clock = self._plan.clock
        return tell(stamped(alert, clock.now().wall_s), channels.values(), clock, wait_s)

    def _leak(self) -> tuple[int, tuple[Change, ...]]:
        """Leak for one poll; return how much that was and what people would be told of it."""
        size_bytes = round(LEAK_BYTES_PER_HOUR * self._eyes.poll_s / 3600.0)
        self._child.grow(size_bytes)
        return size_bytes, self._eyes.look()

    def _polls(self, seconds: float) -> int:
        return round(seconds / self._eyes.poll_s)


def _found(pid: int) -> Process:
    """Return a process as discovery sees it. Raises DrillError."""
    process = next((process for process in Discovery().processes() if process.key.pid == pid), None)
    if process is None:
        raise DrillError(f"pid {pid} runs, but cannot be seen in /proc")
    return process
