"""Slack: one Block Kit message a transition, through an incoming webhook."""

from __future__ import annotations

from dataclasses import dataclass

from agent.alerts.address import url_problem
from agent.alerts.options import HttpOptions
from agent.options import option
from agent.secret import Secret


def _webhook_problem(value: Secret) -> str | None:
    return url_problem(value.reveal())


@dataclass(frozen=True, slots=True)
class SlackOptions:
    """Where the messages go."""

    webhook_url: Secret = option(describe="the incoming webhook's URL", check=_webhook_problem)
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")
