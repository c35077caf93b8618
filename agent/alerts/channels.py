"""The channels there are, by the name that the file calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.alerts.pagerduty import PagerDutyChannel, PagerDutyOptions
from agent.alerts.sentry import SentryChannel, SentryOptions
from agent.alerts.slack import SlackChannel, SlackOptions

if TYPE_CHECKING:
    from agent.alerts.base import Channel
    from agent.clock import Clock

ChannelOptions = SlackOptions | SentryOptions | PagerDutyOptions

CHANNEL_OPTIONS: dict[str, type[ChannelOptions]] = {
    "slack": SlackOptions,
    "sentry": SentryOptions,
    "pagerduty": PagerDutyOptions,
}
"""Kind of channel -> what the file may say about it."""


def build(name: str, options: ChannelOptions, clock: Clock) -> Channel:
    """Return the channel of a section of the file; nothing is sent or opened yet."""
    from agent.alerts.http import HttpClient  # noqa: PLC0415 - requests costs memory only where it is used

    http = HttpClient(options.http, clock)
    match options:
        case SlackOptions():
            return SlackChannel(name, options, http)
        case SentryOptions():
            return SentryChannel(name, options, http, clock)
        case PagerDutyOptions():
            return PagerDutyChannel(name, options, http)
