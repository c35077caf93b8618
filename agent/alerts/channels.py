"""The channels there are, by the name that the file calls them."""

from __future__ import annotations

from agent.alerts.pagerduty import PagerDutyOptions
from agent.alerts.sentry import SentryOptions
from agent.alerts.slack import SlackOptions

ChannelOptions = SlackOptions | SentryOptions | PagerDutyOptions

CHANNEL_OPTIONS: dict[str, type[ChannelOptions]] = {
    "slack": SlackOptions,
    "sentry": SentryOptions,
    "pagerduty": PagerDutyOptions,
}
"""Kind of channel -> what the file may say about it."""
