"""Alerts with any text and any figures, for property tests of what channels say."""

from __future__ import annotations

from alert_samples import LEAK, WALL_S
from hypothesis import strategies as st

from agent.model import Alert, Estimate, Event, Evidence, Kind, Reason, State, Subject, Transition

ANY_TEXT = st.text(st.characters(), max_size=80) | st.text(st.sampled_from('<>&"\\\n\x00é😀'), max_size=3000)
"""Surrogates too: names of processes come from bytes."""
ANY_FIGURE = st.floats() | st.floats(0, 1e12)
_ESTIMATE = st.none() | st.builds(Estimate, ANY_FIGURE, ANY_FIGURE, ANY_FIGURE)
_TEXTS = st.lists(ANY_TEXT, max_size=30).map(tuple)
_EVIDENCE = st.none() | st.builds(Evidence, directory=ANY_TEXT, gist=_TEXTS, missing=_TEXTS)
_REASONS = st.lists(st.builds(Reason, ANY_TEXT, st.booleans(), ANY_TEXT), max_size=30).map(tuple)

ALERTS: st.SearchStrategy[Alert] = st.builds(
    Alert,
    incident_id=st.just(LEAK.incident_id),
    sequence=st.integers(1, 1000),
    transition=st.sampled_from(Transition),
    event=st.sampled_from(Event),
    subject=st.sampled_from(Subject),
    severity=st.sampled_from((State.WARNING, State.CRITICAL)),
    service=ANY_TEXT,
    host=ANY_TEXT,
    at_wall_s=st.just(WALL_S),
    since_wall_s=ANY_FIGURE,
    age_s=ANY_FIGURE,
    pid=st.integers(1, 2**22),
    process=ANY_TEXT,
    command=ANY_TEXT,
    rate=_ESTIMATE,
    growth=ANY_FIGURE,
    current=ANY_FIGURE,
    limit=st.none() | ANY_FIGURE,
    limit_source=ANY_TEXT,
    exhaustion_hours=_ESTIMATE,
    reasons=_REASONS,
    labels=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=40),
    pids=st.lists(st.integers(1, 2**22), max_size=20).map(tuple),
    evidence=_EVIDENCE,
    young=st.booleans(),
    drill=st.booleans(),
    note=ANY_TEXT,
    probability=st.none() | st.floats(0.0, 1.0),
    kind=st.sampled_from(["", *map(str, Kind)]),
    headline=st.just("") | ANY_TEXT,
    items=_TEXTS,
    course=st.lists(st.tuples(st.floats(0, 4e9), st.floats(0, 1e12)), max_size=20).map(tuple),
    runbook_url=st.sampled_from(["", "https://wiki.example/guide"]),
    page_url=st.sampled_from(["", "https://web-3.example/leakwatch?a=b&c=<d>"]),
)
