"""A silence holds for as long as was asked, whatever the clocks do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Instant
from agent.silences import Silence, silence_of

BEGUN = Instant(10_000.0, 1_800_000_000.0)
ASKED_S = 4 * 3600.0
SILENCE = Silence("api", BEGUN, BEGUN.wall_s + ASKED_S, "ana")


def later(seconds: float, *, step_s: float = 0.0) -> Instant:
    return Instant(BEGUN.t_s + seconds, BEGUN.wall_s + seconds + step_s)


@pytest.mark.parametrize(
    ("now", "left_s"),
    [
        (BEGUN, ASKED_S),
        (later(3600), ASKED_S - 3600),
        (later(ASKED_S), 0.0),
        (later(3600, step_s=-86400), ASKED_S - 3600),
        (later(ASKED_S, step_s=-86400), 0.0),
        (later(3600, step_s=86400), 0.0),
        (later(0, step_s=-2), ASKED_S),
        (Instant(50.0, BEGUN.wall_s + 3600), ASKED_S - 3600),
        (Instant(50.0, BEGUN.wall_s - 60), ASKED_S),
        (Instant(50.0, BEGUN.wall_s - 86400), 0.0),
    ],
    ids=[
        "at once", "an hour later", "at its end", "set back", "set back, asked time over",
        "set ahead", "corrected by two seconds", "after a reboot", "after a reboot, corrected",
        "after a reboot, set back",
    ],
)  # fmt: skip
def test_what_is_left(now: Instant, left_s: float) -> None:
    assert SILENCE.left_s(now) == pytest.approx(left_s)


@given(st.floats(0, 1e6), st.floats(-1e8, 1e8))
def test_within_one_boot_it_never_holds_longer_than_asked(passed_s: float, step_s: float) -> None:
    left_s = SILENCE.left_s(later(passed_s, step_s=step_s))

    assert 0 <= left_s <= ASKED_S
    assert left_s <= max(0.0, ASKED_S - passed_s) + 1e-6


def test_patterns_cover_services_and_the_longest_silence_counts() -> None:
    short = Silence("api-*", BEGUN, BEGUN.wall_s + 60, "ana")
    both = [short, Silence("*", BEGUN, BEGUN.wall_s + 120, "ben")]

    assert silence_of("api-1", [short], BEGUN) == short
    assert silence_of("api", [short], BEGUN) is None
    found = silence_of("api-1", both, BEGUN)
    assert found is not None
    assert found.by == "ben"
    assert silence_of("api-1", both, later(121)) is None
