"""`leakwatch drill`: a real child leaks, and receivers on loopback are told of it and of its end."""

from __future__ import annotations

import gzip
import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from receiver import Receiver
from sentry_sdk.envelope import Envelope

from agent import statedir
from agent.cli.drill import MISTAKE, command
from agent.clock import SystemClock
from agent.drill.rehearsal import Plan, rehearse
from agent.drill.steps import Grade
from agent.evidence.options import EvidenceOptions
from agent.model import Transition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Alert

SECRETS = ("T0DRILLSECRET", "drillPublicKeySecret", "D0RILLR0UTINGKEYSECRET0000000000")
OLD_DRILLS = ("drill-20200101T000000Z", "drill-20210101T000000Z", "drill-20220101T000000Z")
CHILD_PID = re.compile(r"pid (\d+)")
END_WAIT_MS = 10_000


@dataclass
class World:
    """The three services, and how the drill went."""

    slack: Receiver
    sentry: Receiver
    pagerduty: Receiver
    directory: Path

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def config(self) -> Path:
        sentry = self.sentry.url.replace("http://", f"http://{SECRETS[1]}@")
        text = f"""
channels:
  team: {{type: slack, webhook_url: '{self.slack.url}/services/{SECRETS[0]}'}}
  errors: {{type: sentry, dsn: '{sentry}/42'}}
  page: {{type: pagerduty, routing_key: '{SECRETS[2]}', url: '{self.pagerduty.url}'}}
  later: {{type: slack, webhook_url: '${{NOT_SET:-}}'}}
routes:
- {{services: [nobody], channels: [team, errors, page, later]}}
"""
        path = self.directory / "leakwatch.yaml"
        path.write_text(text)
        return path

    def drill(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command_line = [sys.executable, "-m", "agent", "drill", "--config", str(self.config), *arguments]
        return subprocess.run(command_line, capture_output=True, text=True, check=False)


@contextmanager
def services(directory: Path) -> Iterator[World]:
    with Receiver() as slack, Receiver() as sentry, Receiver() as pagerduty:
        yield World(slack, sentry, pagerduty, directory)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with services(tmp_path_factory.mktemp("drill")) as ready:
        yield ready


@pytest.fixture(scope="module")
def drilled(world: World) -> subprocess.CompletedProcess[str]:
    """One whole drill beside a daemon that holds the lock, after some earlier drills."""
    for name in (*OLD_DRILLS, "mine"):
        (world.state / "drills" / name).mkdir(parents=True)
    world.state.chmod(0o700)
    with statedir.InstanceLock(world.state):
        return world.drill("--state-dir", str(world.state))


def events(receiver: Receiver) -> list[tuple[dict[str, Any], list[str]]]:
    """The events of Sentry with the names of their attachments."""
    read = [Envelope.deserialize(gzip.decompress(request.body)) for request in receiver.requests]
    return [
        (e.get_event() or {}, [i.headers["filename"] for i in e.items if i.type == "attachment"])
        for e in read
    ]


def child_pid(output: str) -> int:
    found = CHILD_PID.search(output)
    assert found is not None, output
    return int(found[1])


def test_a_drill_in_which_everything_works_is_exit_code_0(drilled: subprocess.CompletedProcess[str]) -> None:
    assert (drilled.returncode, drilled.stderr) == (0, ""), drilled.stdout
    assert "everything worked, in " in drilled.stdout


def test_the_table_has_a_row_for_every_step_in_aligned_columns(
    drilled: subprocess.CompletedProcess[str],
) -> None:
    head, *rows = drilled.stdout.splitlines()[:-1]
    at = [head.index(title) for title in ("STEP", "RESULT", "TOOK", "REASON")]

    told = [(row[: at[1]].strip(), row[at[1] : at[2]].strip()) for row in rows]

    assert told == [
        ("channel later", "off"),
        ("child", "started"),
        ("baseline", "quiet"),
        ("growth", "seen"),
        ("verdict", "critical"),
        ("evidence", "taken"),
        *[(f"channel {name}: opened", "delivered") for name in ("team", "errors", "page")],
        ("recovery", "resolved"),
        *[(f"channel {name}: resolved", "delivered") for name in ("team", "errors", "page")],
        ("child's end", "ended"),
    ]
    assert all(row[at[3] - 1] == " " and row[at[3]] != " " for row in rows)


def test_the_verdict_names_the_rate_of_the_real_leak(drilled: subprocess.CompletedProcess[str]) -> None:
    found = re.search(r"critical .* (\d+)MB/h after (\d)m", drilled.stdout)

    assert found is not None
    assert float(found[1]) == pytest.approx(600, rel=0.15)
    assert int(found[2]) <= 3


def test_slack_gets_a_marked_message_and_its_end(
    world: World, drilled: subprocess.CompletedProcess[str]
) -> None:
    opened, resolved = (request.json() for request in world.slack.requests)
    assert drilled.returncode == 0

    assert opened["text"].startswith("[DRILL] leakwatch-drill ")
    assert resolved["text"].startswith("[DRILL] Resolved after ")


def test_sentry_gets_both_transitions_of_one_incident_with_the_evidence(
    world: World, drilled: subprocess.CompletedProcess[str]
) -> None:
    (opened, files), (resolved, _) = events(world.sentry)
    assert drilled.returncode == 0

    assert [event["tags"]["drill"] for event in (opened, resolved)] == ["yes", "yes"]
    assert [event["tags"]["transition"] for event in (opened, resolved)] == ["opened", "resolved"]
    assert opened["tags"]["incident"] == resolved["tags"]["incident"]
    assert opened["event_id"] != resolved["event_id"]
    assert {"pyspy.txt", "smaps.json"} <= set(files)


def test_pagerduty_gets_a_trigger_and_a_resolve_with_the_same_key(
    world: World, drilled: subprocess.CompletedProcess[str]
) -> None:
    trigger, resolve = (request.json() for request in world.pagerduty.requests)
    assert drilled.returncode == 0

    assert [trigger["event_action"], resolve["event_action"]] == ["trigger", "resolve"]
    assert trigger["payload"]["summary"].startswith("[DRILL] ")
    assert trigger["dedup_key"] == resolve["dedup_key"]


def test_alerts_carry_the_time_they_were_sent_and_not_that_of_the_fast_clock(
    world: World, drilled: subprocess.CompletedProcess[str]
) -> None:
    assert drilled.returncode == 0
    now_s = SystemClock().now().wall_s

    assert all(now_s - 300 < event["timestamp"] <= now_s for event, _ in events(world.sentry))


def test_the_stacks_of_the_child_name_what_leaks(
    world: World, drilled: subprocess.CompletedProcess[str]
) -> None:
    assert drilled.returncode == 0
    (stacks,) = (world.state / "drills").glob("drill-*/*/pyspy.txt")

    assert "leak_as_told" in stacks.read_text()
    assert stacks.stat().st_mode & 0o077 == 0


def test_only_the_newest_three_drills_are_kept_and_nothing_else_is_touched(
    world: World, drilled: subprocess.CompletedProcess[str]
) -> None:
    assert drilled.returncode == 0

    kept = sorted(path.name for path in (world.state / "drills").iterdir())

    assert kept[:2] == list(OLD_DRILLS[1:])
    assert len(kept) == 4
    assert "mine" in kept
    assert sorted(path.name for path in world.state.iterdir()) == ["drills", "lock"]


def test_the_child_is_gone_after_the_drill(drilled: subprocess.CompletedProcess[str]) -> None:
    assert not Path(f"/proc/{child_pid(drilled.stdout)}").exists()


def test_no_secret_and_no_colour_is_printed_into_a_file(drilled: subprocess.CompletedProcess[str]) -> None:
    assert not [secret for secret in SECRETS if secret in drilled.stdout + drilled.stderr]
    assert "\x1b" not in drilled.stdout


def test_what_does_not_work_is_a_row_with_its_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    chosen = [word for name in ("team", "page", "later") for word in ("--channel", name)]

    with services(tmp_path) as world:
        world.pagerduty.respond_with(404)
        done = world.drill("--json", "--state-dir", str(no_folder), *chosen)

    told = json.loads(done.stdout)
    failed = {step["step"]: step["reason"] for step in told["steps"] if step["grade"] == "failed"}
    assert (done.returncode, told["ok"]) == (1, False)
    assert failed == {
        "channel later": "webhook_url is empty: NOT_SET is not set",
        "evidence": f"state directory {no_folder}: File exists",
        "channel page: opened": f"127.0.0.1:{world.pagerduty.port} answered 404 Not Found",
    }
    assert [request.json()["text"][:7] for request in world.slack.requests] == ["[DRILL]", "[DRILL]"]
    assert len(world.pagerduty.requests) == 1
    assert world.sentry.requests == []
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_drill_that_is_ended_in_the_middle_leaves_no_child(number: signal.Signals, tmp_path: Path) -> None:
    command_line = [sys.executable, "-m", "agent", "drill", "--state-dir", str(tmp_path)]
    with subprocess.Popen(
        command_line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as drill:
        assert drill.stdout is not None
        line = next(line for line in drill.stdout if line.startswith("child "))
        child = os.pidfd_open(child_pid(line))

        drill.send_signal(number)

        ended = select.poll()
        ended.register(child, select.POLLIN)
        assert ended.poll(END_WAIT_MS), "the child still runs"
        os.close(child)
        drill.stdout.read()
    assert drill.returncode != 0


class Remembering:
    """A channel that keeps what it is told."""

    name = "kept"

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def wants(self, _: Alert) -> bool:
        return False

    def send(self, alert: Alert) -> None:
        self.alerts.append(alert)


def plan(tmp_path: Path, channel: Remembering) -> Plan:
    return Plan(
        {channel.name: channel}, "here", SystemClock(), tmp_path, EvidenceOptions(), no_evidence="not now"
    )


def test_a_drill_that_is_broken_off_takes_back_what_it_has_told(tmp_path: Path) -> None:
    channel = Remembering()

    with closing(rehearse(plan(tmp_path, channel))) as steps:
        next(step for step in steps if step.step == "channel kept: opened")

    opened, resolved = channel.alerts
    assert (opened.transition, resolved.transition) == (Transition.OPENED, Transition.RESOLVED)
    assert opened.drill
    assert resolved.drill
    assert opened.dedup_key == resolved.dedup_key


def test_a_child_that_dies_too_early_is_a_failed_step(tmp_path: Path) -> None:
    channel = Remembering()

    with closing(rehearse(plan(tmp_path, channel))) as steps:
        os.kill(child_pid(next(steps).reason), signal.SIGKILL)
        last = list(steps)[-1]

    assert (last.step, last.grade) == ("baseline", Grade.FAILED)
    assert last.reason.startswith("the child is gone: ")
    assert channel.alerts == []


def test_a_child_that_dies_after_the_alert_is_still_told_to_be_over(tmp_path: Path) -> None:
    channel = Remembering()

    with closing(rehearse(plan(tmp_path, channel))) as steps:
        pid = child_pid(next(steps).reason)
        next(step for step in steps if step.step == "channel kept: opened")
        os.kill(pid, signal.SIGKILL)
        failed = [step.step for step in steps if step.grade is Grade.FAILED]

    assert failed == ["recovery", "child's end"]
    assert [alert.transition for alert in channel.alerts] == [Transition.OPENED, Transition.RESOLVED]


def test_a_mistake_in_the_file_is_exit_code_2_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "leakwatch.yaml"
    file.write_text("poll_intervall: 10s\n")

    result = CliRunner().invoke(command, ["--config", str(file)])

    assert result.exit_code == MISTAKE
    assert f"{file}:1" in result.stderr


def test_a_channel_that_is_not_configured_is_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "leakwatch.yaml"
    file.write_text("channels:\n  team: {type: slack, webhook_url: 'http://127.0.0.1:9/x'}\n")

    result = CliRunner().invoke(command, ["--config", str(file), "--channel", "taem"])

    assert result.exit_code == MISTAKE
    assert result.stderr == 'no channel "taem" is configured (there are: team)\n'
