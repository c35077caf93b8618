from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from incident_samples import WALL_S, at, process, seen

from agent.incident_ends import MAX_GONE_MEMBERS
from agent.incident_rules import depart, depart_missing, observe, release, remind
from agent.incidents import Change, Incident, IncidentOptions, Observation
from agent.model import Alert, Event, Instant, State, Subject, Transition

OPTIONS = IncidentOptions(remind_every_s=43200.0, resolve_after_s=1800.0)
HOUR_S = 3600.0


class Story:
    """One incident after another, as the daemon would keep them."""

    def __init__(self, options: IncidentOptions = OPTIONS) -> None:
        self.options = options
        self.open: Incident | None = None
        self.changes: list[Change] = []

    def see(self, observation: Observation, t_s: float | None = None) -> None:
        now = at(observation.verdict.t_s if t_s is None else t_s)
        self._keep(*observe(self.open, observation, now, self.options))

    def leave(self, pid: int, t_s: float) -> None:
        if self.open:
            self._keep(*depart(self.open, process(pid).key, at(t_s)))

    def look_at_the_clock(self, now: Instant) -> None:
        if self.open:
            self._keep(*remind(self.open, now, self.options))

    def _keep(self, incident: Incident | None, changes: tuple[Change, ...]) -> None:
        self.changes += changes
        self.open = None if incident is None or incident.ended else incident

    @property
    def told(self) -> list[str]:
        return [str(change.transition) for change in self.changes]


@pytest.mark.parametrize("state", [State.SOUND, State.SUSPECT])
def test_below_a_warning_nothing_opens(state: State) -> None:
    assert observe(None, seen(state, 5000), at(5000), OPTIONS) == (None, ())


@pytest.mark.parametrize("state", [State.WARNING, State.CRITICAL])
def test_an_alarm_opens_with_its_severity(state: State) -> None:
    incident, (change,) = observe(None, seen(state, 5000, onset_t_s=4000), at(5000), OPTIONS)
    assert incident is not None
    assert (incident.state, incident.sequence, incident.onset_wall_s) == (state, 1, WALL_S + 4000)
    assert (change.transition, change.incident) == (Transition.OPENED, incident)


def test_the_same_opening_has_the_same_id_and_another_one_another() -> None:
    ids = [
        observe(None, seen(State.WARNING, t_s, pid=pid, subject=subject), at(t_s), OPTIONS)[0]
        for t_s, pid, subject in [
            (5000, 1, Subject.HEAP),
            (5000, 1, Subject.HEAP),
            (5010, 1, Subject.HEAP),
            (5000, 2, Subject.HEAP),
            (5000, 1, Subject.FDS),
        ]
    ]
    texts = [incident.incident_id for incident in ids if incident]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 4
    assert all(len(text) == 8 for text in texts)


def test_critical_after_warning_is_told_once_as_worsened() -> None:
    story = Story()
    for state in (State.WARNING, State.CRITICAL, State.WARNING, State.CRITICAL):
        story.see(seen(state, 5000 + 600 * len(story.changes)))
    assert story.told == ["opened", "worsened"]
    assert story.changes[1].note == "warning to critical after 10m"
    assert story.open is not None
    assert story.open.state is State.CRITICAL


def test_a_threshold_incident_that_proves_to_be_a_leak_says_so_with_the_next_transition() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, event=Event.THRESHOLD))
    story.see(seen(State.WARNING, 5600))
    assert story.told == ["opened"]
    assert story.open is not None
    assert story.open.event is Event.LEAK
    story.see(seen(State.CRITICAL, 6000, event=Event.THRESHOLD))
    assert story.changes[-1].alert("web-3", {}).event is Event.LEAK


def test_a_further_leaking_worker_joins_without_a_transition() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, pid=1))
    story.see(seen(State.WARNING, 5010, pid=2, rate=50e6))
    story.see(seen(State.SUSPECT, 5020, pid=3))
    assert story.told == ["opened"]
    story.see(seen(State.CRITICAL, 5030, pid=1))
    assert story.changes[-1].alert("web-3", {}).pids == (1, 2)


def test_a_worse_worker_worsens_the_incident() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, pid=1))
    story.see(seen(State.CRITICAL, 5600, pid=2))
    assert story.told == ["opened", "worsened"]
    assert story.changes[-1].lead.key.pid == 2


def test_a_floor_flat_for_the_least_time_resolves_a_short_growth() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, onset_t_s=4400))
    for t_s in range(5010, 5010 + 1800, 10):
        story.see(seen(State.SOUND, t_s))
    assert story.told == ["opened"]
    story.see(seen(State.SOUND, 5010 + 1800))
    assert story.told == ["opened", "resolved"]
    assert story.changes[-1].note == "floor flat for 30m"


def test_a_long_growth_needs_as_long_a_calm() -> None:
    story = Story()
    story.see(seen(State.WARNING, 10_000, onset_t_s=10_000 - 5700))
    for t_s in range(10_060, 10_060 + 5700, 60):
        story.see(seen(State.SOUND, t_s))
    assert story.told == ["opened"]
    story.see(seen(State.SOUND, 10_060 + 5700))
    assert story.changes[-1].note == "floor flat for 1h35m"


def test_what_is_still_suspected_of_growing_is_not_flat() -> None:
    story = Story()
    story.see(seen(State.WARNING, 10_000, onset_t_s=9000))
    for t_s in range(10_060, 30_000, 60):
        story.see(seen(State.SUSPECT, t_s))
    assert story.told == ["opened"]
    for t_s in range(30_000, 31_860, 60):
        story.see(seen(State.SOUND, t_s))
    assert story.told == ["opened", "resolved"]
    assert story.changes[-1].note == "floor flat for 30m"


def test_near_a_limit_is_below_it() -> None:
    story = Story()
    story.see(seen(State.WARNING, 10_000, subject=Subject.HEAP_PERCENT))
    for t_s in range(10_060, 12_000, 60):
        story.see(seen(State.SUSPECT, t_s, subject=Subject.HEAP_PERCENT))
    assert story.told == ["opened", "resolved"]


def test_the_calm_needed_has_a_ceiling_of_six_hours() -> None:
    story = Story()
    story.see(seen(State.WARNING, 200_000, onset_t_s=200_000 - 40 * HOUR_S))
    for t_s in range(200_060, 200_060 + 6 * 3600 + 60, 60):
        story.see(seen(State.SOUND, t_s))
    assert story.told == ["opened", "resolved"]
    assert story.changes[-1].note == "floor flat for 6h"


def test_back_below_the_heap_limit_needs_the_least_time_only() -> None:
    story = Story()
    story.see(seen(State.WARNING, 50_000, subject=Subject.HEAP_PERCENT, onset_t_s=10_000))
    for t_s in range(50_060, 50_060 + 1860, 60):
        story.see(seen(State.SOUND, t_s, subject=Subject.HEAP_PERCENT))
    assert story.changes[-1].note == "below the threshold for 30m"


def test_an_alarm_in_between_starts_the_calm_anew() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000))
    for t_s in range(5060, 5000 + 4 * 1500, 60):
        alarm = (t_s - 5000) % 1500 == 0
        story.see(seen(State.WARNING if alarm else State.SOUND, t_s))
    assert story.told == ["opened"]


def test_a_service_is_resolved_when_every_living_worker_is_calm() -> None:
    story = Story()
    for pid in (1, 2, 3):
        story.see(seen(State.WARNING, 5000, pid=pid))
    story.leave(3, 5100)
    for t_s in range(5060, 8000, 60):
        story.see(seen(State.SOUND, t_s, pid=1))
        story.see(seen(State.WARNING if t_s < 6000 else State.SOUND, t_s, pid=2))
    assert story.told == ["opened", "resolved"]
    assert story.changes[-1].note == "floor flat for 30m; 1 process ended before"
    assert story.changes[-1].alert("web-3", {}).pids in ((1, 2), (2, 1))


def test_time_that_nobody_looked_hardly_counts_as_calm() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000))
    story.see(seen(State.SOUND, 5060))
    story.see(seen(State.SOUND, 5060 + 3 * HOUR_S))
    assert story.told == ["opened"]
    story.see(seen(State.SOUND, 5060 + 3 * HOUR_S + 900))
    assert story.told == ["opened", "resolved"]


@pytest.mark.parametrize(("sound", "told"), [(True, "resolved"), (False, "gone")])
def test_what_a_lineage_holds_outlives_its_processes_until_it_is_released(*, sound: bool, told: str) -> None:
    incident, _ = observe(None, seen(State.WARNING, 5000, pid=1), at(5000), OPTIONS)
    assert incident is not None
    held, changes = depart(incident, process(1).key, at(6000), held=True)
    assert (held.ended, held.living, changes) == (False, (), ())
    assert remind(held, at(6000 + 10 * 43200), OPTIONS) == (held, ())

    after, (change,) = release(held, at(7000), "because", sound=sound)
    assert (after.ended, str(change.transition), change.note) == (True, told, "because")
    assert release(after, at(8000), "because", sound=sound) == (after, ())


def test_what_is_released_while_a_process_alarms_goes_on_by_itself() -> None:
    incident, _ = observe(None, seen(State.WARNING, 5000, pid=1), at(5000), OPTIONS)
    assert incident is not None
    assert release(incident, at(6000), "because", sound=True) == (incident, ())


def test_an_ended_process_is_gone_and_never_resolved() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000))
    story.leave(4211, 5000 + 3 * HOUR_S)
    story.leave(4211, 5000 + 4 * HOUR_S)
    assert story.told == ["opened", "gone"]
    words = "process 4211 ended, 3h after the incident opened, and was not seen healthy"
    assert story.changes[-1].note == words


def test_a_process_that_ends_before_its_calm_was_long_enough_is_gone() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000))
    for t_s in range(5060, 5061 + 600, 60):
        story.see(seen(State.SOUND, t_s))
    story.leave(4211, 5700)
    assert story.told == ["opened", "gone"]
    assert story.changes[-1].note.endswith("and was flat only for 10m")


def test_a_leak_of_a_later_process_is_a_new_incident() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, pid=1))
    story.leave(1, 6000)
    story.see(seen(State.WARNING, 9000, pid=2))
    assert story.told == ["opened", "gone", "opened"]
    assert len({change.incident.incident_id for change in story.changes}) == 2


def test_the_last_of_several_to_end_closes_the_incident() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, pid=1))
    story.see(seen(State.WARNING, 5000, pid=2))
    story.leave(1, 6000)
    assert story.told == ["opened"]
    story.leave(2, 6100)
    assert story.told == ["opened", "gone"]


def test_workers_that_come_and_go_do_not_fill_the_incident() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, pid=1))
    for pid in range(2, 200):
        story.see(seen(State.WARNING, 5000 + pid, pid=pid))
        story.leave(pid, 5000 + pid)
    assert story.open is not None
    assert len(story.open.members) == 1 + MAX_GONE_MEMBERS


def test_after_a_restart_members_that_are_not_there_have_departed() -> None:
    story = Story()
    story.see(seen(State.WARNING, 5000, pid=1))
    story.see(seen(State.WARNING, 5000, pid=2))
    assert story.open is not None
    kept, changes = depart_missing(story.open, {process(2).key}, at(5100))
    assert (changes, kept.ended) == ((), False)
    after, (change,) = depart_missing(story.open, set(), Instant(30.0, WALL_S + 9000), "ended with the host")
    assert (after.ended, change.transition) == (True, Transition.GONE)
    assert "ended with the host, 67m after the incident opened" in change.note


def test_reminders_come_after_12_24_48_and_48_hours() -> None:
    story = Story()
    story.see(seen(State.WARNING, 0))
    told_hours = []
    for hour in range(200):
        before = len(story.changes)
        story.look_at_the_clock(at(hour * HOUR_S))
        told_hours += [hour] * (len(story.changes) - before)
    assert told_hours == [12, 36, 84, 132, 180]
    assert story.changes[1].note == "still going on after 12h; next reminder in 24h"


def test_no_reminder_while_the_incident_is_about_to_be_resolved() -> None:
    story = Story()
    story.see(seen(State.WARNING, 0))
    story.see(seen(State.SOUND, 13 * HOUR_S))
    story.look_at_the_clock(at(13 * HOUR_S))
    assert story.told == ["opened"]
    story.see(seen(State.WARNING, 13.1 * HOUR_S))
    story.look_at_the_clock(at(13.1 * HOUR_S))
    assert story.told == ["opened", "reminded"]


def test_a_stepping_wall_clock_changes_no_reminder_within_a_boot() -> None:
    story = Story()
    story.see(seen(State.WARNING, 0))
    for hours, step_s in [(1, -9e6), (2, 9e6), (11, 9e7)]:
        story.look_at_the_clock(Instant(hours * HOUR_S, WALL_S + step_s))
    assert story.told == ["opened"]
    story.look_at_the_clock(Instant(12 * HOUR_S, WALL_S - 9e6))
    assert story.told == ["opened", "reminded"]


def test_after_a_reboot_the_wall_clock_decides_and_a_step_back_only_delays() -> None:
    story = Story()
    story.see(seen(State.WARNING, 100_000))
    story.look_at_the_clock(Instant(60.0, WALL_S + 100_000 + 13 * HOUR_S))
    assert story.told == ["opened", "reminded"]
    rebooted = Instant(30.0, WALL_S - 9e6)
    story.look_at_the_clock(rebooted)
    assert story.told == ["opened", "reminded"]
    story.look_at_the_clock(Instant(30.0 + 24 * HOUR_S, WALL_S - 9e6 + 24 * HOUR_S))
    assert story.told == ["opened", "reminded", "reminded"]


def test_an_incident_of_another_subject_is_refused() -> None:
    incident, _ = observe(None, seen(State.WARNING, 5000), at(5000), OPTIONS)
    with pytest.raises(ValueError, match="is not about api"):
        observe(incident, seen(State.WARNING, 5000, subject=Subject.FDS), at(5000), OPTIONS)


def test_an_alert_tells_what_the_lead_verdict_says() -> None:
    _, (change,) = observe(None, seen(State.CRITICAL, 5000, onset_t_s=4000), at(5000), OPTIONS)
    alert = change.alert("web-3", {"team": "core"})
    assert (alert.sequence, alert.severity, alert.host, alert.labels) == (
        1,
        State.CRITICAL,
        "web-3",
        {"team": "core"},
    )
    assert (alert.pid, alert.pids, alert.age_s, alert.duration_s) == (4211, (4211,), 4900.0, 1000.0)
    assert alert.limit_source == "memory.max of /api.service"
    assert Alert.from_json(json.loads(json.dumps(alert.to_json()))) == alert


PIDS = st.integers(1, 3)
STEP = st.one_of(
    st.tuples(st.just("see"), PIDS, st.sampled_from(State), st.sampled_from(Event)),
    st.tuples(st.just("leave"), PIDS, st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([10, 600, 3600, 86400]), st.none(), st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_any_story_keeps_the_order_of_an_incident(steps: list[tuple[str, int, State, Event]]) -> None:
    story, t_s = Story(), 1000.0
    lives: dict[int, int] = {}
    for word, number, state, event in steps:
        t_s += number if word == "wait" else 10
        pid = number + 10 * lives.get(number, 0)
        if word == "see":
            story.see(seen(state, t_s, pid=pid, event=event, onset_t_s=t_s - 300))
        elif word == "leave":
            story.leave(pid, t_s)
            lives[number] = lives.get(number, 0) + 1
        else:
            story.look_at_the_clock(at(t_s))
        if story.open:
            assert Incident.from_json(json.loads(json.dumps(story.open.to_json()))) == story.open
    check_order(story)


def check_order(story: Story) -> None:
    by_incident: dict[str, list[Change]] = {}
    for change in story.changes:
        by_incident.setdefault(change.incident.incident_id, []).append(change)
    for position, changes in enumerate(by_incident.values(), 1):
        words = [change.transition for change in changes]
        assert words[0] is Transition.OPENED
        assert words.count(Transition.OPENED) == 1
        assert words.count(Transition.WORSENED) <= 1
        assert [change.incident.sequence for change in changes] == list(range(1, len(changes) + 1))
        states = [change.incident.state for change in changes]
        assert states == sorted(states)
        ends = [word for word in words if word.ends]
        still_open = position == len(by_incident) and story.open is not None
        assert len(ends) == (0 if still_open else 1)
        assert not ends or words[-1] == ends[0]


@given(st.lists(st.sampled_from([State.SOUND, State.SUSPECT, State.WARNING]), min_size=1, max_size=100))
def test_flapping_within_the_least_time_is_one_transition(states: list[State]) -> None:
    story = Story(IncidentOptions(remind_every_s=1e9, resolve_after_s=1e5))
    for step, state in enumerate(states):
        story.see(seen(state, 1000.0 + 60 * step, onset_t_s=900.0))
    assert len(story.changes) == (1 if State.WARNING in states else 0)
