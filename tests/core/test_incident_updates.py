"""When people hear of an open incident again: other figures, acknowledgements, silences."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from incident_samples import at, process, seen

from agent.incident_parts import Acknowledgement
from agent.incident_rules import acknowledge, depart, observe, remind, speak_up, withhold
from agent.incidents import Change, Incident, IncidentOptions, Observation
from agent.model import Estimate, State, Subject, Transition

OPTIONS = IncidentOptions()
ANA = Acknowledgement("ana", "looking", 1_800_000_000.0)
HOUR_S = 3600.0


def figures(t_s: float, rate: float, *, hours: float | None = None, width: float = 0.1) -> Observation:
    """Return a warning with this rate and time to exhaustion, both with an interval of `width`."""
    one = seen(State.WARNING, t_s)
    around = lambda value: Estimate(value, value * (1 - width), value * (1 + width))  # noqa: E731
    full = None if hours is None else around(hours)
    return one._replace(verdict=replace(one.verdict, rate=around(rate), exhaustion_hours=full))


def story(*looks: Observation, quiet: bool = False, acknowledged: bool = False) -> list[Change]:
    """Return the changes of one incident that these looks are about."""
    incident: Incident | None = None
    told: list[Change] = []
    for look in looks:
        incident, changes = observe(incident, look, at(look.verdict.t_s), OPTIONS, quiet=quiet)
        told += changes
        if acknowledged and incident and not incident.acknowledged:
            incident, changes = acknowledge(incident, ANA, at(look.verdict.t_s))
            told += changes
    return told


def words(changes: list[Change]) -> list[str]:
    return [str(change.transition) for change in changes]


def test_twice_the_rate_is_told_once_it_has_stood_for_ten_minutes() -> None:
    told = story(figures(0, 24e6), figures(4000, 48e6), figures(4300, 48e6), figures(4600, 48e6))

    assert words(told) == ["opened", "updated"]
    assert told[1].at == at(4600)
    assert told[1].note == "rate 48MB/h, was 24MB/h when last told"


@pytest.mark.parametrize(
    ("rate", "width", "told"),
    [
        (35e6, 0.1, ["opened"]),
        (37e6, 0.1, ["opened", "updated"]),
        (17e6, 0.1, ["opened"]),
        (15e6, 0.1, ["opened", "updated"]),
        (48e6, 0.6, ["opened"]),
    ],
    ids=["less than half more", "half more", "down a little", "down by a third", "within the interval"],
)
def test_only_half_as_much_again_and_outside_the_interval_is_a_change(
    rate: float, width: float, told: list[str]
) -> None:
    looks = [figures(0, 24e6), *(figures(t_s, rate, width=width) for t_s in (4000, 4700))]

    assert words(story(*looks)) == told


def test_figures_that_come_back_between_two_looks_are_not_told() -> None:
    looks = [figures(0, 24e6), figures(4000, 48e6), figures(4500, 24e6), figures(4700, 48e6)]

    assert words(story(*looks)) == ["opened"]


def test_figures_that_swing_to_both_sides_are_not_told() -> None:
    looks = [figures(4000 + 300 * i, 72e6 if i % 2 else 8e6) for i in range(40)]

    assert words(story(figures(0, 24e6), *looks)) == ["opened"]


def test_updates_come_an_hour_apart_however_fast_the_rate_climbs() -> None:
    looks = [figures(60.0 * minute, 24e6 * 1.02**minute) for minute in range(600)]

    told = story(*looks)

    times = [change.at.t_s for change in told]
    assert len(told) > 5
    assert all(later - earlier >= HOUR_S for earlier, later in pairwise(times))


def test_a_forecast_that_comes_true_is_no_update() -> None:
    looks = [figures(HOUR_S * hour, 24e6, hours=24.0 - hour) for hour in range(23)]

    assert words(story(*looks)) == ["opened"]


def test_an_end_that_comes_much_sooner_is_told() -> None:
    soon = [figures(6 * HOUR_S + 600 * i, 24e6, hours=6.0) for i in range(2)]

    told = story(figures(0, 24e6, hours=24.0), *soon)

    assert words(told) == ["opened", "updated"]
    assert told[1].note == "full in 6h, not in 17h50m as last told"


def test_an_incident_of_an_older_version_learns_its_figures_and_tells_nothing() -> None:
    incident, _ = observe(None, figures(0, 24e6), at(0), OPTIONS)
    assert incident is not None
    unknown = replace(incident, told_rate=None, told_hours=None)

    after, changes = observe(unknown, figures(4000, 90e6), at(4000), OPTIONS)

    assert after is not None
    assert (after.told_rate, changes) == (90e6, ())


def test_nothing_is_updated_while_nobody_would_hear_it() -> None:
    looks = [figures(0, 24e6), figures(4000, 48e6), figures(4700, 48e6)]

    assert words(story(*looks, quiet=True)) == ["opened"]
    assert words(story(*looks, acknowledged=True)) == ["opened", "acknowledged"]


def opened(state: State = State.WARNING) -> Incident:
    incident, _ = observe(None, seen(state, 0), at(0), OPTIONS)
    assert incident is not None
    return incident


def test_an_acknowledgement_is_told_once_and_stops_reminders() -> None:
    incident, (change,) = acknowledge(opened(), ANA, at(60))

    assert (change.transition, change.note) == (Transition.ACKNOWLEDGED, "by ana: looking")
    assert incident.acknowledged == ANA
    assert acknowledge(incident, ANA, at(120)) == (incident, ())
    assert remind(incident, at(40 * HOUR_S), OPTIONS) == (incident, ())


def test_worsening_ends_an_acknowledgement_and_reminds_again() -> None:
    incident, _ = acknowledge(opened(), ANA, at(60))
    worse, (change,) = observe(incident, seen(State.CRITICAL, 600), at(600), OPTIONS)

    assert worse is not None
    assert (change.transition, worse.acknowledged) == (Transition.WORSENED, None)
    assert words([*remind(worse, at(13 * HOUR_S), OPTIONS)[1]]) == ["reminded"]


def test_an_acknowledged_incident_still_ends() -> None:
    incident, _ = acknowledge(opened(), ANA, at(60))

    _, (change,) = depart(incident, process().key, at(600))

    assert change.transition is Transition.GONE


def test_after_a_silence_the_opening_is_told_with_what_grew_meanwhile() -> None:
    silent = withhold(opened(), Transition.OPENED, at(0))
    look = seen(State.CRITICAL, 3600)
    look = look._replace(verdict=replace(look.verdict, current=509e6))
    silent, (worsened,) = observe(silent, look, at(3600), OPTIONS)
    assert silent is not None
    silent = withhold(silent, worsened.transition, at(3600))

    spoken, (change,) = speak_up(silent, at(7200))

    assert change.transition is Transition.OPENED
    assert change.note.startswith("silenced until ")
    assert change.note.endswith(" UTC, grew 61MB meanwhile")
    assert (spoken.withheld, spoken.sequence, change.incident) == (None, 3, spoken)
    assert speak_up(spoken, at(7300)) == (spoken, ())


def test_what_worsened_in_a_silence_is_told_as_that() -> None:
    worse, _ = observe(opened(), seen(State.CRITICAL, 600), at(600), OPTIONS)
    assert worse is not None

    _, (change,) = speak_up(withhold(worse, Transition.WORSENED, at(600)), at(7200))

    assert change.transition is Transition.WORSENED


def test_what_was_told_before_a_silence_and_has_not_worsened_says_nothing_after_it() -> None:
    incident = withhold(opened(), Transition.ACKNOWLEDGED, at(600))

    assert speak_up(incident, at(7200)) == (incident, ())


def test_what_is_about_to_be_resolved_at_the_end_of_a_silence_waits() -> None:
    silent = withhold(opened(), Transition.OPENED, at(0))
    calm, _ = observe(silent, seen(State.SOUND, 3000), at(3000), OPTIONS)
    assert calm is not None
    assert speak_up(calm, at(3100)) == (calm, ())

    again, _ = observe(calm, seen(State.WARNING, 3200), at(3200), OPTIONS)
    assert again is not None
    assert words([*speak_up(again, at(3200))[1]]) == ["opened"]


LOOK = st.tuples(
    st.sampled_from(State),
    st.floats(1e6, 1e9),
    st.sampled_from([0.05, 0.5]),
    st.sampled_from([10.0, 60.0, 600.0, 1800.0]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LOOK, max_size=150))
def test_whatever_the_verdicts_do_transitions_an_hour_are_few(
    looks: list[tuple[State, float, float, float]],
) -> None:
    """Opened, worsened and resolved need at least the calm of half an hour between two rounds."""
    incident: Incident | None = None
    t_s, told = 10_000.0, []
    for state, rate, width, apart_s in looks:
        t_s += apart_s
        look = figures(t_s, rate, hours=24.0, width=width)
        look = look._replace(verdict=replace(look.verdict, state=state, onset_t_s=t_s - 300))
        incident, changes = observe(incident, look, at(t_s), OPTIONS)
        told += changes
        if incident is not None and not incident.ended:
            incident, changes = remind(incident, at(t_s), OPTIONS)
            told += changes
    times = [change.at.t_s for change in told]
    for first in times:
        assert sum(first <= t_s < first + HOUR_S for t_s in times) <= 7


def test_counts_are_told_as_counts() -> None:
    looks = [figures(0, 20.0), figures(4000, 50.0), figures(4700, 50.0)]
    looks = [one._replace(verdict=replace(one.verdict, subject=Subject.THREADS)) for one in looks]

    assert story(*looks)[1].note == "rate 50/h, was 20/h when last told"
