"""The model: what a score means, and that the shipped weights are what the training script may write."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rises import FROM_START, measures

from agent.detect import features
from agent.detect.probability import Model, model, probability, score_of

ROOT = Path(__file__).resolve().parents[2]
DAY_S = 86400.0


def shipped() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "agent" / "detect" / "weights.json").read_text("utf-8"))
    return found


def least() -> dict[str, float]:
    """Return the least weights of tests/bench/train.py without running it."""
    tree = ast.parse((ROOT / "tests" / "bench" / "train.py").read_text("utf-8"))
    (found,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["LEAST"]
    )
    floor: dict[str, float] = ast.literal_eval(found)
    return floor


def made(per_day: list[float]) -> Model:
    weights = dict.fromkeys(features.NAMES, 1.0)
    scores = [float(k) for k in range(len(per_day))]
    alarms = {"score": scores, "per_process_day": per_day}
    return Model.read({"weights": weights, "intercept": 0.5, "false_alarms": alarms})


FOUR = made([0.4, 0.1, 0.1, 0.02])


@pytest.mark.parametrize(
    ("every_days", "score"),
    [(1.0, 0.0), (2.5, 0.0), (2.6, 1.0), (10.0, 1.0), (10.1, 3.0), (50.0, 3.0), (100.0, 4.0), (400.0, 6.0)],
)
def test_the_score_for_a_promise_is_the_least_that_keeps_it(every_days: float, score: float) -> None:
    """Beyond what was measured each point halves the rate: the last halving took one."""
    assert FOUR.score_for(every_days * DAY_S) == pytest.approx(score)


def test_where_nothing_was_ever_halved_a_point_is_taken_to_do_so() -> None:
    assert made([0.1, 0.1]).score_for(40 * DAY_S) == pytest.approx(1.0 + 2.0)


RATES = st.lists(st.floats(1e-4, 10), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.none() | RATES, st.floats(1, 1e10), st.floats(1, 1e10))
def test_a_rarer_alarm_never_takes_a_lower_score(rates: list[float] | None, one: float, other: float) -> None:
    judged = model() if rates is None else made(sorted(rates, reverse=True))

    assert judged.score_for(min(one, other)) <= judged.score_for(max(one, other))


def test_a_probability_is_the_odds_of_a_score() -> None:
    assert probability(np.array([0.0, score_of(0.3), 1e9, -1e9])) == pytest.approx([0.5, 0.3, 1.0, 0.0])


def test_no_score_is_above_its_bound() -> None:
    several = measures(
        fall=[0.0, 0.0, 4e6, 9e6], quiet_s=[1e9, 0.0, 1e5, 1e5], latest_speed=[1.0, 1.0, 1.0, -5.0]
    )
    bound, score = model().form(several.shape) + model().most_of_past, model().score(several)

    assert (score <= bound + 1e-9).all()
    assert (model().score(several, model().form(several.shape)) == score).all()


def test_a_score_is_the_sum_of_its_features() -> None:
    rise = measures(**FROM_START)
    total = features.of_shape(rise.shape).sum() + features.of_past(rise).sum()

    assert FOUR.score(rise) == pytest.approx([0.5 + total])


def test_the_shipped_weights_are_of_the_features_and_none_is_below_its_least() -> None:
    weights = shipped()["weights"]

    assert set(weights) == set(least()) == set(features.NAMES)
    assert {name: w for name, w in weights.items() if w < least()[name]} == {}


def test_the_shipped_calibration_falls_with_the_score_and_reaches_rare_ones() -> None:
    alarms = shipped()["false_alarms"]
    scores, rates = np.array(alarms["score"]), np.array(alarms["per_process_day"])

    assert (np.diff(scores) > 0).all()
    assert (np.diff(rates) <= 0).all()
    assert 0 < rates[-1] < 1 / 100


def test_weights_that_lack_a_part_are_refused() -> None:
    whole = shipped()
    for part in whole:
        with pytest.raises(KeyError):
            Model.read({name: value for name, value in whole.items() if name != part})
