"""Datadog: an event and a service check a transition, to the Agent's DogStatsD; gauges go beside it."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.base import ChannelOptions, DeliveryError
from agent.alerts.datagrams import Datagrams, explain, parse_address
from agent.alerts.dogstatsd import Event as DatadogEvent
from agent.alerts.dogstatsd import ServiceCheck, check_line, event_line, packed, tag_list
from agent.alerts.wording import background, facts, first_line, links, sections
from agent.model import Event, State, Transition
from agent.options import option
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.alerts.tools import Tools
    from agent.clock import Clock
    from agent.model import Alert

OLDEST_EVENT_S = 18 * 3600.0
"""Datadog takes no event that is older (https://docs.datadoghq.com/api/latest/events/)."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,98}[A-Za-z0-9_]")
_TAG_KEY = re.compile(r"[A-Za-z][\w\-/.]{0,99}")
_QUIET = (Transition.UPDATED, Transition.REMINDED, Transition.ACKNOWLEDGED)
_OF_A_SERVICE = (Event.LEAK, Event.THRESHOLD)


def _address_problem(value: str) -> str | None:
    try:
        parse_address(value)
    except ValueError as error:
        return str(error)
    return None


def _prefix_problem(value: str) -> str | None:
    return None if _PREFIX.fullmatch(value) else 'a name of letters, digits, "_" and "." such as "leakwatch"'


def _tags_problem(value: dict[str, str]) -> str | None:
    sound = all(_TAG_KEY.fullmatch(key) and text for key, text in value.items())
    return None if sound else "names that begin with a letter, each with a value"


@dataclass(frozen=True, slots=True)
class DatadogOptions(ChannelOptions):
    """Which Agent is told, under which names."""

    address: str = option(
        "udp://127.0.0.1:8125",
        describe="where the Agent's DogStatsD listens: udp://, unix:// or unixstream://",
        check=_address_problem,
    )
    prefix: str = option("leakwatch", describe="what every metric's name begins with", check=_prefix_problem)
    tags: dict[str, str] = option(factory=dict, describe="sent with everything", check=_tags_problem)
    per_process: bool = option(
        default=False, describe="gauges of each process with its pid, not the highest of a service"
    )

    def build(self, name: str, tools: Tools) -> DatadogChannel:
        """Return the channel."""
        return DatadogChannel(name, self, tools.clock)


class DatadogChannel:
    """Hands events and service checks to the Agent, which passes them on.

    The Agent does not answer: delivered means that a socket on this host took them, and for another
    host over UDP that they were sent.
    """

    takes_changes = True

    def __init__(self, name: str, options: DatadogOptions, clock: Clock) -> None:
        self.name = name
        self._options = options
        self._clock = clock

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what is told of which service is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Send the event and the service check. Raises DeliveryError, never a permanent one."""
        address = parse_address(self._options.address)
        told = lines(alert, self._options, self._clock.now().wall_s)
        try:
            with closing(Datagrams(address)) as ours:
                for payload in packed(told, address.most_bytes):
                    ours.send(payload)
        except OSError as error:
            why = explain(error, address)
        else:
            return
        raise DeliveryError(why)


def lines(alert: Alert, options: DatadogOptions, wall_s: float) -> list[bytes]:
    """Return the event and, for what concerns one service, its service check."""
    title = first_line(alert)
    event = DatadogEvent(
        title=title,
        text="\n".join(_text(alert)),
        at_wall_s=alert.at_wall_s if abs(wall_s - alert.at_wall_s) < OLDEST_EVENT_S else None,
        host=one_line(alert.host, MAX_NAME_CHARS),
        key=alert.dedup_key,
        priority="low" if alert.drill or alert.transition in _QUIET else "normal",
        source="leakwatch",
        alert_type=_alert_type(alert),
        tags=tag_list(_event_tags(alert, options)),
    )
    told = [event_line(event)]
    if alert.event in _OF_A_SERVICE:
        told.append(check_line(_check(alert, options, title, wall_s)))
    return told


def service_tags(
    service: str, labels: Mapping[str, str], options: DatadogOptions
) -> Iterable[tuple[str, str]]:
    """Yield what every line about a service is tagged with: few values, and none that a restart changes."""
    yield "service", one_line(service, MAX_NAME_CHARS)
    yield from options.tags.items()
    yield from labels.items()


def _check(alert: Alert, options: DatadogOptions, message: str, wall_s: float) -> ServiceCheck:
    """Return the state of one subject of a service: another one of it may be well, or not."""
    status = 0 if alert.transition.ends else {State.CRITICAL: 2, State.WARNING: 1}.get(alert.severity, 0)
    subject = ("subject", str(alert.subject))
    return ServiceCheck(
        name=f"{options.prefix}.leak",
        status=status,
        at_wall_s=wall_s,
        host=one_line(alert.host, MAX_NAME_CHARS),
        message=message,
        tags=tag_list([subject, *_rehearsal(alert), *service_tags(alert.service, alert.labels, options)]),
    )


def _event_tags(alert: Alert, options: DatadogOptions) -> Iterable[tuple[str, str]]:
    yield "severity", str(alert.severity)
    yield "subject", str(alert.subject)
    yield "kind", alert.kind
    yield "transition", str(alert.transition)
    yield "incident", one_line(alert.incident_id, MAX_NAME_CHARS)
    yield from _rehearsal(alert)
    yield from service_tags(alert.service, alert.labels, options)


def _rehearsal(alert: Alert) -> list[tuple[str, str]]:
    return [("drill", "true")] if alert.drill else []


def _alert_type(alert: Alert) -> str:
    if alert.transition is Transition.RESOLVED:
        return "success"
    if alert.transition is Transition.GONE or alert.event is Event.CHANGE:
        return "info"
    return "error" if alert.severity is State.CRITICAL else "warning"


def _text(alert: Alert) -> Iterable[str]:
    """Yield the lines of the event: what matters most first, as the end of a long text is cut."""
    yield from (f"{fact.label}: {fact.value}" for fact in facts(alert))
    for section in sections(alert):
        yield from ("", f"{section.title}:", *(f"- {line}" for line in section.lines))
    yield from ("", *(f"{fact.label}: {fact.value}" for fact in background(alert)))
    yield from (f"{link.text}: {link.address}" for link in links(alert))
