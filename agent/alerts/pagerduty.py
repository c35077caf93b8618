"""PagerDuty: Events API v2, trigger while an incident lives and resolve when it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.alerts.address import url_problem
from agent.alerts.options import SEVERITIES, HttpOptions
from agent.options import option
from agent.secret import Secret

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
