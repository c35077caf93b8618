"""What to do about an alert, and the section of the guide that says how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.address import is_web_address
from agent.model import Event, Kind, Subject
from agent.options import option

if TYPE_CHECKING:
    from agent.model import Alert

GUIDE = "docs/guide.md"
"""Where the sections are, unless the configuration names another place."""

_OF_EVENT = {
    Event.STORM: "look for what they have in common, a deployment or a client first, and fix that",
    Event.WATCHER: "ask leakwatch itself on that host: leakwatch status, then its log",
    Event.CHANGE: "",
}
_OF_SUBJECT = {
    Subject.HEAP: "compare two captures for what grew, then decide between a restart before it is full "
    "and a fix of the code that the top stack names",
    Subject.SHARED: "look for files, mappings or shared memory that are opened and not released",
    Subject.THREADS: "look at the stacks of the capture for threads that all wait in one place",
    Subject.FDS: "look at the descriptors by class for what is opened and not closed",
    Subject.CHILDREN: "look with ps at what the children are: zombies were not waited for, others do not end",
    Subject.HEAP_PERCENT: "check whether the limit fits the load; raise it or restart before the kill",
    Subject.COLLECTIONS: "check whether the heap is too small for the live data or garbage is made too fast",
}
_OF_KIND: dict[str, str] = {
    Kind.NATIVE: "look outside of the runtime's heap: buffers, compression, image and C libraries",
    Kind.ALLOCATOR: "compare the runtime's heap with what is resident; let the allocator give memory back",
    Kind.FILES: "look for files that are mapped and not unmapped",
    Kind.SHARED_MEMORY: "look for segments and memfds that are created and not removed",
    Kind.THREADS: _OF_SUBJECT[Subject.THREADS],
}
"""More telling than the subject's, where what grows is known."""
_SECTIONS: dict[str, str] = {Kind.DESCRIPTORS: Subject.FDS}
"""Kinds whose section is that of the subject."""


def _address_problem(value: str) -> str | None:
    return None if not value or is_web_address(value) else "an http or https URL"


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Where the links of alerts lead; without them an alert names the section and links nowhere."""

    runbook: str = option(
        "", describe="address of your copy of docs/guide.md; #runbook-KIND is added", check=_address_problem
    )
    page: str = option(
        "",
        describe="address of leakwatch's page, or of a dashboard, as readers reach it",
        check=_address_problem,
    )


def advice(alert: Alert) -> str:
    """Return what to do now, in half a sentence; empty where there is nothing to do."""
    if alert.transition.ends:
        return ""
    if alert.event in _OF_EVENT:
        return _OF_EVENT[alert.event]
    return _OF_KIND.get(alert.kind, _OF_SUBJECT[alert.subject])


def link(alert: Alert) -> str:
    """Return where that is described: the configured address, or the guide's path, with the section."""
    return f"{(alert.runbook_url or GUIDE).partition('#')[0]}#runbook-{_section(alert)}"


def _section(alert: Alert) -> str:
    if alert.event in _OF_EVENT:
        return str(alert.event)
    return _SECTIONS.get(alert.kind, alert.kind) or str(alert.subject)
