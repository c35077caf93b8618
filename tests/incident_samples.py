"""Made-up processes, verdicts and incidents that the tests of incidents and their delivery share."""

from __future__ import annotations

from agent.incident_rules import observe
from agent.incidents import Change, Incident, IncidentOptions, Observation
from agent.model import Estimate, Event, Instant, Process, ProcessKey, Reason, State, Subject, Verdict

WALL_S = 1_800_000_000.0


def at(t_s: float) -> Instant:
    return Instant(t_s, WALL_S + t_s)


def process(pid: int = 4211) -> Process:
    key = ProcessKey(pid, 77, "0a1b2c3d")
    return Process(key, "api", "python api.py", "/usr/bin/python3", "www", 1, "/api.service", 100.0, "python")


def seen(
    state: State,
    t_s: float,
    *,
    pid: int = 4211,
    subject: Subject = Subject.HEAP,
    event: Event = Event.LEAK,
    onset_t_s: float | None = None,
    rate: float = 24e6,
) -> Observation:
    verdict = Verdict(
        t_s=t_s,
        subject=subject,
        state=state,
        event=event,
        rate=Estimate(rate, rate * 0.9, rate * 1.1),
        onset_t_s=onset_t_s,
        growth=61e6,
        current=448e6,
        limit=1e9,
        exhaustion_hours=Estimate(24.0, 21.0, float("inf")),
        reasons=(Reason("floors", passed=True, text="floors rose 9 of 10 blocks"),),
    )
    return Observation("api", process(pid), verdict, "memory.max of /api.service")


def opened(pid: int = 4211, t_s: float = 10_000.0, state: State = State.WARNING) -> tuple[Incident, Change]:
    """Return a fresh incident and its opening."""
    incident, (change,) = observe(None, seen(state, t_s, pid=pid), at(t_s), IncidentOptions())
    assert incident is not None
    return incident, change
