"""Sentry's cron monitor as a heartbeat: it raises the alarm when leakwatch stays away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.alerts.answers import retry_after_s
from agent.alerts.base import DeliveryError
from agent.alerts.sentry import demand_arrival
from agent.alerts.sentry_envelope import Dsn, check_in_envelope, identifier, quiet, sent_at

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort
    from agent.alerts.sentry import SentryOptions
    from agent.model import Instant

MARGIN_MINUTES = 5
"""So late a check-in may be before the monitor counts it as missed."""


class SentryCheckIns:
    """Checks in at the monitor that the options name; the monitor is made by the first check-in."""

    def __init__(self, options: SentryOptions, http: HttpPort) -> None:
        self._options = options
        self._dsn = Dsn.parse(options.dsn.reveal())
        self._http = http
        self._from_t_s = float("-inf")

    def beat(self, now: Instant) -> None:
        """Say that all is well. Raises DeliveryError, also while Sentry has asked to be left alone."""
        if now.t_s < self._from_t_s:
            raise DeliveryError("Sentry asked for a pause", retry_after_s=self._from_t_s - now.t_s)
        body = check_in_envelope(check_in(self._options, now), sent_at(now.wall_s))
        response = self._http.post(self._dsn.envelope_url, body, self._dsn.headers())
        limits = quiet(response.headers.get("x-sentry-rate-limits", ""))
        self._from_t_s = now.t_s + limits.check_ins_s
        demand_arrival(response, self._dsn, max(limits.check_ins_s, retry_after_s(response) or 0.0))


def check_in(options: SentryOptions, now: Instant) -> dict[str, Any]:
    """Return one check-in: a heartbeat is a single one that says "ok"."""
    found: dict[str, Any] = {
        "check_in_id": identifier(f"leakwatch:{options.monitor}:{now.wall_s}"),
        "monitor_slug": options.monitor,
        "status": "ok",
        "monitor_config": {
            "schedule": {"type": "interval", "value": 1, "unit": "minute"},
            "checkin_margin": MARGIN_MINUTES,
            "timezone": "UTC",
        },
    }
    return found | ({"environment": options.environment} if options.environment else {})
