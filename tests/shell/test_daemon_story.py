"""What a daemon tells as a whole: a leak as one Slack message with its chart, and that it polls."""

from __future__ import annotations

import gzip
import subprocess
import sys
from typing import TYPE_CHECKING

from children import LeakyChild
from daemon_rig import DaemonRig
from receiver import Receiver
from sentry_sdk.envelope import Envelope
from slack_server import CHANNEL_ID, TOKEN, SlackServer

if TYPE_CHECKING:
    from pathlib import Path

MB = 10**6


def test_a_leak_is_one_message_with_links_and_its_course_as_a_picture(tmp_path: Path) -> None:
    with SlackServer() as slack, LeakyChild() as child:
        bot = {"token": TOKEN, "channel": CHANNEL_ID, "api_url": f"{slack.url}/api"}
        links = {"runbook": "https://wiki.example/guide", "page": "https://web-3.example/"}
        api = {"match": {"pid": child.pid}, "labels": {"release": "api@2.4.1"}}
        with DaemonRig(tmp_path, {"api": api}, channels={"slack": bot}, links=links) as rig:
            rig.run(3600)
            rig.leak(child, 600 * MB, 240)

    (message,) = slack.messages
    told = str(message.blocks)
    assert "release api@2.4.1" in told
    assert "https://wiki.example/guide#runbook-" in told
    assert "https://web-3.example/" in told
    assert 1 <= len(slack.replies(message)) == len(slack.files)
    assert all(file.content.startswith(b"\x89PNG") for file in slack.files.values())
    assert {file.thread_ts for file in slack.files.values()} == {message.ts}


def test_a_daemon_checks_in_at_its_monitor_once_it_has_polled(tmp_path: Path) -> None:
    with Receiver() as sentry, LeakyChild() as child:
        channel = {"dsn": f"http://key@127.0.0.1:{sentry.port}/42", "monitor": "leakwatch-web-3"}
        with DaemonRig(tmp_path, {"api": child.pid}, channels={"sentry": channel}) as rig:
            rig.clock.rests("heartbeat-check-in-sentry")
            assert sentry.requests == []
            rig.run(120)
            (request, *_) = sentry.wait_for(1)

    (item,) = Envelope.deserialize(gzip.decompress(request.body)).items
    assert item.type == "check_in"
    assert b'"monitor_slug": "leakwatch-web-3"' in item.get_bytes()


def test_what_draws_is_not_loaded_before_the_first_picture() -> None:
    script = "import sys, agent.bootstrap; print('PIL' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout == "False\n"
