"""The one page of a capture or an incident: HTML that opens from disk, loads nothing and runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent import __version__
from agent.alerts.first_line import first_line
from agent.model import State
from agent.report import chart, sections
from agent.report.markup import Element, element
from agent.report.style import CSS, POLICY
from agent.report.told import number, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.model import Alert

MAX_TITLE_CHARS = 200


class Excerpt(NamedTuple):
    """The beginning of a file that people read."""

    name: str
    content: str


def page(
    summary: Mapping[str, Any],
    alert: Alert | None,
    *,
    excerpts: Sequence[Excerpt] = (),
    story: Sequence[Alert] = (),
    base: str = "",
) -> bytes:
    """Return the page of a capture, by what `evidence.json` holds and the alert that it was taken for.

    `summary` may be empty where nothing was taken, and damaged: what cannot be read of it is left out.
    `base` leads from the page to the capture's files, "" where they lie beside it.
    """
    title = headline(summary, alert)[:MAX_TITLE_CHARS]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", CSS),
    )
    parts = (
        _header(summary, alert),
        *_of_alert(alert),
        *_grounds(summary, alert),
        sections.next_steps(summary, alert),
        sections.missing(summary, alert),
        sections.story(story),
        sections.files(summary, base),
        sections.excerpts(excerpts),
        sections.identity(summary, alert),
        element("p", f"leakwatch {__version__}. Times are UTC.", class_="faint"),
    )
    body = element("body", element("main", *parts))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n".encode()


def headline(summary: Mapping[str, Any], alert: Alert | None) -> str:
    """Return what a person reads first."""
    if alert is not None:
        return first_line(alert)
    process = summary.get("process")
    name = text(process, "name") or "a process"
    return f"Capture of {name} (pid {number(text(process, 'key').partition('-')[0])})"


def _header(summary: Mapping[str, Any], alert: Alert | None) -> Element:
    kind, badge = "", "capture"
    if alert is not None:
        over = alert.transition.ends
        kind = "calm" if over else "critical" if alert.severity is State.CRITICAL else "warning"
        badge = f"{alert.transition}" if over else f"{alert.severity} · {alert.transition}"
    return element(
        "header",
        element("span", badge, class_="badge"),
        element("h1", headline(summary, alert)),
        element("p", sections.who(summary, alert), class_="faint"),
        class_=kind,
    )


def _grounds(summary: Mapping[str, Any], alert: Alert | None) -> tuple[Element | None, ...]:
    """Return what was found and why it is thought to be a leak, beside each other where there are both."""
    both = (sections.found(summary, alert), sections.why(alert))
    return both if None in both else (element("div", *both, class_="two"),)


def _of_alert(alert: Alert | None) -> tuple[Element | None, ...]:
    if alert is None:
        return ()
    drawn = chart.pictures(alert)
    growth = element("section", element("h2", "Growth"), *drawn) if drawn else None
    return sections.tiles(alert), growth
