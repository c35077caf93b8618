"""Ready-made alerts that tests share: `alert(service="api", ...)` changes what a test is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent.model import Alert, Estimate, Event, Evidence, Reason, State, Subject, Transition

WALL_S = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""
HOUR_S = 3600.0

LEAK = Alert(
    incident_id="7f3a9c21",
    sequence=1,
    transition=Transition.OPENED,
    event=Event.LEAK,
    subject=Subject.HEAP,
    severity=State.CRITICAL,
    service="api",
    host="web-3",
    at_wall_s=WALL_S,
    since_wall_s=WALL_S - 2.5 * HOUR_S,
    age_s=30 * HOUR_S,
    pid=4211,
    process="gunicorn",
    command="gunicorn: worker [shop.wsgi]",
    rate=Estimate(24e6, 21e6, 27e6),
    growth=61e6,
    current=448e6,
    limit=1e9,
    limit_source="memory.max of /system.slice/api.service",
    exhaustion_hours=Estimate(23.0, 20.4, 26.3),
    reasons=(
        Reason("too-young", passed=False, text="30h old, no reason to wait"),
        Reason("floors", passed=True, text="floors rose 9 of 10 blocks"),
        Reason("peak", passed=True, text="passes the earlier peak of 388MB"),
    ),
    labels={"team": "shop"},
    pids=(4211, 4212),
)
"""A heap leak of a worker, just opened."""

EVIDENCE = Evidence(
    directory="/var/lib/leakwatch/captures/7f3a9c21",
    gist=("top stack: handlers.remember:88 in 11 of 12 threads", "grew: [heap] +58MB"),
    missing=("native frames: not asked for",),
    files=("py-spy.json", "smaps.txt"),
)


def alert(**changes: Any) -> Alert:
    """Return the sample leak with some fields changed."""
    return replace(LEAK, **changes)


def later(sequence: int, transition: Transition, **changes: Any) -> Alert:
    """Return a later transition of the same incident, an hour after the one before it."""
    at_wall_s = WALL_S + (sequence - 1) * HOUR_S
    return replace(LEAK, sequence=sequence, transition=transition, at_wall_s=at_wall_s, **changes)
