"""Commands beside a daemon that runs: what they leave in the state file is heard at the next tick."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from daemon_rig import DaemonRig, slack
from receiver import Receiver

from agent import status_file
from agent.web.health import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from children import LeakyChild

MB = 10**6


def call(rig: DaemonRig, *arguments: str) -> str:
    """Run a command in a process of its own, as a person does."""
    words = [sys.executable, "-m", "agent", *arguments, "--state-dir", str(rig.state_dir)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def texts(receiver: Receiver, count: int) -> list[str]:
    return [json.dumps(request.json()) for request in receiver.wait_for(count)]


def test_an_incident_is_listed_acknowledged_and_its_story_told_while_the_daemon_runs(
    child: LeakyChild, tmp_path: Path
) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(600)
        rig.leak(child, 600 * MB, 240)
        (limit,) = rig.said("LIMIT")
        incident = limit.pairs["incident"]
        assert incident in call(rig, "incidents")

        call(rig, "ack", incident[:6], "--by", "ana", "--why", "rollback is under way")
        rig.tick()

        assert [one.pairs["why"] for one in rig.said("acknowledged")] == ["by ana: rollback is under way"]
        assert "rollback is under way" in texts(receiver, 2)[1]
        story = json.loads(call(rig, "incidents", incident, "--json"))
        assert [one["alert"]["transition"] for one in story["story"]] == ["opened", "acknowledged"]
        assert [one["deliveries"][0]["state"] for one in story["story"]] == ["sent", "sent"]
        assert rig.daemon is not None
        assert "acknowledged by ana" in call(rig, "incidents")


def test_a_silenced_service_leaks_in_silence_and_is_shown_as_silenced(
    child: LeakyChild, tmp_path: Path
) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        call(rig, "silence", "api", "4h", "--by", "ana")
        rig.run(600)
        rig.leak(child, 600 * MB, 240)

        (limit,) = rig.said("LIMIT")
        assert limit.pairs["channels"] == "none"
        assert "silenced-until=" in limit.line
        assert receiver.requests == []
        assert rig.daemon is not None
        now = rig.clock.now()
        assert to_json(rig.daemon.view(), now)["silences"][0]["by"] == "ana"
        rig.run(60)
        told = status_file.read(rig.state_dir)
        assert told.incidents[0].standing.startswith("silenced until ")

        call(rig, "silence", "api", "--end")
        rig.leak(child, 600 * MB, 240)
        (text,) = texts(receiver, 1)
        assert "silenced until " in text
        assert "meanwhile" in text
