"""The page of a capture: what it tells, and what nobody can make it do."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from alert_samples import EVIDENCE, HOUR_S, WALL_S, alert
from capture_samples import SUMMARY
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Alert, Estimate, Event, State, Subject, Transition
from agent.report.files import FILES, holds
from agent.report.markup import element
from agent.report.page import Excerpt, page

COURSE = tuple((WALL_S - (60 - n) * 360, 388e6 + max(0, n - 35) * 2.4e6) for n in range(61))
"""Six hours of which the last two and a half grow."""
HOSTILE = "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202ecod.exe"
LOADS = {"src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href", "style"}
RUNS = {"script", "iframe", "object", "embed", "form", "base", "link", "img", "foreignobject"}


class Seen(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.style = ""
        self.words: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def links(self) -> list[str]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]

    def count(self, tag: str, name: str) -> int:
        return sum(one == tag and attributes.get("class") == name for one, attributes in self.tags)


def leak(**changes: Any) -> Alert:
    values = {"course": COURSE, "evidence": EVIDENCE, "exhaustion_hours": Estimate(10.0, 8.0, 13.0)}
    return alert(**values | changes)


def assert_harmless(seen: Seen) -> None:
    assert not seen.open
    assert not {tag for tag, _ in seen.tags} & RUNS
    names = {name for _, attributes in seen.tags for name in attributes}
    assert not names & LOADS
    assert not [name for name in names if name.startswith("on")]
    assert all(not link.lower().startswith(("javascript:", "data:")) for link in seen.links())


def test_the_page_tells_the_leak_its_findings_its_reasons_and_what_to_do() -> None:
    seen = Seen(page(SUMMARY, leak()))

    assert "api leaks 24 MB/h: 448 MB of 1 GB, full in about 10 h (host web-3)" in seen.text
    assert "remember (handlers.py:88) in 11 of 12 threads" in seen.text
    assert "passes the earlier peak of 388MB" in seen.text
    assert "30h old, no reason to wait" in seen.text
    assert "needs CAP_DAC_READ_SEARCH" in seen.text
    assert "leakwatch diff 7f3a9c21" in seen.text
    assert "4211-584744-a1b2c3d4" in seen.text


def test_reasons_stand_on_the_side_that_they_speak_for() -> None:
    seen = Seen(page(SUMMARY, leak()))

    assert (seen.count("li", "for"), seen.count("li", "against")) == (2, 1)


def test_the_growth_is_drawn_with_onset_fit_forecast_and_limit_for_a_desk_and_for_a_phone() -> None:
    seen = Seen(page(SUMMARY, leak()))

    assert (seen.count("svg", "wide"), seen.count("svg", "narrow")) == (1, 1)
    for name in ("onset", "fit", "forecast", "limit"):
        assert seen.count("line", name) == 2, name
    assert "since 05:30 UTC" in seen.text


def test_the_forecast_is_drawn_between_its_bounds() -> None:
    content = page(SUMMARY, leak()).decode()
    begin, soonest, end, latest = re.findall(r'<polygon points="([^"]+)" class="cone"', content)[0].split()

    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (
        tuple(map(float, place.split(","))) for place in (begin, soonest, end, latest)
    )
    assert x0 < x1 < x2 == x3
    assert y1 == y2 < y3 < y0


@pytest.mark.parametrize(
    "changes",
    [
        {"course": ()},
        {"course": COURSE[:1]},
        {"exhaustion_hours": None, "limit": None, "rate": None},
        {"exhaustion_hours": Estimate(10.0, float("nan"), float("inf"))},
        {"exhaustion_hours": Estimate(10.0, 0.0, float("inf"))},
        {"transition": Transition.RESOLVED, "exhaustion_hours": None},
        {"event": Event.STORM, "headline": "14 services leak", "items": ("api", "shop")},
        {"subject": Subject.FDS, "limit": 1024.0, "current": 900.0},
    ],
    ids=["no course", "one point", "nothing known", "no bounds", "open bounds", "over", "storm", "fds"],
)
def test_an_alert_of_any_kind_has_a_page(changes: dict[str, Any]) -> None:
    seen = Seen(page(SUMMARY, leak(**changes)))

    assert_harmless(seen)
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan", "", page({}, leak(**changes)).decode())


def test_a_capture_without_an_incident_has_a_page() -> None:
    seen = Seen(page(SUMMARY, None))

    assert "Capture of gunicorn (pid 4211)" in seen.text
    assert seen.count("svg", "wide") == 0


def test_an_incident_without_a_capture_has_a_page_with_what_its_alert_tells() -> None:
    seen = Seen(page({}, leak()))

    assert "handlers.remember:88 in 11 of 12 threads" in seen.text
    assert "native frames: not asked for" in seen.text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    seen = Seen(page(SUMMARY, leak(), story=[leak()], excerpts=[Excerpt("pyspy.txt", "thread 1")]))

    assert_harmless(seen)
    policy = next(a["content"] for t, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy")
    allowed = base64.b64encode(hashlib.sha256(seen.style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{allowed}'" in policy
    assert "url(" not in seen.style
    assert "@import" not in seen.style


def test_hostile_names_stay_words() -> None:
    process = dict.fromkeys(SUMMARY["process"], HOSTILE)
    summary = SUMMARY | {
        "process": process,
        "gist": [HOSTILE],
        "missing": [HOSTILE],
        "files": [HOSTILE, "../../../etc/shadow", "javascript:alert(3)", "a b&c.txt"],
        "label": HOSTILE,
        "taken_at": HOSTILE,
    }
    told = leak(
        service=HOSTILE,
        process=HOSTILE,
        command=HOSTILE,
        note=HOSTILE,
        labels={HOSTILE: HOSTILE},
        limit_source=HOSTILE,
        runbook_url="javascript:alert(4)",
        page_url=f"https://example.com/{HOSTILE}",
    )
    seen = Seen(page(summary, told, story=[told], excerpts=[Excerpt(HOSTILE, f"{HOSTILE}\n\x1b[31m")]))

    assert_harmless(seen)
    assert "<script>alert(1)</script>" in seen.text
    assert "\u202e" not in seen.text
    assert "\x1b" not in seen.text
    assert set(seen.links()) == {"javascript%3Aalert%283%29", "a%20b%26c.txt"}
    assert "leakwatch diff" not in Seen(page(summary, None)).text


def test_files_are_linked_from_where_the_page_lies() -> None:
    seen = Seen(page(SUMMARY, None, base="../captures/7f3a9c21/001-20270115T080000Z/"))

    assert seen.links()[0] == "../captures/7f3a9c21/001-20270115T080000Z/pyspy.txt"


def test_an_excerpt_keeps_its_lines() -> None:
    content = page(SUMMARY, None, excerpts=[Excerpt("pyspy.txt", "thread 1\n    remember (h.py:8)\n")])

    assert "<pre>thread 1\n    remember (h.py:8)</pre>" in content.decode()


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries(dict.fromkeys(SUMMARY, anything)))
def test_a_damaged_summary_still_makes_a_page(summary: dict[str, Any]) -> None:
    assert_harmless(Seen(page(summary, None)))


@given(st.text(max_size=60), st.text(max_size=60))
def test_text_and_attributes_come_back_as_they_were_put_in(text: str, value: str) -> None:
    seen = Seen(str(element("p", text, title=value)).encode("utf-8", "replace"))

    assert [tag for tag, _ in seen.tags] == ["p"]
    printable = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    assert "".join(seen.words) == printable


def test_the_severity_shows_in_the_header() -> None:
    warned = leak(severity=State.WARNING)

    assert Seen(page(SUMMARY, leak())).count("header", "critical") == 1
    assert Seen(page(SUMMARY, warned)).count("header", "warning") == 1
    assert Seen(page(SUMMARY, replace(warned, transition=Transition.RESOLVED))).count("header", "calm") == 1


def test_every_known_file_says_what_it_holds() -> None:
    assert all(holds(name) for name in FILES)
    assert holds("pyspy.json.gz") == holds("pyspy.json")


def test_hours_of_growth_have_their_place_on_the_scale() -> None:
    content = page(SUMMARY, leak()).decode()
    seen = re.findall(r'<polyline points="([^"]+)" class="seen"', content)[0].split()
    onset = float(re.findall(r'<line x1="([\d.]+)"[^>]* class="onset"', content)[0])

    x = [float(place.split(",")[0]) for place in seen]
    assert x == sorted(x)
    assert x[0] < onset < x[-1]
    assert (onset - x[0]) / (x[-1] - x[0]) == pytest.approx(3.5 * HOUR_S / (6 * HOUR_S), abs=0.01)
