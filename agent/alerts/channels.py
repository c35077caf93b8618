"""The channels there are, by the name that the file calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.alerts.alertmanager import AlertmanagerChannel, AlertmanagerOptions
from agent.alerts.apprise import AppriseChannel, AppriseOptions
from agent.alerts.command import CommandChannel, CommandOptions
from agent.alerts.datadog import DatadogChannel, DatadogOptions
from agent.alerts.journal import JournalChannel, JournalOptions
from agent.alerts.jsonl import FileChannel, FileOptions
from agent.alerts.pagerduty import PagerDutyOptions
from agent.alerts.sentry import SentryChannel, SentryOptions
from agent.alerts.slack import SlackOptions
from agent.alerts.tools import Tools
from agent.alerts.webhook import WebhookChannel, WebhookOptions

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort
    from agent.alerts.base import Channel, Notes
    from agent.alerts.options import HttpOptions
    from agent.clock import Clock

ChannelOptions = (
    SlackOptions
    | SentryOptions
    | PagerDutyOptions
    | WebhookOptions
    | CommandOptions
    | FileOptions
    | JournalOptions
    | DatadogOptions
    | AlertmanagerOptions
    | AppriseOptions
)

CHANNEL_OPTIONS: dict[str, type[ChannelOptions]] = {
    "slack": SlackOptions,
    "sentry": SentryOptions,
    "pagerduty": PagerDutyOptions,
    "webhook": WebhookOptions,
    "command": CommandOptions,
    "file": FileOptions,
    "journal": JournalOptions,
    "datadog": DatadogOptions,
    "alertmanager": AlertmanagerOptions,
    "apprise": AppriseOptions,
}
"""Kind of channel -> what the file may say about it."""


def build(name: str, options: ChannelOptions, clock: Clock, notes: Notes) -> Channel:
    """Return the channel of a section of the file; nothing is sent or opened yet."""
    return build_with(name, options, Tools(clock, lambda http: http_client(http, clock), notes))


def build_with(name: str, options: ChannelOptions, tools: Tools) -> Channel:  # noqa: C901, PLR0911 - one a kind
    """Return the same, made of other tools."""
    match options:
        case SlackOptions():
            from agent.alerts.slack_bot import slack_channel  # noqa: PLC0415 - and all that Slack alone needs

            return slack_channel(name, options, tools)
        case SentryOptions():
            return SentryChannel(name, options, tools.http(options.http), tools.clock)
        case PagerDutyOptions():
            from agent.alerts.pagerduty_acks import pagerduty_channel  # noqa: PLC0415 - as for Slack

            return pagerduty_channel(name, options, tools)
        case WebhookOptions():
            return WebhookChannel(name, options, tools.http(options.http), tools.clock)
        case CommandOptions():
            return CommandChannel(name, options)
        case FileOptions():
            return FileChannel(name, options)
        case JournalOptions():
            return JournalChannel(name, options)
        case DatadogOptions():
            return DatadogChannel(name, options, tools.clock)
        case AlertmanagerOptions():
            return AlertmanagerChannel(name, options, tools)
        case AppriseOptions():
            return AppriseChannel(name, options, tools.notes)


def http_client(options: HttpOptions, clock: Clock) -> HttpPort:
    """Return what reaches a host by these options."""
    from agent.alerts.http import HttpClient  # noqa: PLC0415 - requests costs memory only where it is used

    return HttpClient(options, clock)
