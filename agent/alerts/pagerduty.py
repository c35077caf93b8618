"""PagerDuty: Events API v2, trigger while an incident lives and resolve when it ends."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.alerts.address import url_problem
from agent.alerts.answers import demand_success, scrubbed
from agent.alerts.options import SEVERITIES, HttpOptions
from agent.alerts.wording import background, facts, figures, findings, first_line, next_step, reasons
from agent.options import option
from agent.secret import Secret
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort, Response
    from agent.model import Alert

# https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
ENQUEUE_PATH = "/v2/enqueue"
MAX_SUMMARY_CHARS = 1024
MAX_EVENT_BYTES = 512_000

_ADVICE = {400: "PagerDuty does not accept the event, check routing_key", 403: "the account forbids it"}
_ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")


def _key_problem(value: Secret) -> str | None:
    return None if _ROUTING_KEY.fullmatch(value.reveal()) else "an integration key (32 letters and digits)"


def _severity_problem(value: tuple[str, ...]) -> str | None:
    return None if value and set(value) <= set(SEVERITIES) else 'a list of "warning", "critical"'


def _client_problem(value: str | None) -> str | None:
    return None if value is None else url_problem(value)


@dataclass(frozen=True, slots=True)
class PagerDutyOptions:
    """Which service is paged, and for what."""

    routing_key: Secret = option(describe="the integration key of Events API v2", check=_key_problem)
    url: str = option(
        "https://events.pagerduty.com",
        describe="https://events.eu.pagerduty.com for accounts in the EU",
        check=url_problem,
    )
    severity: tuple[str, ...] = option(
        ("critical",), describe="which severities page; ends are always sent", check=_severity_problem
    )
    client_url: str | None = option(
        None, describe="a page that PagerDuty links to, e.g. a dashboard", check=_client_problem
    )
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")


class PagerDutyChannel:
    """Pages for the severities of its options; what it triggered it also resolves, with the same key."""

    def __init__(self, name: str, options: PagerDutyOptions, http: HttpPort) -> None:
        self.name = name
        self._options = options
        self._http = http

    def wants(self, alert: Alert) -> bool:
        """Return whether it pages, ends a page, or is a rehearsal."""
        return alert.transition.ends or alert.drill or str(alert.severity) in self._options.severity

    def send(self, alert: Alert) -> None:
        """Enqueue the event. Raises DeliveryError."""
        key = self._options.routing_key.reveal()
        url = self._options.url.rstrip("/").removesuffix(ENQUEUE_PATH) + ENQUEUE_PATH
        event = payload(alert, client_url=self._options.client_url)
        response = self._http.post(url, encoded(event, key), {"Content-Type": "application/json"})
        demand_success(response, url, saying=_errors(response, key), advice=_ADVICE)


def payload(alert: Alert, client_url: str | None = None) -> dict[str, Any]:
    """Return the event without its routing key; an end needs nothing but the key of its trigger."""
    if alert.transition.ends:
        return {"event_action": "resolve", "dedup_key": alert.dedup_key}
    event = {
        "event_action": "trigger",
        "dedup_key": alert.dedup_key,
        "client": "leakwatch",
        "payload": {
            "summary": one_line(first_line(alert), MAX_SUMMARY_CHARS),
            "source": one_line(alert.host, MAX_NAME_CHARS) or "unknown",
            "severity": str(alert.severity),
            "timestamp": datetime.fromtimestamp(alert.at_wall_s, UTC).isoformat(),
            "component": one_line(alert.service, MAX_NAME_CHARS),
            "group": "leakwatch",
            "class": str(alert.subject),
            "custom_details": _details(alert),
        },
    }
    return event | ({"client_url": client_url} if client_url else {})


def encoded(event: dict[str, Any], routing_key: str) -> bytes:
    """Return the body; too large a one loses its details, never the page."""
    body = json.dumps({"routing_key": routing_key, **event}).encode()
    if len(body) <= MAX_EVENT_BYTES or "payload" not in event:
        return body
    note = f"left out: the event had {len(body)} bytes, PagerDuty takes {MAX_EVENT_BYTES}"
    short = event | {"payload": event["payload"] | {"custom_details": {"details": note}}}
    return json.dumps({"routing_key": routing_key, **short}).encode()


def _details(alert: Alert) -> dict[str, Any]:
    named = {fact.label: fact.value for fact in (*facts(alert), *background(alert))}
    return named | {
        "Reasons": list(reasons(alert)),
        "Findings": list(findings(alert)),
        "What to do": next_step(alert),
        "Labels": {one_line(k, MAX_NAME_CHARS): one_line(v) for k, v in alert.labels.items()},
        "Figures": figures(alert),
    }


def _errors(response: Response, key: str) -> str:
    """Return the errors of `{"status": ..., "message": ..., "errors": [...]}`, without the key."""
    try:
        answer = json.loads(response.body)
        told = answer.get("errors") or [answer.get("message", "")]
        return scrubbed("; ".join(str(error) for error in told), key)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
