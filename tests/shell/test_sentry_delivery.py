"""Sentry over a real socket: evidence as attachments, and the limits that it asks for."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import EVIDENCE, alert
from channel_cases import PATIENT, channel, failure, options_of
from fakes import FakeClock
from receiver import Receiver, Request
from sentry_sdk.envelope import Envelope

from agent.alerts.base import DeliveryError
from agent.alerts.channels import build
from agent.alerts.http import HttpClient
from agent.alerts.notes import MemoryNotes
from agent.alerts.sentry import SentryOptions
from agent.alerts.sentry_checkins import SentryCheckIns
from agent.model import Evidence

if TYPE_CHECKING:
    from pathlib import Path


def capture(folder: Path) -> Evidence:
    """Files of every sort that could lie in a capture."""
    (folder / "py-spy.json").write_bytes(b'[{"pid": 4211}]')
    (folder / "smaps.txt").write_bytes(b"[heap] 58 MB\n")
    (folder / "huge.bin").write_bytes(b"")
    os.truncate(folder / "huge.bin", 5_000_001)
    (folder / "link.txt").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    names = ("py-spy.json", "huge.bin", "link.txt", "pipe", "folder", "../outside", "gone.txt", "smaps.txt")
    return Evidence(str(folder), EVIDENCE.gist, (), (*names, "nul\0"))


def sentry_items(request: Request) -> tuple[dict[str, Any], dict[str, bytes]]:
    envelope = Envelope.deserialize(gzip.decompress(request.body))
    event, *files = envelope.items
    assert event.payload.json is not None
    return event.payload.json, {item.headers["filename"]: item.get_bytes() for item in files}


def test_sentry_gets_the_evidence_that_is_still_there_and_never_follows_a_link(tmp_path: Path) -> None:
    with Receiver() as receiver:
        channel("sentry", receiver.url).send(alert(evidence=capture(tmp_path)))
        event, files = sentry_items(receiver.requests[0])

    assert files == {"py-spy.json": b'[{"pid": 4211}]', "smaps.txt": b"[heap] 58 MB\n"}
    assert event["extra"]["Not attached"] == [
        "huge.bin: 5MB is too large",
        "link.txt: Too many levels of symbolic links",
        "pipe: not a regular file",
        "folder: not a regular file",
        "../outside: not in the capture",
        "gone.txt: No such file or directory",
        "nul\\x00: embedded null byte",
    ]


def test_sentry_gets_at_most_ten_files_and_five_megabytes(tmp_path: Path) -> None:
    names = tuple(f"{i}.bin" for i in range(12))
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(600_000))
    with Receiver() as receiver:
        channel("sentry", receiver.url).send(alert(evidence=Evidence(str(tmp_path), files=names)))
        (request,) = receiver.requests
        event, files = sentry_items(request)

    assert list(files) == list(names[:8])
    assert len(request.body) < 6_000_000
    assert event["extra"]["Not attached"] == [
        "2 more files",
        "8.bin: 600kB is too large",
        "9.bin: 600kB is too large",
    ]


def test_a_capture_that_is_gone_holds_no_alert_back(tmp_path: Path) -> None:
    with Receiver() as receiver:
        channel("sentry", receiver.url).send(alert(evidence=Evidence(str(tmp_path / "gone"), files=("a",))))
        event, files = sentry_items(receiver.requests[0])

    assert files == {}
    assert event["extra"]["Not attached"] == ["the capture is no longer there"]


def test_attachments_that_are_refused_as_too_large_are_left_out(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.respond_with(413, times=1)
        channel("sentry", receiver.url).send(alert(evidence=capture(tmp_path)))
        first, second = (sentry_items(request) for request in receiver.requests)

    assert (len(first[1]), len(second[1])) == (2, 0)
    assert first[0]["event_id"] == second[0]["event_id"]
    assert "too large" in second[0]["extra"]["Not attached"][0]


def test_sentrys_rate_limits_hold_on_a_good_answer_too() -> None:
    clock = FakeClock()
    with Receiver() as receiver:
        sender = build("sentry", options_of("sentry", receiver.url, PATIENT), clock, MemoryNotes())
        receiver.respond_with(200, {"X-Sentry-Rate-Limits": "60:error:key"}, times=1)
        sender.send(alert())
        clock.advance(20)
        with pytest.raises(DeliveryError) as caught:
            sender.send(alert(sequence=2))
        assert (caught.value.retry_after_s, len(receiver.requests)) == (40.0, 1)

        clock.advance(40)
        sender.send(alert(sequence=2))
        assert len(receiver.requests) == 2


def test_sentry_without_room_for_attachments_still_gets_the_event(tmp_path: Path) -> None:
    with Receiver() as receiver:
        sender = channel("sentry", receiver.url)
        receiver.respond_with(200, {"X-Sentry-Rate-Limits": "60:attachment:key"}, times=1)
        for _ in range(2):
            sender.send(alert(evidence=capture(tmp_path) if not list(tmp_path.iterdir()) else EVIDENCE))
        first, second = (sentry_items(request) for request in receiver.requests)

    assert (len(first[1]), len(second[1])) == (2, 0)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, 60.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "7", "X-Sentry-Rate-Limits": "90:default;error:organization"}, 90.0),
        ({"X-Sentry-Rate-Limits": "90:transaction:organization"}, 60.0),
    ],
    ids=str,
)
def test_sentrys_429_says_how_long(headers: dict[str, str], wait_s: float) -> None:
    with Receiver() as receiver:
        receiver.respond_with(429, headers)

        assert failure("sentry", receiver.url).retry_after_s == wait_s


def test_the_picture_of_the_growth_is_attached_first(tmp_path: Path) -> None:
    course = tuple((1_800_000_000.0 + 60 * i, 4e8 + 1e6 * i) for i in range(60))
    with Receiver() as receiver:
        channel("sentry", receiver.url).send(alert(evidence=capture(tmp_path), course=course))
        _, files = sentry_items(receiver.requests[0])

    assert list(files) == ["growth.png", "py-spy.json", "smaps.txt"]
    assert files["growth.png"].startswith(b"\x89PNG")


def test_a_limit_that_comes_with_a_refused_attachment_is_kept(tmp_path: Path) -> None:
    with Receiver() as receiver:
        sender = channel("sentry", receiver.url)
        receiver.respond_with(413, {"X-Sentry-Rate-Limits": "60:error:key"}, times=1)
        sender.send(alert(evidence=capture(tmp_path)))
        with pytest.raises(DeliveryError) as caught:
            sender.send(alert(sequence=2))

    assert caught.value.retry_after_s == 60.0


def check_ins(receiver: Receiver) -> tuple[SentryCheckIns, FakeClock]:
    clock, options = FakeClock(), options_of("sentry", receiver.url, PATIENT)
    assert isinstance(options, SentryOptions)
    return SentryCheckIns(replace(options, monitor="leakwatch"), HttpClient(PATIENT, clock)), clock


def test_a_check_in_arrives_where_events_do() -> None:
    with Receiver() as receiver:
        sender, clock = check_ins(receiver)
        sender.beat(clock.now())
        sender.beat(clock.advance(60))
        first, second = receiver.requests
    items = [Envelope.deserialize(gzip.decompress(request.body)).items[0] for request in (first, second)]

    assert (first.path, [item.type for item in items]) == ("/prefix/api/42/envelope/", ["check_in"] * 2)
    assert items[0].get_bytes() != items[1].get_bytes()


def test_check_ins_keep_the_limits_of_monitors_also_with_a_good_answer() -> None:
    with Receiver() as receiver:
        sender, clock = check_ins(receiver)
        receiver.respond_with(200, {"X-Sentry-Rate-Limits": "90:monitor:organization"}, times=1)
        sender.beat(clock.now())
        with pytest.raises(DeliveryError) as caught:
            sender.beat(clock.advance(60))
        sender.beat(clock.advance(30))

        assert (caught.value.retry_after_s, len(receiver.requests)) == (30.0, 2)


def test_a_check_in_that_is_refused_tells_no_key() -> None:
    with Receiver() as receiver:
        sender, clock = check_ins(receiver)
        receiver.respond_with(403, {"X-Sentry-Error": "sentryPublicKeySecret is unknown"})
        with pytest.raises(DeliveryError) as caught:
            sender.beat(clock.now())

    assert "<hidden> is unknown" in str(caught.value)
    assert caught.value.permanent
