"""Every consideration on both sides of its border."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agent.detect.reasons import Numbers, explain

HOUR_S = 3600.0
LEAK = Numbers(
    counts=False,
    block_s=80.0,
    age_s=6 * HOUR_S,
    lasted_s=2 * HOUR_S,
    growth=40e6,
    base=100e6,
    significance=9.0,
    least_step=0.9,
    newest_step=0.9,
    latest_speed=0.9,
    fall=1e6,
    jumps_share=0.1,
    end=140e6,
    peak=101e6,
    slope_before=0.0,
    quiet_s=2 * HOUR_S,
)
"""Two hours of growth after two hours of quiet."""
FROM_START = replace(LEAK, quiet_s=0.0, lasted_s=5.5 * HOUR_S)
BRIEF = replace(LEAK, lasted_s=70 * 60.0)


def failed(numbers: Numbers) -> list[str]:
    return [reason.name for reason in explain(numbers) if not reason.passed]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (LEAK, []),
        (replace(LEAK, lasted_s=HOUR_S), []),
        (replace(LEAK, lasted_s=HOUR_S - 1), ["lasting"]),
        (replace(LEAK, quiet_s=10 * HOUR_S, lasted_s=720.0), []),
        (replace(LEAK, quiet_s=10 * HOUR_S, lasted_s=719.0), ["lasting"]),
        (replace(LEAK, quiet_s=240 * HOUR_S, lasted_s=600.0), []),
        (replace(LEAK, quiet_s=240 * HOUR_S, lasted_s=599.0), ["lasting"]),
        (FROM_START, []),
        (replace(FROM_START, lasted_s=5.5 * HOUR_S - 1), ["lasting"]),
        (replace(FROM_START, quiet_s=0.36 * HOUR_S, lasted_s=5.4 * HOUR_S), ["lasting"]),
        (replace(FROM_START, age_s=20 * HOUR_S, lasted_s=12 * HOUR_S), []),
        (replace(FROM_START, age_s=20 * HOUR_S, lasted_s=11.9 * HOUR_S), ["lasting"]),
        (replace(LEAK, significance=4.0), []),
        (replace(LEAK, significance=3.9), ["above-noise"]),
        (replace(LEAK, peak=136e6), []),
        (replace(LEAK, peak=136.1e6), ["new-high"]),
        (replace(BRIEF, peak=128e6), []),
        (replace(BRIEF, peak=128.1e6), ["new-high"]),
        (replace(LEAK, peak=-math.inf), []),
        (replace(LEAK, end=math.nan), ["new-high"]),
        (replace(LEAK, fall=10e6), []),
        (replace(LEAK, fall=10.1e6), ["keeps"]),
        (replace(LEAK, newest_step=0.55, latest_speed=0.3), []),
        (replace(LEAK, newest_step=0.54), ["goes-on"]),
        (replace(LEAK, latest_speed=0.29), ["goes-on"]),
        (replace(LEAK, least_step=0.25, jumps_share=0.6), []),
        (replace(LEAK, least_step=0.24), ["no-jump"]),
        (replace(LEAK, jumps_share=0.61), ["no-jump"]),
        (replace(LEAK, block_s=600.0, jumps_share=0.7), []),
        (replace(LEAK, block_s=600.0, jumps_share=0.71), ["no-jump"]),
        (replace(FROM_START, slope_before=1.3), []),
        (replace(FROM_START, slope_before=1.31), ["not-slowing"]),
        (replace(LEAK, slope_before=5.0), []),
    ],
    ids=lambda value: "-".join(value) or "a leak" if isinstance(value, list) else "",
)
def test_a_consideration_fails_just_beyond_its_border(numbers: Numbers, expected: list[str]) -> None:
    assert failed(numbers) == expected


@pytest.mark.parametrize(
    ("numbers", "name", "text"),
    [
        (LEAK, "lasting", "has grown for 2h after 2h of quiet (60m are enough)"),
        (
            replace(FROM_START, lasted_s=HOUR_S),
            "lasting",
            "too young: has grown for 60m without a quiet time before it, 5h30m are needed",
        ),
        (LEAK, "keeps", "gives nothing back: fell by at most 1MB while it grew 40MB"),
        (replace(LEAK, fall=20e6), "keeps", "comes back down: fell by at most 20MB while it grew 40MB"),
        (replace(LEAK, peak=150e6), "new-high", "floor 140MB does not pass the earlier peak 150MB"),
        (replace(LEAK, peak=-math.inf), "new-high", "floor is at 140MB, never seen before"),
        (replace(LEAK, end=math.nan), "new-high", "was not seen lately"),
        (replace(LEAK, latest_speed=-0.5), "goes-on", "has levelled off: lately at 0 % of its mean speed"),
        (
            replace(LEAK, jumps_share=1.7),
            "no-jump",
            "grew by jumps: the three largest steps carry 100 % of it",
        ),
        (
            replace(FROM_START, slope_before=2.0),
            "not-slowing",
            "has been slowing: it grew 2.0 times as fast before",
        ),
        (
            replace(LEAK, counts=True, growth=40.0, fall=1.0, end=140.0, peak=101.0),
            "keeps",
            "gives nothing back: fell by at most 1 while it grew 40",
        ),
    ],
)
def test_a_consideration_is_a_sentence_with_its_numbers(numbers: Numbers, name: str, text: str) -> None:
    assert {reason.name: reason.text for reason in explain(numbers)}[name] == text
