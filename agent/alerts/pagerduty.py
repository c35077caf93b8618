"""PagerDuty: Events API v2, one alert an incident under its key, and change events beside it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from agent.alerts.address import url_problem
from agent.alerts.answers import demand_success, scrubbed
from agent.alerts.base import ChannelOptions
from agent.alerts.options import SEVERITIES, HttpOptions
from agent.alerts.wording import (
    background,
    considerations,
    facts,
    figures,
    findings,
    first_line,
    items,
    links,
    next_step,
)
from agent.model import Event, Transition
from agent.options import option
from agent.secret import Secret
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort, Response
    from agent.alerts.tools import Tools
    from agent.model import Alert

# https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and .../send-change-events/
ENQUEUE_PATH = "/v2/enqueue"
CHANGE_PATH = "/v2/change/enqueue"
MAX_SUMMARY_CHARS = 1024
MAX_EVENT_BYTES = 512_000

_HOSTS = {"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}
_ADVICE = {400: "PagerDuty does not accept the event, check routing_key", 403: "the account forbids it"}
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")

Severity = Literal["info", "warning", "error", "critical"]
"""PagerDuty's own."""


def _key_problem(value: Secret) -> str | None:
    return None if _ROUTING_KEY.fullmatch(value.reveal()) else "an integration key (32 letters and digits)"


def _severity_problem(value: tuple[str, ...]) -> str | None:
    return None if value and set(value) <= set(SEVERITIES) else 'a list of "warning", "critical"'


def _map_problem(value: dict[str, Severity]) -> str | None:
    return None if set(value) <= set(SEVERITIES) else 'a mapping of "warning", "critical" to PagerDuty\'s'


def _address_problem(value: str | None) -> str | None:
    return None if not value else url_problem(value)


@dataclass(frozen=True, slots=True)
class PagerDutyOptions(ChannelOptions):
    """Which service is paged, and for what."""

    routing_key: Secret = option(describe="the integration key of Events API v2", check=_key_problem)
    url: str = option("", describe="another address than the region's", check=_address_problem)
    severity: tuple[str, ...] = option(
        ("critical",), describe="which severities page; ends are always sent", check=_severity_problem
    )
    client_url: str | None = option(
        None, describe="a page that PagerDuty links to, e.g. a dashboard", check=_address_problem
    )
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")
    region: Literal["us", "eu"] = option("us", describe="where the account is")
    severity_map: dict[str, Severity] = option(
        factory=dict, describe="PagerDuty's severity for ours, where it differs", check=_map_problem
    )
    changes: bool = option(default=True, describe="send restarts and new releases as change events")
    api_token: Secret | None = option(
        None, describe="a read-only REST API key: who acknowledges there has acknowledged here"
    )
    api_url: str = option("", describe="another address than the region's REST API", check=_address_problem)
    image_url: str | None = option(
        None, describe="a public https picture to show, e.g. a rendered panel", check=_address_problem
    )

    def build(self, name: str, tools: Tools) -> PagerDutyChannel:
        """Return the channel; with a REST key the one that also listens."""
        if self.api_token:
            from agent.alerts.pagerduty_acks import ListeningPagerDuty  # noqa: PLC0415 - only where it is used

            return ListeningPagerDuty(name, self, tools)
        return PagerDutyChannel(name, self, tools.http(self.http))


class PagerDutyChannel:
    """Triggers, acknowledges and resolves one alert an incident, told apart by the incident's key."""

    takes_changes = True

    def __init__(self, name: str, options: PagerDutyOptions, http: HttpPort) -> None:
        self.name = name
        self._options = options
        self._http = http

    def wants(self, alert: Alert) -> bool:
        """Return whether it pages, follows a page, or is a rehearsal; a change where they are wanted."""
        if alert.event is Event.CHANGE:
            return self._options.changes
        follows = alert.transition.ends or alert.transition is Transition.ACKNOWLEDGED
        return follows or alert.drill or str(alert.severity) in self._options.severity

    def send(self, alert: Alert) -> None:
        """Enqueue the event. Raises DeliveryError."""
        key = self._options.routing_key.reveal()
        path = CHANGE_PATH if alert.event is Event.CHANGE else ENQUEUE_PATH
        url = (self._options.url or _HOSTS[self._options.region]).rstrip("/").removesuffix(
            ENQUEUE_PATH
        ) + path
        body = encoded(payload(alert, self._options), key)
        response = self._http.post(url, body, {"Content-Type": "application/json"})
        token = self._options.api_token
        said = _errors(response, key, token.reveal() if token else "")
        demand_success(response, url, saying=said, advice=_ADVICE)


def payload(alert: Alert, options: PagerDutyOptions) -> dict[str, Any]:
    """Return the event without its routing key; what follows a trigger needs nothing but its key."""
    if alert.event is Event.CHANGE:
        return _filled({"payload": _change(alert), "links": _links(alert)})
    if alert.transition.ends:
        return {"event_action": "resolve", "dedup_key": alert.dedup_key}
    if alert.transition is Transition.ACKNOWLEDGED:
        return {"event_action": "acknowledge", "dedup_key": alert.dedup_key}
    return _filled(
        {
            "event_action": "trigger",
            "dedup_key": alert.dedup_key,
            "client": "leakwatch",
            "client_url": options.client_url or alert.page_url,
            "links": _links(alert),
            "images": _images(alert, options),
            "payload": _problem(alert, options),
        }
    )


def _change(alert: Alert) -> dict[str, Any]:
    return {
        "summary": one_line(first_line(alert), MAX_SUMMARY_CHARS),
        "source": one_line(alert.host, MAX_NAME_CHARS) or "unknown",
        "timestamp": datetime.fromtimestamp(alert.at_wall_s, UTC).isoformat(),
        "custom_details": _details(alert),
    }


def _problem(alert: Alert, options: PagerDutyOptions) -> dict[str, Any]:
    severity = str(alert.severity)
    return _change(alert) | _filled(
        {
            "severity": options.severity_map.get(severity, severity),
            "component": one_line(alert.service, MAX_NAME_CHARS),
            "group": "leakwatch",
            "class": str(alert.event if alert.headline else alert.subject),
        }
    )


def _links(alert: Alert) -> list[dict[str, str]]:
    return [{"href": link.address, "text": link.text} for link in links(alert)]


def _images(alert: Alert, options: PagerDutyOptions) -> list[dict[str, str]]:
    """Return the configured picture: PagerDuty fetches pictures itself and takes none with the event."""
    return [{"src": options.image_url, "alt": one_line(first_line(alert))}] if options.image_url else []


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def encoded(event: dict[str, Any], routing_key: str) -> bytes:
    """Return the body; too large a one loses its details, never the page."""
    body = json.dumps({"routing_key": routing_key, **event}).encode()
    if len(body) <= MAX_EVENT_BYTES or "payload" not in event:
        return body
    note = f"left out: the event had {len(body)} bytes, PagerDuty takes {MAX_EVENT_BYTES}"
    short = event | {"payload": event["payload"] | {"custom_details": {"details": note}}}
    return json.dumps({"routing_key": routing_key, **short}).encode()


def _details(alert: Alert) -> dict[str, Any]:
    named: dict[str, Any] = {fact.label: fact.value for fact in (*facts(alert), *background(alert))}
    lists: dict[str, Any] = {
        "Items": list(items(alert)),
        "Reasons": list(considerations(alert)),
        "Findings": list(findings(alert)),
        "What to do": next_step(alert),
        "Labels": {one_line(k, MAX_NAME_CHARS): one_line(v) for k, v in alert.labels.items()},
        "Figures": {} if alert.headline else figures(alert),
    }
    return named | _filled(lists)


def _errors(response: Response, *secrets: str) -> str:
    """Return the errors of `{"status": ..., "message": ..., "errors": [...]}`, without our secrets."""
    try:
        answer = json.loads(response.body)
        told = answer.get("errors") or [answer.get("message", "")]
        return scrubbed("; ".join(str(error) for error in told), *secrets)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
