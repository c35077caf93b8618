"""Prometheus Alertmanager, API v2: told to every peer, and again while it fires, as Prometheus does."""

from __future__ import annotations

import base64
import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.alerts.address import host_of, is_loopback, is_web_address, split_url
from agent.alerts.answers import demand_success, scrubbed
from agent.alerts.base import ChannelOptions, DeliveryError, Mistake
from agent.alerts.options import HttpOptions
from agent.alerts.wording import background, facts, first_line, links, next_step, sections
from agent.logs import log_event
from agent.options import Duration, at_least, option
from agent.secret import Secret
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent.alerts.answers import HttpPort, Response
    from agent.alerts.tools import Tools
    from agent.model import Alert

logger = logging.getLogger(__name__)

# https://prometheus.io/docs/alerting/latest/alerts_api/
ALERTS_PATH = "/api/v2/alerts"
ENDS_AFTER_RESENDS = 4
"""An alert ends by itself when so many of our repetitions did not arrive; Prometheus does the same."""
MAX_LABELS = 30
MAX_LABEL_CHARS = 200
MAX_AT_ONCE = 100
"""Alerts of one request."""

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ADVICE = {
    400: "Alertmanager does not accept the alert",
    401: "it wants a user or a token, see username, password and token",
    403: "it does not let this user or token post",
    404: "there is no Alertmanager of 0.16 or later at this address; is there a path before /api/v2?",
}


def _urls_problem(value: tuple[str, ...]) -> str | None:
    return None if value else "at least one URL"


def _labels_problem(value: dict[str, str]) -> str | None:
    sound = all(_LABEL_NAME.fullmatch(name) and name != "alertname" for name in value)
    return None if sound else 'names of letters, digits and "_", other than alertname'


@dataclass(frozen=True, slots=True)
class AlertmanagerOptions(ChannelOptions):
    """Which Alertmanagers are told."""

    urls: tuple[str, ...] = option(describe="every peer of the cluster", check=_urls_problem)
    labels: dict[str, str] = option(
        factory=dict, describe="added to every alert, e.g. for Alertmanager's routes", check=_labels_problem
    )
    username: str | None = option(None, describe="user of basic authentication")
    password: Secret | None = option(None, describe="password of that user")
    token: Secret | None = option(None, describe="bearer token, instead of a user")
    resend_s: Duration = option(
        60.0,
        key="resend",
        describe="how often what fires is told again; it ends by itself after four times this",
        check=at_least(5.0, "at least 5s"),
    )
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")

    def build(self, name: str, tools: Tools) -> AlertmanagerChannel:
        """Return the channel."""
        return AlertmanagerChannel(name, self, tools)

    def mistakes(self, given: Callable[[str], bool]) -> Iterable[Mistake]:  # noqa: ARG002 - an empty one is none
        """Return where urls, user, password and token do not fit."""
        mistake = _mistake_in(self)
        return () if mistake is None else (mistake,)


def _mistake_in(options: AlertmanagerOptions) -> Mistake | None:
    # The words hold no part of an address: somebody may have written a password into it.
    if not all(is_web_address(url) for url in options.urls):
        return Mistake(("urls",), "http(s) URLs", "something else")
    if any("@" in split_url(url).netloc for url in options.urls):
        expected = "URLs without a user in them, see username and password"
        return Mistake(("urls",), expected, "one with a user")
    if options.token and options.username:
        return Mistake(("token",), "either a token, or username and password", "both")
    if bool(options.username) != bool(options.password):
        return Mistake(("password",), "username and password together", "one of them")
    if (options.token or options.password) and any(_in_clear(url) for url in options.urls):
        expected = "https URLs where a password or token is sent (http only to loopback)"
        return Mistake(("urls",), expected, "http")
    return None


def _in_clear(url: str) -> bool:
    parts = split_url(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


class AlertmanagerChannel:
    """Posts to every peer: they share silences and what was notified, but not the alerts.

    An alert has arrived when one peer took it; the others get it with the next repetition.
    """

    def __init__(self, name: str, options: AlertmanagerOptions, tools: Tools) -> None:
        self.name = name
        self.refresh_every_s = options.resend_s
        self._options = options
        self._http: HttpPort = tools.http(options.http)
        self._clock = tools.clock
        self._notes = tools.notes
        self._failing: dict[str, str] = {}

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: Alertmanager has routes of its own."""
        return True

    def send(self, alert: Alert) -> None:
        """Post the alert, or its end. Raises DeliveryError when no peer took it."""
        self._post([self._payload(alert)])

    def refresh(self, alerts: Sequence[Alert]) -> None:
        """Post what still fires. Raises DeliveryError when no peer took it."""
        firing = [self._payload(alert) for alert in alerts if not alert.transition.ends]
        for start in range(0, len(firing), MAX_AT_ONCE):
            self._post(firing[start : start + MAX_AT_ONCE])

    def _payload(self, alert: Alert) -> dict[str, Any]:
        """Return the alert under the labels that its incident was first told by, or it would be another."""
        identity = self._notes.read(self.name, alert.incident_id)
        if "labels" not in identity:
            identity = {"labels": labels(alert, self._options.labels), "since": alert.since_wall_s}
            self._notes.write(self.name, alert.incident_id, identity)
        wall_s = self._clock.now().wall_s
        lasts_s = 0.0 if alert.transition.ends else ENDS_AFTER_RESENDS * self.refresh_every_s
        since_wall_s = min(float(identity["since"]), wall_s)
        return payload(alert, identity["labels"], since_wall_s, wall_s + lasts_s)

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        body = json.dumps(alerts).encode()
        failures = []
        for url in self._options.urls:
            try:
                self._post_to(url, body)
            except DeliveryError as error:
                failures.append(error)
                self._note(url, str(error))
            else:
                self._note(url, "")
        if len(failures) == len(self._options.urls):
            raise _all_failed(failures)

    def _post_to(self, url: str, body: bytes) -> None:
        place = url.rstrip("/").removesuffix(ALERTS_PATH) + ALERTS_PATH
        headers = {"Content-Type": "application/json"} | _login(self._options)
        response = self._http.post(place, body, headers)
        demand_success(response, place, saying=_saying(response, self._options), advice=_ADVICE)

    def _note(self, url: str, why: str) -> None:
        """Log once that one of several peers fails, and once that it takes alerts again."""
        if why == self._failing.get(url, "") or len(self._options.urls) == 1:
            return
        self._failing[url] = why
        word, level = ("delayed", logging.WARNING) if why else ("delivered", logging.INFO)
        why = f"{why}; will keep trying" if why else "takes alerts again"
        log_event(logger, word, level=level, channel=self.name, peer=host_of(url), why=why)


def labels(alert: Alert, extra: Mapping[str, str]) -> dict[str, str]:
    """Return what identifies the alert to Alertmanager: nothing that changes while the incident lives.

    Severity, pids and figures change; they are annotations.
    """
    own = {
        "alertname": f"Leakwatch{alert.event.capitalize()}",
        "service": one_line(alert.service, MAX_NAME_CHARS),
        "host": one_line(alert.host, MAX_NAME_CHARS),
    } | _told_apart_by(alert)
    named = {_name(key): one_line(value, MAX_LABEL_CHARS) for key, value in alert.labels.items()}
    others = [(k, v) for k, v in {**named, **extra}.items() if v and k not in own]
    return own | dict(others[: MAX_LABELS - len(own)])


def _told_apart_by(alert: Alert) -> dict[str, str]:
    """Return the subject, of which a service has one incident at a time; what has a headline has none."""
    rehearsal = {"drill": "true"} if alert.drill else {}
    if alert.headline:
        return rehearsal | {"incident": one_line(alert.incident_id, MAX_NAME_CHARS)}
    return rehearsal | {"subject": str(alert.subject)}


def payload(
    alert: Alert, identity: Mapping[str, str], starts_wall_s: float, ends_wall_s: float
) -> dict[str, Any]:
    """Return one alert of the API; of an end Alertmanager itself tells its receivers."""
    page = {"generatorURL": alert.page_url} if is_web_address(alert.page_url) else {}
    return page | {
        "labels": dict(identity),
        "annotations": {name: text for name, text in _annotations(alert) if text},
        "startsAt": _rfc3339(starts_wall_s, ends_wall_s),
        "endsAt": _rfc3339(ends_wall_s, ends_wall_s),
    }


def _annotations(alert: Alert) -> Iterable[tuple[str, str]]:
    """Yield everything that may change while the incident lives, each fact by its own name."""
    yield from ((_name(fact.label.lower()), fact.value) for fact in (*background(alert), *facts(alert)))
    yield "summary", first_line(alert)
    yield "description", "\n".join(f"{one.title}: {line}" for one in sections(alert) for line in one.lines)
    yield "severity", str(alert.severity)
    yield "transition", str(alert.transition)
    yield "probability", "" if alert.probability is None else f"{alert.probability:.3f}"
    yield "runbook", next_step(alert)
    yield from (("runbook_url", link.address) for link in links(alert) if link.text == "Runbook")


def _name(text: str) -> str:
    """Return a name as Prometheus takes it."""
    name = _NOT_IN_NAMES.sub("_", text[:MAX_NAME_CHARS])
    return name if _LABEL_NAME.fullmatch(name) else f"_{name}"


def _rfc3339(wall_s: float, fallback_s: float) -> str:
    try:
        return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(fallback_s, UTC).isoformat(timespec="milliseconds")


def _login(options: AlertmanagerOptions) -> dict[str, str]:
    if options.token:
        return {"Authorization": f"Bearer {options.token.reveal()}"}
    if options.username and options.password:
        pair = f"{options.username}:{options.password.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _saying(response: Response, options: AlertmanagerOptions) -> str:
    """Return the error that the API tells: a JSON text, or an object with a message."""
    try:
        told = json.loads(response.body)
    except (ValueError, RecursionError):
        return ""
    message = told.get("message", "") if isinstance(told, dict) else told
    hidden = [secret.reveal() for secret in (options.password, options.token) if secret]
    hidden += [header.split()[1] for header in _login(options).values()]
    return scrubbed(message, *hidden) if isinstance(message, str) else ""


def _all_failed(failures: Sequence[DeliveryError]) -> DeliveryError:
    """Return one error of all: it may heal where one of them may, as soon as one of them may."""
    waits = [error.retry_after_s for error in failures if error.retry_after_s is not None]
    return DeliveryError(
        "; ".join(str(error) for error in failures),
        permanent=all(error.permanent for error in failures),
        retry_after_s=min(waits) if len(waits) == len(failures) else None,
    )
