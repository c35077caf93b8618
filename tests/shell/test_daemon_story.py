"""What a leak becomes in Slack: one message with links, and a chart of what the daemon itself has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from children import LeakyChild
from daemon_rig import DaemonRig
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
