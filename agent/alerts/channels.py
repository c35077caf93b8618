"""The channels there are, by the name that the file calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.alerts.tools import Tools
from agent.decode.schema import Kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.alerts.answers import HttpPort
    from agent.alerts.base import Channel, ChannelOptions, Notes
    from agent.alerts.options import HttpOptions
    from agent.clock import Clock

CHANNEL_OPTIONS: Kinds[ChannelOptions] = Kinds(
    "agent.alerts",
    slack="slack.SlackOptions",
    sentry="sentry.SentryOptions",
    pagerduty="pagerduty.PagerDutyOptions",
    webhook="webhook.WebhookOptions",
    command="command.CommandOptions",
    file="jsonl.FileOptions",
    journal="journal.JournalOptions",
    datadog="datadog.DatadogOptions",
    alertmanager="alertmanager.AlertmanagerOptions",
    apprise="apprise.AppriseOptions",
)
"""Kind of channel -> what the file may say about it; only the code of kinds that it names is loaded."""


def build(name: str, options: ChannelOptions, clock: Clock, notes: Notes) -> Channel:
    """Return the channel of a section of the file; nothing is sent or opened yet."""
    return options.build(name, Tools(clock, reaching(clock), notes))


def reaching(clock: Clock) -> Callable[[HttpOptions], HttpPort]:
    """Return what makes a client of options, for channels that decide themselves what they reach."""
    return lambda options: http_client(options, clock)


def http_client(options: HttpOptions, clock: Clock) -> HttpPort:
    """Return what reaches a host by these options."""
    from agent.alerts.http import HttpClient  # noqa: PLC0415 - requests costs memory only where it is used

    return HttpClient(options, clock)
