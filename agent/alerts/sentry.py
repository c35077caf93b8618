"""Sentry: one event a transition, grouped by service and kind, with the evidence attached."""

from __future__ import annotations

from dataclasses import dataclass

from agent.alerts.options import HttpOptions
from agent.alerts.sentry_envelope import Dsn
from agent.options import option
from agent.secret import Secret


def _dsn_problem(value: Secret) -> str | None:
    try:
        Dsn.parse(value.reveal())
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class SentryOptions:
    """Which project the events go to, and under which names."""

    dsn: Secret = option(describe="the project's DSN, as Sentry shows it", check=_dsn_problem)
    environment: str | None = option(None, describe='e.g. "production"')
    release: str | None = option(None, describe='the watched software\'s release, e.g. "api@2.4.1"')
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")
