"""Channels of every kind, pointed at a test's own server, and the secrets that none may tell."""

from __future__ import annotations

import traceback

import pytest
from alert_samples import alert
from fakes import FakeClock

from agent.alerts.base import Channel, DeliveryError
from agent.alerts.channels import CHANNEL_OPTIONS, build
from agent.alerts.notes import MemoryNotes
from agent.alerts.options import HttpOptions
from agent.alerts.pagerduty import PagerDutyOptions
from agent.alerts.sentry import SentryOptions
from agent.alerts.slack import SlackOptions
from agent.secret import Secret

KINDS = sorted(CHANNEL_OPTIONS)
SECRETS = {
    "slack": ("xoxHookPathSecret", "T0SECRET"),
    "sentry": ("sentryPublicKeySecret", "sentryLegacySecret"),
    "pagerduty": ("PagerDutyRoutingKeySecret0000000",),
}
PROXY_PASSWORD = "proxyPasswordSecret"
QUICK = HttpOptions(timeout_s=0.2)
PATIENT = HttpOptions(timeout_s=5.0)


def options_of(kind: str, url: str, http: HttpOptions) -> SlackOptions | SentryOptions | PagerDutyOptions:
    if kind == "slack":
        return SlackOptions(Secret(f"{url}/services/T0SECRET/xoxHookPathSecret"), http)
    if kind == "sentry":
        scheme, _, place = url.partition("://")
        dsn = f"{scheme}://sentryPublicKeySecret:sentryLegacySecret@{place}/prefix/42"
        return SentryOptions(Secret(dsn), http=http)
    return PagerDutyOptions(Secret(*SECRETS["pagerduty"]), url, http=http)


def channel(kind: str, url: str, http: HttpOptions = PATIENT) -> Channel:
    return build(kind, options_of(kind, url, http), FakeClock(), MemoryNotes())


def failure(kind: str, url: str, http: HttpOptions = PATIENT) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel(kind, url, http).send(alert())
    return caught.value


def full_text(error: BaseException) -> str:
    """All that a careless handler could print of an error, causes included."""
    return "".join([str(error), repr(error), *traceback.format_exception(error), repr(error.__context__)])


def outcome(sender: Channel) -> str:
    try:
        sender.send(alert())
    except DeliveryError as error:
        return "permanent" if error.permanent else "retry"
    return "arrived"
