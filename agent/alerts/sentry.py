"""Sentry: one event a transition, grouped by service and kind, with the evidence attached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from agent.alerts import chart
from agent.alerts.answers import demand_success, retry_after_s, scrubbed
from agent.alerts.attachments import NONE, Attachment, Attachments, read_attachments
from agent.alerts.base import ChannelOptions, DeliveryError
from agent.alerts.options import HttpOptions
from agent.alerts.sentry_envelope import Dsn, envelope, identifier, quiet, sent_at
from agent.alerts.wording import (
    background,
    considerations,
    facts,
    figures,
    findings,
    first_line,
    items,
    next_step,
    release,
)
from agent.model import Event, State
from agent.options import option
from agent.secret import Secret
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.alerts.answers import HttpPort, Response
    from agent.alerts.base import Beat
    from agent.alerts.tools import Tools
    from agent.clock import Clock
    from agent.model import Alert

BARE_429_WAIT_S = 60.0
"""What a 429 without any header means (https://develop.sentry.dev/sdk/expected-features/rate-limiting/)."""
MAX_TAG_KEY_CHARS = 32
MAX_TAG_VALUE_CHARS = 199
MAX_RELEASE_CHARS = 200
MAX_LABELS = 30
"""Of the process's labels as tags; an event holds 1 MiB in all."""

_LEVELS = {State.WARNING: "warning", State.CRITICAL: "error"}
_REFUSED = Attachments((), ("the server refused the event with its attachments as too large",))
_NOT_IN_TAG_KEYS = re.compile(r"[^A-Za-z0-9_.:-]")
_ADVICE = {
    401: "the DSN is not accepted, check dsn",
    403: "the DSN is not accepted, check dsn",
    404: "there is no such project, check dsn",
    413: "the event is too large for this server",
}


_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")


def _slug_problem(value: str) -> str | None:
    return None if _SLUG.fullmatch(value) else "a monitor's slug of a-z, 0-9, - and _, 50 characters at most"


def _dsn_problem(value: Secret) -> str | None:
    try:
        Dsn.parse(value.reveal())
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class SentryOptions(ChannelOptions):
    """Which project the events go to, and under which names."""

    dsn: Secret = option(describe="the project's DSN, as Sentry shows it", check=_dsn_problem)
    environment: str | None = option(None, describe='e.g. "production"')
    release: str | None = option(
        None, describe='the watched software\'s release, e.g. "api@2.4.1"; else its label'
    )
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")
    monitor: str | None = option(
        None,
        describe="slug of a cron monitor that leakwatch checks in at while it polls",
        check=_slug_problem,
    )

    def build(self, name: str, tools: Tools) -> SentryChannel:
        """Return the channel."""
        return SentryChannel(name, self, tools.http(self.http), tools.clock)

    def check_ins(self, http: Callable[[HttpOptions], HttpPort]) -> Beat | None:
        """Return the cron monitor, where one is named."""
        if not self.monitor:
            return None
        from agent.alerts.sentry_checkins import SentryCheckIns  # noqa: PLC0415 - only where it is used

        return SentryCheckIns(self, http(self.http))


class SentryChannel:
    """Sends to one project; it keeps still while the project's rate limits ask for it."""

    def __init__(self, name: str, options: SentryOptions, http: HttpPort, clock: Clock) -> None:
        self.name = name
        self._options = options
        self._dsn = Dsn.parse(options.dsn.reveal())
        self._http = http
        self._clock = clock
        self._events_from_t_s = 0.0
        self._attachments_from_t_s = 0.0

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: which severities become events is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Send the event with the evidence that still exists. Raises DeliveryError."""
        now = self._clock.now()
        if now.t_s < self._events_from_t_s:
            left_s = self._events_from_t_s - now.t_s
            raise DeliveryError("Sentry asked for a pause", retry_after_s=left_s)
        files = NONE if now.t_s < self._attachments_from_t_s else _attachments(alert)
        response = self._post(alert, files)
        if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and files.taken:
            response = self._post(alert, _REFUSED)
        self._settle(response)

    def _post(self, alert: Alert, files: Attachments) -> Response:
        event = payload(alert, self._options, files.left_out)
        body = envelope(event, sent_at(self._clock.now().wall_s), files.taken)
        response = self._http.post(self._dsn.envelope_url, body, self._dsn.headers())
        self._heed(response)
        return response

    def _heed(self, response: Response) -> None:
        """Remember the limits, which come with answers of any status."""
        now, limits = self._clock.now(), quiet(response.headers.get("x-sentry-rate-limits", ""))
        self._events_from_t_s = max(self._events_from_t_s, now.t_s + limits.events_s)
        self._attachments_from_t_s = max(self._attachments_from_t_s, now.t_s + limits.attachments_s)

    def _settle(self, response: Response) -> None:
        """Judge the answer. Raises DeliveryError."""
        limits = quiet(response.headers.get("x-sentry-rate-limits", ""))
        wait_s = max(limits.events_s, retry_after_s(response) or 0.0)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait_s = wait_s or BARE_429_WAIT_S
        demand_arrival(response, self._dsn, wait_s)


def demand_arrival(response: Response, dsn: Dsn, wait_s: float) -> None:
    """Return when Sentry has taken it. Raises DeliveryError without the keys of the DSN."""
    said = scrubbed(response.headers.get("x-sentry-error", ""), dsn.public_key, dsn.secret_key)
    demand_success(response, dsn.envelope_url, saying=said, advice=_ADVICE, wait_s=wait_s or None)


def _attachments(alert: Alert) -> Attachments:
    """Return the picture and the files of the capture."""
    files, picture = read_attachments(alert.evidence), chart.png(alert)
    if picture is None:
        return files
    return files._replace(taken=(Attachment(chart.NAME, picture), *files.taken))


def event_id(alert: Alert) -> str:
    """Return 32 hex digits that are the same whenever this transition is sent."""
    return identifier(f"leakwatch:{alert.incident_id}:{alert.sequence}")


def payload(alert: Alert, options: SentryOptions, left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the event (https://develop.sentry.dev/sdk/data-model/event-payloads/)."""
    line = first_line(alert)
    event = {
        "event_id": event_id(alert),
        "timestamp": alert.at_wall_s,
        "platform": "other",
        "logger": "leakwatch",
        "level": _level(alert),
        "logentry": {"message": line, "formatted": line},
        "server_name": one_line(alert.host, MAX_NAME_CHARS),
        "fingerprint": _fingerprint(alert),
        "tags": _tags(alert),
        "contexts": {} if alert.headline else {"leak": figures(alert), "watched process": _watched(alert)},
        "extra": _extra(alert, left_out),
    }
    software = options.release or one_line(release(alert), MAX_RELEASE_CHARS)
    named = {"environment": options.environment, "release": software}
    return event | {key: value for key, value in named.items() if value}


def _level(alert: Alert) -> str:
    calm = alert.transition.ends or alert.event is Event.CHANGE
    return "info" if calm else _LEVELS.get(alert.severity, "info")


def _fingerprint(alert: Alert) -> list[str]:
    """One issue a service and kind, one for all storms and so on; a rehearsal never joins a real one."""
    about = (
        [str(alert.event)]
        if alert.headline
        else [one_line(alert.service, MAX_NAME_CHARS), str(alert.subject)]
    )
    return ["leakwatch", *about, "drill"] if alert.drill else ["leakwatch", *about]


def _tags(alert: Alert) -> dict[str, str]:
    labels = dict(list(alert.labels.items())[:MAX_LABELS])
    tags = labels | {
        "service": alert.service,
        "subject": "" if alert.headline else str(alert.subject),
        "kind": alert.kind,
        "event": str(alert.event),
        "severity": str(alert.severity),
        "transition": str(alert.transition),
        "incident": alert.incident_id,
        "drill": "yes" if alert.drill else "",
    }
    return {
        _tag_key(key): one_line(value, MAX_TAG_VALUE_CHARS) for key, value in tags.items() if key and value
    }


def _tag_key(key: str) -> str:
    return _NOT_IN_TAG_KEYS.sub("_", key)[:MAX_TAG_KEY_CHARS]


def _watched(alert: Alert) -> dict[str, Any]:
    return {
        "pid": alert.pid,
        "name": one_line(alert.process, MAX_NAME_CHARS),
        "command": one_line(alert.command),
        "age_s": figures(alert)["age_s"],
    }


def _extra(alert: Alert, left_out: tuple[str, ...]) -> dict[str, Any]:
    named: dict[str, Any] = {fact.label: fact.value for fact in (*facts(alert), *background(alert))}
    return named | {
        key: value
        for key, value in {
            "Items": list(items(alert)),
            "Reasons": list(considerations(alert)),
            "Findings": list(findings(alert)),
            "What to do": next_step(alert),
            "Not attached": list(left_out),
        }.items()
        if value
    }
