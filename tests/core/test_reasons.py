"""Every consideration on both sides of its border."""

from __future__ import annotations

import math
from typing import Any

import pytest
from rises import FROM_START, HOUR_S, measures

from agent.detect.reasons import Reasons, joined
from agent.model import Reason

GROWN = 20e6
"""By how much the leak of `rises` has grown, to 120 MB."""
BRIEF = {"lasted_s": 70 * 60.0, "quiet_s": 8 * HOUR_S}
GROWING = FROM_START | {"lasted_s": 10.4 * HOUR_S, "above_s": 10.4 * HOUR_S, "age_s": 11 * HOUR_S}
"""Two fifths of the time for which growth has to go on that may be its load's."""
FEW_BLOCKS = {"block_s": 600.0}
"""Two hours are twelve of them."""


def reasons(different: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    return {one.name: (one.passed, one.text) for one in Reasons(measures(**different), 0)}


@pytest.mark.parametrize(
    ("different", "expected"),
    [
        ({}, []),
        ({"lasted_s": 2 * HOUR_S - 1}, ["lasting"]),
        ({"quiet_s": 80 * HOUR_S, "lasted_s": 600.0}, []),
        ({"quiet_s": 80 * HOUR_S, "lasted_s": 599.0}, ["lasting"]),
        (FROM_START, []),
        (FROM_START | {"lasted_s": 6 * HOUR_S - 1}, ["lasting"]),
        (FROM_START | {"above_s": 6 * HOUR_S - 1}, ["lasting"]),
        (FROM_START | {"quiet_s": 1.3 * HOUR_S, "lasted_s": 5.9 * HOUR_S}, ["lasting"]),
        (FROM_START | {"age_s": 20 * HOUR_S, "lasted_s": 12 * HOUR_S, "above_s": 12 * HOUR_S}, []),
        (FROM_START | {"age_s": 20 * HOUR_S, "lasted_s": 11.9 * HOUR_S, "above_s": 12 * HOUR_S}, ["lasting"]),
        ({"significance": 4.0}, []),
        ({"significance": 3.9}, ["above-noise"]),
        ({"peak": 118e6}, []),
        ({"peak": 118.1e6}, ["new-high"]),
        (BRIEF | {"peak": 114e6}, []),
        (BRIEF | {"peak": 114.1e6}, ["new-high"]),
        ({"peak": -math.inf}, []),
        ({"end": math.nan}, ["new-high"]),
        ({"fall": 0.25 * GROWN}, []),
        ({"fall": 0.26 * GROWN}, ["keeps"]),
        ({"newest_step": 0.55, "latest_speed": 0.3, "finer_speed": 0.3}, []),
        ({"newest_step": 0.54}, ["goes-on"]),
        ({"latest_speed": 0.29}, ["goes-on"]),
        ({"finer_speed": 0.29}, ["goes-on"]),
        ({"least_step": 0.25, "jumps_share": 0.65}, []),
        ({"least_step": 0.24}, ["no-jump"]),
        ({"jumps_share": 0.66}, ["no-jump"]),
        (FEW_BLOCKS | {"jumps_share": 0.75}, []),
        (FEW_BLOCKS | {"jumps_share": 0.76}, ["no-jump"]),
        (FROM_START | {"slope_before": 1.3}, []),
        (FROM_START | {"slope_before": 1.31}, ["not-slowing"]),
        ({"slope_before": 5.0}, []),
        ({"end_speed": 0.5, "end_speed_error": 0.2 / 1.64}, []),
        ({"end_speed": 0.5, "end_speed_error": 0.2 / 1.65}, ["not-slowing"]),
        ({"load_share": 0.69}, []),
        ({"load_share": 0.7}, ["lasting", "not-load"]),
        ({"load_share": 0.7, "lasted_s": 26 * HOUR_S, "above_s": 26 * HOUR_S}, []),
        ({"unloaded": True}, []),
        ({"work_rise": 1.74}, []),
        ({"work_rise": 1.75}, ["lasting", "not-load"]),
        ({"work_rise": 1.75, "headroom": 200e6}, []),
        (FROM_START | {"work_rise": 1.6}, ["lasting", "not-load"]),
        (GROWING | {"work_rise": 1.6, "bend": 0.02}, []),
        (GROWING | {"work_rise": 1.6, "bend": 0.021}, ["lasting", "not-load"]),
        (GROWING | {"load_share": 0.7, "bend": 0.01}, ["lasting", "not-load"]),
        (GROWING | {"work_rise": 1.6, "more_work": 1.5, "bend": 0.01}, ["lasting", "not-load"]),
        ({"more_work": 1.5}, []),
        ({"more_work": 2.0}, ["lasting"]),
    ],
    ids=lambda value: "-".join(value) or "a leak" if isinstance(value, list) else "",
)
def test_a_consideration_fails_just_beyond_its_border(different: dict[str, Any], expected: list[str]) -> None:
    assert [name for name, (passed, _) in reasons(different).items() if not passed] == expected


@pytest.mark.parametrize(
    ("different", "name", "text"),
    [
        ({}, "lasting", "has grown for 2h after 4h of quiet (2h are enough)"),
        (
            {"rate_per_hour": 100e6},
            "lasting",
            "has grown for 2h after 4h of quiet (15m are enough, it is urgent: doubles within 60m)",
        ),
        (
            {"headroom": 12.5e6},
            "lasting",
            "has grown for 2h after 4h of quiet (15m are enough, it is urgent: full within 60m)",
        ),
        (
            FROM_START | {"rate_per_hour": 100e6},
            "lasting",
            "has grown for 6h without a quiet time before it (6h are enough)",
        ),
        (
            FROM_START | {"lasted_s": HOUR_S},
            "lasting",
            "too young: has grown for 60m without a quiet time before it, 6h are needed",
        ),
        (
            {"significance": 1001.0},
            "above-noise",
            "stands out of the noise: slope is over 1000 times its error (4 needed)",
        ),
        ({}, "keeps", "gives nothing back: fell by at most 500kB while it grew 20MB"),
        ({"fall": 10e6}, "keeps", "comes back down: fell by at most 10MB while it grew 20MB"),
        ({"peak": 150e6}, "new-high", "floor 120MB does not pass the earlier peak 150MB"),
        ({"peak": -math.inf}, "new-high", "floor is at 120MB, never seen before"),
        ({"end": math.nan}, "new-high", "was not seen lately"),
        ({"latest_speed": -0.5}, "goes-on", "has levelled off: lately at 0 % of its mean speed"),
        ({"jumps_share": 1.7}, "no-jump", "grew by jumps: the three largest steps carry 100 % of it"),
        (
            FROM_START | {"slope_before": 2.0},
            "not-slowing",
            "has been slowing: it grew 2.0 times as fast before",
        ),
        (
            {"end_speed": 0.2, "end_speed_error": 0.1},
            "not-slowing",
            "is slowing: its curve ends at 20 % (at most 36 %) of its mean speed",
        ),
        ({"load_share": 0.4}, "not-load", "the load explains only 40 % of it"),
        ({"load_share": 0.9}, "not-load", "rose with the load, which explains 90 % of it (until 26h)"),
        (
            {"work_rise": 2.345},
            "not-load",
            "up to 2.3 times as much was done as earlier in its life (until 26h)",
        ),
        (
            GROWING | {"work_rise": 2.345, "bend": 0.02},
            "not-load",
            (
                "up to 2.3 times as much was done as earlier in its life, "
                "but it has grown for longer than 10h24m"
            ),
        ),
        (
            GROWING | {"work_rise": 2.345, "bend": 0.025},
            "not-load",
            "up to 2.3 times as much was done as earlier in its life (until 13h)",
        ),
        (
            {"work_rise": 2.345, "headroom": 12.5e6},
            "not-load",
            "up to 2.3 times as much was done as earlier in its life, but its limit is near",
        ),
        (
            {"more_work": 3.0},
            "lasting",
            "too young: has grown for 2h without a quiet time under such load before it, 6h are needed",
        ),
        ({"unloaded": True}, "not-load", "grows beside its load, whose part is taken out"),
        (
            {"counts": True, "growth": 40.0, "fall": 1.0, "end": 140.0, "peak": 101.0},
            "keeps",
            "gives nothing back: fell by at most 1 while it grew 40",
        ),
    ],
)
def test_a_consideration_is_a_sentence_with_its_numbers(
    different: dict[str, Any], name: str, text: str
) -> None:
    assert reasons(different)[name][1] == text


def test_load_is_a_consideration_only_where_it_says_something() -> None:
    assert "not-load" not in reasons({})


def test_reasons_are_put_into_words_when_they_are_read_and_after_what_was_known_before() -> None:
    urgent, kind = Reason("urgent", passed=True, text="urgent"), Reason("kind", passed=True, text="heap")
    detected = Reasons(measures(), 0)

    both = joined((kind,), joined((urgent,), detected))

    assert isinstance(both, Reasons)
    assert "told" not in vars(both)
    assert tuple(both) == (kind, urgent, *detected)
    assert both == (kind, urgent, *detected)
    assert joined((kind,), (urgent,)) == (kind, urgent)
