"""HTML and SVG built as a tree of elements: every text in it is escaped, as there is no other way in."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from agent.text import one_line

STYLE = "style"
"""Its content is not escaped, as no reader would take that back; only our own style sheet is ever in it."""
VOID = frozenset({"meta", "br"})
"""Elements without content (html.spec.whatwg.org, section 13.1.2)."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element with its attributes and what is in it; None in it is left out."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Element | str | None, ...]

    def __str__(self) -> str:
        told = "".join(f' {name}="{escape(_safe(value))}"' for name, value in self.attributes)
        begin = f"<{self.tag}{told}>"
        if self.tag in VOID:
            return begin
        inside = "".join(self._inside(child) for child in self.children if child is not None)
        return f"{begin}{inside}</{self.tag}>"

    def _inside(self, child: Element | str) -> str:
        if isinstance(child, Element):
            return str(child)
        return child if self.tag == STYLE else escape(_safe(child))


def element(tag: str, *children: Element | str | None, **attributes: str | float) -> Element:
    """Return an element; `class_` stands for class, an underscore within a name for a dash.

    >>> str(element("p", "a < b", class_="note"))
    '<p class="note">a &lt; b</p>'
    """
    named = ((name.rstrip("_").replace("_", "-"), _value(value)) for name, value in attributes.items())
    return Element(tag, tuple(named), children)


def lines(text: str) -> str:
    """Return text of several lines with everything but its line ends made printable."""
    return "\n".join(one_line(line.expandtabs(4)) for line in text.splitlines())


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}" if value % 1 else f"{value:.0f}"


def _safe(text: str) -> str:
    """Take out what could change how a page reads: control characters, and those that turn its direction."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
