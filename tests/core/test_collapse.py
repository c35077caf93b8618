from __future__ import annotations

import pytest
from alert_samples import EVIDENCE, alert, later
from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.collapse import merge
from agent.model import Alert, Transition

WORDS = {str(word): word for word in Transition}
WHY = "503 from hooks.slack.com"


def queue(words: str) -> list[Alert]:
    return [later(number, WORDS[word]) for number, word in enumerate(words.split(), 1)]


@pytest.mark.parametrize(
    ("words", "told", "count"),
    [
        ("opened resolved", False, 1),
        ("opened worsened updated reminded gone", False, 4),
        ("opened resolved opened", False, 2),
        ("opened resolved opened gone", False, 3),
        ("worsened reminded resolved", True, 2),
        ("acknowledged resolved", True, 1),
        ("resolved opened resolved", True, 2),
        ("updated reminded updated", True, 2),
        ("updated worsened", True, 1),
        ("worsened worsened", True, 1),
        ("updated worsened reminded", True, 1),
        ("opened", False, 0),
        ("opened updated", False, 0),
        ("opened worsened", False, 0),
        ("resolved opened", True, 0),
        ("worsened updated", True, 0),
        ("acknowledged updated", True, 0),
        ("updated acknowledged", True, 0),
    ],
)
def test_only_what_a_later_alert_says_better_is_left_out(words: str, told: bool, count: int) -> None:  # noqa: FBT001 - a table
    found = merge(queue(words), WHY, told=told)
    assert (0 if found is None else found.count) == count


def test_an_incident_that_is_over_says_when_it_began_and_why_it_comes_late() -> None:
    found = merge([alert(), later(2, Transition.RESOLVED, note="floor flat for 95m")], WHY, told=False)
    assert found is not None
    assert found.alert.note == (
        "opened 2027-01-15 08:00 UTC, over 2027-01-15 09:00 UTC; "
        "could not be delivered before: 503 from hooks.slack.com; floor flat for 95m"
    )


def test_outdated_figures_leave_their_number_and_an_unknown_reason_is_not_made_up() -> None:
    found = merge(queue("updated reminded updated"), "", told=True)
    assert found is not None
    assert found.alert.note == "stands for 2 earlier messages since 2027-01-15 08:00 UTC; told only now"


def test_evidence_and_items_of_an_alert_that_is_left_out_are_kept() -> None:
    earlier = alert(evidence=EVIDENCE, items=("api leaks",))
    found = merge([earlier, later(2, Transition.GONE)], WHY, told=False)
    assert found is not None
    assert (found.alert.evidence, found.alert.items) == (EVIDENCE, ("api leaks",))


@given(st.lists(st.sampled_from(list(Transition)), min_size=1, max_size=8), st.booleans())
def test_what_the_channel_knows_in_the_end_is_the_same(words: list[Transition], told: bool) -> None:  # noqa: FBT001 - drawn
    waiting = [later(number, word) for number, word in enumerate(words, 1)]
    sent: list[Alert] = []
    while waiting:
        if found := merge(waiting, WHY, told=told or bool(sent)):
            waiting[: found.count + 1] = [found.alert]
        sent.append(waiting.pop(0))
    assert sent[-1].sequence == len(words)
    assert [a.sequence for a in sent] == sorted({a.sequence for a in sent})
    opens = [t for t in words if t.ends or t is Transition.OPENED]
    if opens:
        said = [a.transition for a in sent if a.transition.ends or a.transition is Transition.OPENED]
        assert said[-1:] == opens[-1:], "whether it is open is what the last opening or end said"
    grave = [n for n, t in enumerate(words, 1) if t is Transition.WORSENED]
    if grave and not any(t.ends or t is Transition.OPENED for t in words[grave[-1] :]):
        assert any(a.sequence == grave[-1] for a in sent), (
            "that it worsened is never left out while it is open"
        )
