"""What every channel says, in the words that a person reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from alert_samples import EVIDENCE, HOUR_S, LEAK, WALL_S, alert, later
from alert_strategies import ALERTS
from hypothesis import given, settings

from agent.alerts import wording
from agent.model import Alert, Estimate, Event, Evidence, Kind, Reason, State, Subject, Transition

THREADS = Estimate(23.0, 20.0, 27.0)
LIMITED = Event.THRESHOLD


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({}, "api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h", id="leak"),
        pytest.param(
            {"limit": None, "exhaustion_hours": None}, "api leaks 24 MB/h: 448 MB now", id="no limit known"
        ),
        pytest.param(
            {"exhaustion_hours": Estimate(math.inf, 90.0, math.inf)},
            "api leaks 24 MB/h: 448 MB of 1 GB",
            id="never full",
        ),
        pytest.param({"rate": None}, "api leaks: 448 MB of 1 GB, full in about 23 h", id="no rate"),
        pytest.param(
            {"subject": Subject.SHARED},
            "api leaks 24 MB/h of shared memory: 448 MB of 1 GB, full in about 23 h",
            id="shared",
        ),
        pytest.param(
            {"subject": Subject.THREADS, "rate": THREADS, "current": 412.0, "limit": 1024.0},
            "api leaks 23 threads/h: 412 of 1024 threads, out of threads in about 23 h",
            id="threads are counts",
        ),
        pytest.param(
            {
                "subject": Subject.FDS,
                "rate": THREADS,
                "current": 412.0,
                "limit": None,
                "exhaustion_hours": None,
            },
            "api leaks 23 descriptors/h: 412 descriptors now",
            id="descriptors are counts",
        ),
        pytest.param(
            {"event": LIMITED},
            "api exceeds its growth limit: 24 MB/h, 448 MB of 1 GB, full in about 23 h",
            id="growth limit",
        ),
        pytest.param(
            {"event": LIMITED, "subject": Subject.HEAP_PERCENT, "current": 820e6, "exhaustion_hours": None},
            "api is close to its memory limit: 820 MB of 1 GB",
            id="heap percent",
        ),
        pytest.param(
            {
                "event": LIMITED,
                "subject": Subject.COLLECTIONS,
                "current": 14.0,
                "limit": 10.0,
                "rate": None,
                "exhaustion_hours": None,
            },
            "api collects garbage too often: 14 collections/min, limit 10",
            id="collections",
        ),
        pytest.param(
            {
                "subject": Subject.CHILDREN,
                "rate": THREADS,
                "current": 412.0,
                "limit": None,
                "exhaustion_hours": None,
            },
            "api leaks 23 child processes/h: 412 child processes now",
            id="children are counts",
        ),
        pytest.param(
            {"probability": 0.968, "kind": Kind.NATIVE},
            "api leaks 24 MB/h of native memory: 448 MB of 1 GB, full in about 23 h, 97 % sure",
            id="native memory, and how sure",
        ),
        pytest.param(
            {"kind": Kind.HEAP}, "api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h", id="plain heap"
        ),
        pytest.param(
            {"subject": Subject.SHARED, "kind": Kind.FILES},
            "api leaks 24 MB/h of mapped files: 448 MB of 1 GB, full in about 23 h",
            id="files",
        ),
        pytest.param(
            {"event": LIMITED, "probability": 0.4},
            "api exceeds its growth limit: 24 MB/h, 448 MB of 1 GB, full in about 23 h",
            id="a limit is sure whatever the detector thinks",
        ),
        pytest.param(
            {"young": True, "age_s": 720.0},
            "api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h, started only 12 min ago",
            id="young",
        ),
        pytest.param(
            {"drill": True}, "[DRILL] api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h", id="drill"
        ),
        pytest.param(
            {"service": "a\nb\x1b[31m\ud800"},
            "a\\x0ab\\x1b[31m\\ud800 leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h",
            id="hostile name",
        ),
    ],
)
def test_first_line_of_an_opened_incident(changes: dict[str, Any], line: str) -> None:
    assert wording.first_line(alert(**changes)) == f"{line} (host web-3)"


@pytest.mark.parametrize(
    ("transition", "line"),
    [
        (Transition.WORSENED, "Now critical: api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h"),
        (
            Transition.REMINDED,
            "Still, after 3 h 30 min: api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h",
        ),
        (Transition.RESOLVED, "Resolved after 3 h 30 min: api no longer leaks, 448 MB of 1 GB"),
        (
            Transition.GONE,
            "Gone after 3 h 30 min: api ended (pid 4211) while still leaking, at 448 MB of 1 GB",
        ),
    ],
)
def test_first_line_of_a_later_transition(transition: Transition, line: str) -> None:
    assert wording.first_line(later(2, transition)) == f"{line} (host web-3)"


def test_the_end_of_a_threshold_speaks_of_the_limit() -> None:
    resolved = wording.first_line(later(2, Transition.RESOLVED, event=LIMITED))
    gone = wording.first_line(later(2, Transition.GONE, event=LIMITED))

    assert "is within its limit again" in resolved
    assert "while over its limit" in gone


def test_facts_name_every_figure_with_its_interval() -> None:
    assert dict(wording.facts(alert(evidence=EVIDENCE))) == {
        "Severity": "critical, leak detected",
        "Growth since onset": "61 MB",
        "Growth rate": "24 MB/h (21 MB/h to 27 MB/h)",
        "Current": "448 MB",
        "Percent of limit": "44.8% of 1 GB (memory.max of /system.slice/api.service)",
        "Duration": "2 h 30 min, since 2027-01-15 05:30 UTC",
        "Time to exhaustion": "about 23 h (20 h to 26 h)",
        "Process": "gunicorn, pids 4211, 4212 on web-3",
        "Age": "30 h",
        "Evidence": "/var/lib/leakwatch/captures/7f3a9c21",
    }


def test_unknown_figures_say_so() -> None:
    unknown = alert(
        rate=None, limit=None, exhaustion_hours=None, growth=math.nan, pids=(), since_wall_s=math.inf
    )
    told = dict(wording.facts(unknown))

    assert told["Growth rate"] == "unknown"
    assert told["Percent of limit"] == "no limit known"
    assert told["Time to exhaustion"] == "not predicted"
    assert told["Growth since onset"] == "unknown"
    assert told["Duration"].endswith("since an unknown time")
    assert told["Process"] == "gunicorn, pid 4211 on web-3"
    assert told["Evidence"] == "none; take it with: leakwatch dump 4211"


def test_an_interval_without_an_end_ends_never() -> None:
    told = dict(wording.facts(alert(exhaustion_hours=Estimate(9.5, 7.0, math.inf))))

    assert told["Time to exhaustion"] == "about 9 h 30 min (7 h to never)"


def test_many_pids_are_counted() -> None:
    told = dict(wording.facts(alert(pids=tuple(range(1, 9)))))

    assert told["Process"] == "gunicorn, pids 1, 2, 3, 4, 5 and 3 more on web-3"


def test_a_young_process_is_told_to_be_young() -> None:
    told = dict(wording.facts(alert(young=True, age_s=720.0)))

    assert told["Age"] == "12 min, young: its baseline is not settled yet"


def test_the_three_most_telling_reasons_are_told_and_all_are_kept_for_machines() -> None:
    names = ("above-noise", "goes-on", "new-high", "made-up", "lasting", "descriptors")
    mixed = (
        Reason("urgent", passed=False, text="not urgent"),
        *(Reason(name, passed=True, text=name) for name in names),
    )
    told = alert(reasons=mixed)

    assert wording.reasons(told) == ("for: descriptors", "for: lasting", "for: new-high")
    assert wording.considerations(told)[3:] == (
        "for: goes-on",
        "for: above-noise",
        "for: made-up",
        "against: not urgent",
    )


@pytest.mark.parametrize(
    ("labels", "release"),
    [
        ({"release": "shop@2.4.1", "version": "9"}, ", release shop@2.4.1"),
        ({"version": "2.4.1"}, ", release 2.4.1"),
        ({"release": "", "team": "shop"}, ""),
    ],
    ids=str,
)
def test_the_release_is_told_by_its_label(labels: dict[str, str], release: str) -> None:
    assert (
        dict(wording.facts(alert(labels=labels)))["Process"] == f"gunicorn, pids 4211, 4212 on web-3{release}"
    )


def test_what_grows_is_told_with_the_growth() -> None:
    assert dict(wording.facts(alert(kind=Kind.NATIVE)))["Growth since onset"] == "61 MB of native memory"


@pytest.mark.parametrize("transition", [t for t in Transition if not t.ends])
@pytest.mark.parametrize("kind", ["", *Kind])
def test_the_first_line_fits_on_a_locked_phone(transition: Transition, kind: str) -> None:
    told = later(2, transition, service="checkout-api", kind=kind, probability=0.97)

    assert len(wording.first_line(told).partition(" (host ")[0]) <= 110


NOTICE: dict[str, Any] = {
    "headline": "12 services leak since 08:00",
    "items": tuple(f"service-{i} leaks {i} MB/h" for i in range(30)),
    "reasons": (),
    "rate": None,
    "command": "",
    "labels": {},
}


@pytest.mark.parametrize(
    ("event", "facts", "titles"),
    [
        (Event.STORM, ["critical, many incidents at once"], ["Incidents", "What to do"]),
        (Event.WATCHER, ["critical, leakwatch itself"], ["What is wrong", "What to do"]),
        (Event.CHANGE, [], ["What changed"]),
    ],
)
def test_an_alert_with_a_headline_lists_what_it_is_about_and_no_figures(
    event: Event, facts: list[str], titles: list[str]
) -> None:
    told = alert(event=event, **NOTICE)

    assert wording.first_line(told) == "12 services leak since 08:00 (host web-3)"
    assert [fact.value for fact in wording.facts(told)] == facts
    assert [section.title for section in wording.sections(told)] == titles
    assert wording.items(told)[0] == "service-0 leaks 0 MB/h"
    assert wording.items(told)[-1] == "and 10 more"
    assert len(wording.items(told)) == 21


def test_sections_hold_what_an_alert_has() -> None:
    told = {section.title: section.lines for section in wording.sections(alert(evidence=EVIDENCE))}

    assert list(told) == ["Why", "Evidence", "What to do"]
    assert told["Why"] == wording.reasons(alert())
    assert wording.sections(later(2, Transition.RESOLVED, reasons=())) == ()


def test_links_lead_where_the_configuration_says() -> None:
    told = alert(runbook_url="https://wiki.example/leakwatch#top", page_url="http://web-3:9477/")

    assert wording.links(told) == (
        ("Runbook", "https://wiki.example/leakwatch#runbook-heap"),
        ("Page", "http://web-3:9477/"),
    )
    assert "(https://wiki.example/leakwatch#runbook-heap)" in wording.next_step(told)
    assert wording.links(alert()) == ()


def test_findings_tell_what_could_not_be_taken() -> None:
    assert wording.findings(alert(evidence=EVIDENCE)) == (
        "top stack: handlers.remember:88 in 11 of 12 threads",
        "grew: [heap] +58MB",
        "not taken: native frames: not asked for",
    )
    assert wording.findings(alert()) == ()


def test_evidence_without_a_directory_is_none_that_could_be_taken() -> None:
    nothing = Evidence("", missing=("py-spy: no permission",))

    assert dict(wording.facts(alert(evidence=nothing)))["Evidence"] == "none could be taken"


@pytest.mark.parametrize("subject", Subject)
def test_next_step_points_into_the_runbook(subject: Subject) -> None:
    assert f"(docs/guide.md#runbook-{subject})" in wording.next_step(alert(subject=subject))


@pytest.mark.parametrize(
    ("kind", "section"), [("", "heap"), *((kind, kind) for kind in Kind if kind is not Kind.DESCRIPTORS)]
)
def test_a_known_kind_has_its_own_section_of_the_runbook(kind: str, section: str) -> None:
    assert f"(docs/guide.md#runbook-{section})" in wording.next_step(alert(kind=kind))


def test_descriptors_are_looked_up_under_their_subject() -> None:
    descriptors = alert(subject=Subject.FDS, kind=Kind.DESCRIPTORS)

    assert wording.next_step(descriptors).endswith("(docs/guide.md#runbook-fds)")


def test_how_sure_it_is_and_what_grows_are_told_with_the_facts() -> None:
    native = alert(probability=0.968, kind=Kind.NATIVE)

    assert dict(wording.facts(native))["Severity"] == "critical, leak detected, 97 % sure"
    assert dict(wording.background(native))["What grows"] == "native"
    assert wording.figures(native)["probability"] == 0.968
    assert wording.figures(native)["kind"] == "native"


def test_without_a_probability_nothing_is_said_of_it() -> None:
    assert dict(wording.facts(alert()))["Severity"] == "critical, leak detected"
    assert wording.figures(alert())["probability"] is None


def test_an_end_asks_for_nothing() -> None:
    assert wording.next_step(later(2, Transition.RESOLVED)) == ""


def test_background_leaves_out_what_is_empty() -> None:
    told = dict(wording.background(alert(note="", labels={}, command="")))

    assert told == {"Incident": "7f3a9c21", "At": "2027-01-15 08:00 UTC"}


def test_figures_hold_no_infinity() -> None:
    told = wording.figures(alert(rate=Estimate(24e6, -math.inf, math.nan), age_s=HOUR_S))

    assert (told["rate_per_hour"], told["rate_low"], told["rate_high"]) == (24e6, None, None)
    assert told["unit"] == "bytes"
    assert told["age_s"] == HOUR_S


@given(ALERTS)
@settings(max_examples=60)
def test_any_alert_has_words_on_single_bounded_lines(any_alert: Alert) -> None:
    facts = [fact.value for fact in (*wording.facts(any_alert), *wording.background(any_alert))]
    lines = [wording.first_line(any_alert), *facts, *wording.reasons(any_alert), *wording.findings(any_alert)]

    assert all(line.isprintable() for line in lines)
    listed = [text for section in wording.sections(any_alert) for text in section.lines]
    assert all(text.isprintable() for text in listed)
    assert max(map(len, [*lines, *listed])) <= 500
    assert all(facts)


def test_the_sample_is_what_the_tests_think() -> None:
    assert (LEAK.severity, LEAK.at_wall_s) == (State.CRITICAL, WALL_S)
