"""An alert as the body of a message, in HTML and in plain text, cut between its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.alerts.wording import background, facts, first_line, links, sections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.wording import Fact
    from agent.model import Alert


def html_body(alert: Alert, limit_chars: int, *, with_title: bool) -> str:
    """Return simple HTML that mail programs and chats understand: lines, lists, bold, links."""
    return _joined(_html_parts(alert, with_title=with_title), limit_chars)


def text_body(alert: Alert, limit_chars: int, *, with_title: bool) -> str:
    """Return the same as plain text."""
    return _joined(_text_parts(alert, with_title=with_title), limit_chars)


def _joined(parts: Iterator[str], limit_chars: int) -> str:
    """Return the parts that fit, a line each, the first ones; never half a part."""
    told: list[str] = []
    room = limit_chars
    for part in parts:
        room -= len(part) + 1
        if room < 0:
            break
        told.append(part)
    return "\n".join(told)


def _html_parts(alert: Alert, *, with_title: bool) -> Iterator[str]:
    if with_title:
        yield f"<p><b>{_escaped(first_line(alert))}</b></p>"
    yield from map(_html_fact, facts(alert))
    for section in sections(alert):
        lines = "".join(f"<li>{_escaped(line)}</li>" for line in section.lines)
        yield f"<p><b>{_escaped(section.title)}</b></p><ul>{lines}</ul>"
    if links(alert):
        shown = (f'<a href="{_escaped(link.address)}">{_escaped(link.text)}</a>' for link in links(alert))
        yield f"<p>{' | '.join(shown)}</p>"
    yield from map(_html_fact, background(alert))


def _html_fact(fact: Fact) -> str:
    return f"<b>{_escaped(fact.label)}:</b> {_escaped(fact.value)}<br>"


def _text_parts(alert: Alert, *, with_title: bool) -> Iterator[str]:
    if with_title:
        yield f"{first_line(alert)}\n"
    yield from map(_text_fact, facts(alert))
    for section in sections(alert):
        yield "\n".join(["", f"{section.title}:", *(f"- {line}" for line in section.lines)])
    if links(alert):
        yield "\n".join(["", *(f"{link.text}: {link.address}" for link in links(alert))])
    yield ""
    yield from map(_text_fact, background(alert))


def _text_fact(fact: Fact) -> str:
    return f"{fact.label}: {fact.value}"


def _escaped(text: str) -> str:
    from html import escape  # noqa: PLC0415 - with all its entities, for those who have Apprise: it loads them too

    return escape(text)
