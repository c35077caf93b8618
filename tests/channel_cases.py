"""Channels of every kind, pointed at a test's own receiver, and the secrets that none may tell.

A new kind is one entry of `HTTP` (it sends through Tools.http) or of `LOCAL` (anything else).
"""

from __future__ import annotations

import gzip
import json
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alert_samples import alert
from datadog_agent import listening
from fakes import FakeClock
from journals import entries_of, fields_of, listening_journal
from mailboxes import PASSWORD, Mailbox, mail_url
from sentry_sdk.envelope import Envelope

from agent.alerts.alertmanager import AlertmanagerOptions
from agent.alerts.apprise import AppriseOptions
from agent.alerts.base import Channel, ChannelOptions, DeliveryError
from agent.alerts.channels import build
from agent.alerts.command import CommandOptions
from agent.alerts.datadog import DatadogOptions
from agent.alerts.dogstatsd import MAX_EVENT_BYTES as MAX_DATADOG_BYTES
from agent.alerts.journal import JournalOptions
from agent.alerts.jsonl import FileOptions
from agent.alerts.message import MAX_DOCUMENT_BYTES
from agent.alerts.notes import MemoryNotes
from agent.alerts.options import HttpOptions
from agent.alerts.pagerduty import MAX_EVENT_BYTES, PagerDutyOptions
from agent.alerts.sentry import SentryOptions
from agent.alerts.slack import SlackOptions
from agent.alerts.tools import Tools
from agent.alerts.webhook import WebhookOptions
from agent.model import Alert, Evidence, Reason
from agent.secret import Secret

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort

PROXY_PASSWORD = "proxyPasswordSecret"
QUICK = HttpOptions(timeout_s=0.2)
PATIENT = HttpOptions(timeout_s=5.0)


@dataclass(frozen=True, slots=True)
class HttpCase:
    """A kind that posts through an HttpPort."""

    options: Callable[[str, HttpOptions], ChannelOptions]
    """The options that point it to a receiver's url."""
    secrets: tuple[str, ...]
    path: str
    content_type: str
    key: Callable[[bytes], str]
    """What the receiver tells one alert sent twice by, read from a body."""
    max_bytes: int
    """What the service takes, by its documentation."""
    measure: Callable[[bytes], int] = len
    """What of a body counts to that limit."""
    welcome: bytes = b"ok"
    """The body of an answer that takes the alert."""
    body_decides: bool = False
    """Whether an answer of 200 without its body says nothing yet."""


@dataclass(frozen=True, slots=True)
class LocalCase:
    """A kind that does not send through an HttpPort."""

    working: Callable[[Path], AbstractContextManager[tuple[ChannelOptions, Callable[[], list[bytes]]]]]
    """Opens a receiver (in a folder of its own): options to reach it, and what arrived so far."""
    broken: Callable[[Path], ChannelOptions]
    """Options with the same secrets that lead nowhere at present."""
    key: Callable[[bytes], str]
    max_bytes: int
    secrets: tuple[str, ...] = ()


def _slack(url: str, http: HttpOptions) -> SlackOptions:
    return SlackOptions(Secret(f"{url}/services/T0SECRET/xoxHookPathSecret"), http)


def _sentry(url: str, http: HttpOptions) -> SentryOptions:
    scheme, _, place = url.partition("://")
    return SentryOptions(
        Secret(f"{scheme}://sentryPublicKeySecret:sentryLegacySecret@{place}/prefix/42"), http=http
    )


def _pagerduty(url: str, http: HttpOptions) -> PagerDutyOptions:
    key, token = Secret("PagerDutyRoutingKeySecret0000000"), Secret("PagerDutyRestTokenSecret")
    return PagerDutyOptions(key, url, api_token=token, api_url=url, http=http)


def _webhook(url: str, http: HttpOptions) -> WebhookOptions:
    headers = {"Authorization": Secret("Bearer hookHeaderSecret")}
    return WebhookOptions(Secret(f"{url}/hooks/hookPathSecret"), Secret("hookSigningSecret"), headers, http)


@contextmanager
def _told_command(folder: Path) -> Iterator[tuple[CommandOptions, Callable[[], list[bytes]]]]:
    script, told = folder / "tell", folder / "told"
    script.write_text(f'#!/bin/sh\ncat >>"{told}"\necho >>"{told}"\n')
    script.chmod(0o700)
    yield CommandOptions((str(script),)), lambda: told.read_bytes().splitlines()


def _failing_command(_: Path) -> CommandOptions:
    return CommandOptions(("/bin/sh", "-c", "exit 75"))


@contextmanager
def _written_file(folder: Path) -> Iterator[tuple[FileOptions, Callable[[], list[bytes]]]]:
    path = folder / "alerts.jsonl"
    yield FileOptions(str(path)), lambda: path.read_bytes().splitlines()


def _file_without_folder(folder: Path) -> FileOptions:
    return FileOptions(str(folder / "missing" / "alerts.jsonl"))


@contextmanager
def _listening_journal(folder: Path) -> Iterator[tuple[JournalOptions, Callable[[], list[bytes]]]]:
    with listening_journal(folder / "journal") as listener:
        yield JournalOptions(str(folder / "journal")), lambda: entries_of(listener)


def _silent_journal(folder: Path) -> JournalOptions:
    return JournalOptions(str(folder / "journal"))


def _alertmanager(url: str, http: HttpOptions) -> AlertmanagerOptions:
    return AlertmanagerOptions((f"{url}/prefix",), token=Secret("AlertmanagerTokenSecret"), http=http)


@contextmanager
def _listening_agent(folder: Path) -> Iterator[tuple[DatadogOptions, Callable[[], list[bytes]]]]:
    with listening("unix", folder) as agent:
        yield (
            DatadogOptions(agent.address),
            lambda: [line for line in agent.lines() if line.startswith(b"_e{")],
        )


def _no_agent(folder: Path) -> DatadogOptions:
    return DatadogOptions(f"unix://{folder}/dsd.socket")


def _aggregation_key(event: bytes) -> str:
    found = re.search(rb"\|k:([^|]+)\|p:", event)
    assert found
    return found[1].decode()


def _delivery(body: bytes) -> str:
    return str(json.loads(body)["delivery"])


def _delivery_field(entry: bytes) -> str:
    return dict(fields_of(entry))["LEAKWATCH_DELIVERY"]


def _event_bytes(body: bytes) -> int:
    return max(len(item.get_bytes()) for item in Envelope.deserialize(gzip.decompress(body)).items)


@contextmanager
def _mailbox(_: Path) -> Iterator[tuple[AppriseOptions, Callable[[], list[bytes]]]]:
    with Mailbox() as mailbox:
        yield AppriseOptions((Secret(mailbox.url),)), lambda: mailbox.raw


def _closed_mailbox(_: Path) -> AppriseOptions:
    return AppriseOptions((Secret(mail_url(1)),))


def _mail_key(mail: bytes) -> str:
    return str(message_from_bytes(mail)["X-Leakwatch-Delivery"])


HTTP: dict[str, HttpCase] = {
    "slack": HttpCase(
        _slack,
        secrets=("xoxHookPathSecret", "T0SECRET"),
        path="/services/T0SECRET/xoxHookPathSecret",
        content_type="application/json; charset=utf-8",
        key=lambda body: str(json.loads(body)["text"]),
        max_bytes=13_200,
        measure=lambda body: len(json.dumps(json.loads(body)["blocks"], ensure_ascii=False)),
    ),
    "sentry": HttpCase(
        _sentry,
        secrets=("sentryPublicKeySecret", "sentryLegacySecret"),
        path="/prefix/api/42/envelope/",
        content_type="application/x-sentry-envelope",
        key=lambda body: str(Envelope.deserialize(gzip.decompress(body)).headers["event_id"]),
        max_bytes=2**20,
        measure=_event_bytes,
    ),
    "pagerduty": HttpCase(
        _pagerduty,
        secrets=("PagerDutyRoutingKeySecret0000000", "PagerDutyRestTokenSecret"),
        path="/v2/enqueue",
        content_type="application/json",
        key=lambda body: str(json.loads(body)["dedup_key"]),
        max_bytes=MAX_EVENT_BYTES,
    ),
    "webhook": HttpCase(
        _webhook,
        secrets=("hookPathSecret", "hookSigningSecret", "hookHeaderSecret"),
        path="/hooks/hookPathSecret",
        content_type="application/json; charset=utf-8",
        key=_delivery,
        max_bytes=MAX_DOCUMENT_BYTES,
    ),
    "alertmanager": HttpCase(
        _alertmanager,
        secrets=("AlertmanagerTokenSecret",),
        path="/prefix/api/v2/alerts",
        content_type="application/json",
        key=lambda body: json.dumps(json.loads(body)[0]["labels"], sort_keys=True),
        max_bytes=64_000,
    ),
}
LOCAL: dict[str, LocalCase] = {
    "apprise": LocalCase(
        _mailbox, _closed_mailbox, key=_mail_key, max_bytes=200_000, secrets=(PASSWORD, "oncall")
    ),
    "command": LocalCase(_told_command, _failing_command, key=_delivery, max_bytes=MAX_DOCUMENT_BYTES),
    "file": LocalCase(_written_file, _file_without_folder, key=_delivery, max_bytes=MAX_DOCUMENT_BYTES),
    "datadog": LocalCase(_listening_agent, _no_agent, key=_aggregation_key, max_bytes=MAX_DATADOG_BYTES),
    "journal": LocalCase(_listening_journal, _silent_journal, key=_delivery_field, max_bytes=2**20),
}

HTTP_KINDS = sorted(HTTP)
LOCAL_KINDS = sorted(LOCAL)


def options_of(kind: str, url: str, http: HttpOptions) -> ChannelOptions:
    return HTTP[kind].options(url, http)


def channel(kind: str, url: str, http: HttpOptions = PATIENT) -> Channel:
    return made_of(kind, options_of(kind, url, http))


def made_of(name: str, options: ChannelOptions) -> Channel:
    return build(name, options, FakeClock(), MemoryNotes())


def over(kind: str, port: HttpPort) -> Channel:
    """A channel whose requests a port of the test's own answers."""
    options = options_of(kind, "https://host.example", PATIENT)
    return options.build(kind, Tools(FakeClock(), lambda _: port, MemoryNotes()))


def failure(kind: str, url: str, http: HttpOptions = PATIENT) -> DeliveryError:
    return failure_of(channel(kind, url, http))


def failure_of(sender: Channel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(alert())
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


def huge_alert() -> Alert:
    """An alert of which everything is far too long, in characters that every format has to escape."""
    text = '<é&"\\\n\x00😀>' * 2000
    many = tuple(f"{number} {text}" for number in range(500))
    return alert(
        service=text,
        host=text,
        process=text,
        command=text,
        limit_source=text,
        note=text,
        labels={line[:200]: text for line in many},
        reasons=tuple(Reason(text, passed=True, text=line) for line in many),
        evidence=Evidence(text, many, many, many),
        pids=tuple(range(1, 100_000)),
        items=many,
        course=tuple((1.8e9 + at, 1e8 + at) for at in range(500)),
    )
