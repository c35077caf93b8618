"""The sections of the page, each a value: None where it has nothing to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from agent.alerts import runbook
from agent.alerts.first_line import first_line, what
from agent.alerts.phrases import amount
from agent.alerts.wording import background, considerations, facts, items, links
from agent.report.files import holds, is_for_people
from agent.report.markup import Element, element, lines
from agent.report.told import moment, number, text, texts
from agent.units import format_utc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.model import Alert

_TILES = ("Time to exhaustion", "Growth rate", "Growth since onset", "Percent of limit")
"""The facts that are told large."""
_PROCESS = {
    "name": "Process",
    "command": "Command",
    "exe": "Executable",
    "user": "User",
    "cgroup": "Cgroup",
    "runtime": "Runtime",
    "key": "Identity",
}


PAGE = "report.html"
MAX_LABEL_CHARS = 20
"""Of a finding; a longer beginning is a sentence."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What may stand in a command that people copy."""


def tiles(alert: Alert) -> Element | None:
    """Return the figures that a person decides by."""
    told = {fact.label: fact.value for fact in facts(alert)}
    if not told.keys() >= set(_TILES):
        return None
    full, rate, _, share = (told[label] for label in _TILES)
    shown = (
        _tile("Full in", *_bracketed(full)),
        _tile("Growth rate", *_bracketed(rate)),
        _tile("Grown", amount(alert.subject, alert.growth), " ".join(what(alert))),
        _tile("Of the limit", *_bracketed(share)),
    )
    return element("div", *shown, class_="tiles")


def found(summary: Mapping[str, Any], alert: Alert | None) -> Element | None:
    """Return the findings of the capture, else those that the alert tells."""
    gist = texts(summary, "gist") or (alert.evidence.gist if alert and alert.evidence else ())
    told = [_finding(line) for line in gist] or [element("li", "Nothing that names the cause.")]
    return _section("What was found", element("ul", *told, class_="found"))


def why(alert: Alert | None) -> Element | None:
    """Return the considerations of the verdict, for and against, with their numbers."""
    if alert is None:
        return None
    listed = [element("li", line) for line in items(alert)]
    for consideration in considerations(alert):
        side, _, sentence = consideration.partition(": ")
        listed.append(element("li", element("span", sentence), class_=side))
    return _section("Why", element("ul", *listed)) if listed else None


def next_steps(summary: Mapping[str, Any], alert: Alert | None) -> Element | None:
    """Return what to do now, where that is described, and the commands that help."""
    advice = runbook.advice(alert) if alert is not None else ""
    pid = str(alert.pid) if alert is not None else _pid(summary)
    label = alert.incident_id if alert is not None else text(summary, "label")
    label = label if _LABEL.fullmatch(label) else ""
    commands = [f"leakwatch dump {pid}"] if pid != "?" else []
    commands += [f"leakwatch diff {label}"] if label else []
    if alert is not None and label:
        commands += [f"leakwatch incidents {label}", f"leakwatch ack {label}"]
    over = alert is not None and alert.transition.ends
    if over or not (advice or commands):
        return None
    sentence = element("p", f"{advice[:1].upper()}{advice[1:]}.") if advice else None
    return _section("What to do now", sentence, *_guides(alert), _commands(commands))


def missing(summary: Mapping[str, Any], alert: Alert | None) -> Element | None:
    """Return what could not be taken, and why."""
    told = texts(summary, "missing") or (alert.evidence.missing if alert and alert.evidence else ())
    return (
        _section("Not taken, and why", element("ul", *(element("li", why) for why in told))) if told else None
    )


def story(told: Sequence[Alert]) -> Element | None:
    """Return every transition of the incident."""
    rows = [(format_utc(alert.at_wall_s), f"{alert.transition}: {first_line(alert)}") for alert in told]
    return _section("What happened", _table(rows)) if rows else None


def files(summary: Mapping[str, Any], base: str) -> Element | None:
    """Return links to the files of the capture, with what each holds."""
    names = [name for name in texts(summary, "files") if "/" not in name and name != PAGE]
    rows = [
        element("tr", element("th", _link(f"{base}{quote(name)}", name)), element("td", holds(name)))
        for name in sorted(names, key=lambda name: not is_for_people(name))
    ]
    return _section("Files", element("table", *rows)) if rows else None


def excerpts(told: Sequence[tuple[str, str]]) -> Element | None:
    """Return the beginnings of files under their names, folded."""
    folded = (
        element("details", element("summary", name), element("pre", lines(content))) for name, content in told
    )
    return _section("What they hold", *folded) if told else None


def identity(summary: Mapping[str, Any], alert: Alert | None) -> Element | None:
    """Return what finds the process and the incident again."""
    process = summary.get("process")
    rows = [(label, text(process, key)) for key, label in _PROCESS.items()]
    rows.append(("Captured", moment(summary, "taken_at")))
    if alert is not None:
        shown = {label for label, value in rows if value}
        told = [fact for fact in (*facts(alert), *background(alert)) if fact.label not in (*_TILES, *shown)]
        rows += [(fact.label, fact.value) for fact in told]
    rows = [row for row in rows if row[1]]
    return _section("Identity", _table(rows)) if rows else None


def who(summary: Mapping[str, Any], alert: Alert | None) -> str:
    """Return in one line whose page it is."""
    process = summary.get("process")
    name = text(process, "name") or (alert.process if alert else "")
    runtime = text(process, "runtime")
    parts = [f"{name} (pid {alert.pid if alert else _pid(summary)})", runtime]
    if alert is not None:
        parts += [f"now {amount(alert.subject, alert.current)}", f"told {format_utc(alert.at_wall_s)}"]
    taken = moment(summary, "taken_at")
    return " · ".join(part for part in (*parts, f"captured {taken}" if taken else "") if part)


def _pid(summary: Mapping[str, Any]) -> str:
    return number(text(summary.get("process"), "key").partition("-")[0])


def _bracketed(value: str) -> tuple[str, str]:
    """Part "24 MB/h (21 to 27 MB/h)" into what is told large and what is told small."""
    main, _, more = value.partition(" (")
    return main, more.removesuffix(")")


def _tile(label: str, value: str, more: str) -> Element:
    return element(
        "div",
        element("span", label, class_="label"),
        element("span", value, class_="value"),
        element("span", more, class_="more") if more else None,
    )


def _finding(line: str) -> Element:
    label, colon, rest = line.partition(": ")
    if not colon or len(label) > MAX_LABEL_CHARS:
        return element("li", line)
    return element("li", element("b", label), rest)


def _guides(alert: Alert | None) -> list[Element]:
    return [element("p", _link(link.address, link.text)) for link in links(alert)] if alert else []


def _commands(commands: list[str]) -> Element:
    told = [part for command in commands for part in (element("code", command), " ")]
    return element("p", *told)


def _table(rows: Sequence[tuple[str, str]]) -> Element:
    return element(
        "table", *(element("tr", element("th", label), element("td", value)) for label, value in rows)
    )


def _link(address: str, words: str) -> Element:
    return element("a", words, href=address)


def _section(title: str, *content: Element | None) -> Element:
    return element("section", element("h2", title), *content)
