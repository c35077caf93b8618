"""The whole way: the installed command finds programs that nobody prepared, explains them, and tells of them.

One run under the shipped configuration watches a Python program that leaks 700 MB/h and a Node one that leaks
120 MB/h until both are alerted, the Python one is killed, and the daemon is stopped. A second counts as
a minute. What else runs on the machine may be alerted as well: every test asks about its own service only.
"""

from __future__ import annotations

import re
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from endpoints import SECRETS, Endpoints, Event
from installed import InstalledDaemon, LeakingProgram, own_name

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = Path(__file__).parents[2] / "config" / "leakwatch.yaml"
SCALE = 60
FAST_BYTES_PER_HOUR = 700e6
SLOW_BYTES_PER_HOUR = 120e6
RETRY_AFTER_S = 90.0
"""Of the daemon's clock."""
SHOP_SCRIPT, NODE_SCRIPT = "leaky_flask_like.py", "leaky.js"
SHOP, NODE = (Path(own_name(script)).stem for script in (SHOP_SCRIPT, NODE_SCRIPT))
CHANNELS = ("slack", "sentry", "pagerduty")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")


@dataclass(frozen=True, slots=True)
class Story:
    """What one run has left behind."""

    endpoints: Endpoints
    lines: tuple[str, ...]
    exit_code: int
    state_dir: Path
    shop_pid: int

    def line(self, *parts: str) -> str:
        (found,) = [line for line in self.lines if all(part in line for part in parts)]
        return found

    def event(self, service: str, transition: str) -> Event:
        (found,) = [e for e in self.endpoints.events(service) if e.tags["transition"] == transition]
        return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    state_dir, programs = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("programs")
    node = shutil.which("node")
    with ExitStack() as stack:
        endpoints = stack.enter_context(Endpoints())
        endpoints.slack.respond_with(503, {"Retry-After": f"{RETRY_AFTER_S:.0f}"}, times=1)
        shop = stack.enter_context(leaking(sys.executable, SHOP_SCRIPT, FAST_BYTES_PER_HOUR, programs))
        if node:
            stack.enter_context(leaking(node, NODE_SCRIPT, SLOW_BYTES_PER_HOUR, programs))
        config = shutil.copy(SHIPPED, tmp_path_factory.mktemp("config"))
        daemon = stack.enter_context(
            InstalledDaemon(
                ["--config", config, "--state-dir", state_dir, "--time-scale", str(SCALE)], endpoints.environ
            )
        )
        incident = incident_of(daemon.wait_for("LIMIT", f"service={SHOP} ", "severity=critical"))
        wait_delivered(daemon, incident, "worsened", CHANNELS)
        if node:
            slow = incident_of(daemon.wait_for("LIMIT", f"service={NODE} "))
            wait_delivered(daemon, slow, "opened", ("slack", "sentry"))
        shop.kill()
        wait_delivered(daemon, incident, "gone", CHANNELS)
        exit_code = daemon.terminate()
        yield Story(endpoints, tuple(daemon.lines), exit_code, state_dir, shop.pid)


def leaking(interpreter: str, script: str, bytes_per_hour: float, folder: Path) -> LeakingProgram:
    """Start a program that leaks so much in an hour of the daemon's clock."""
    return LeakingProgram(interpreter, script, bytes_per_hour * SCALE / 3600, folder)


def incident_of(line: str) -> str:
    found = re.search(r" incident=([0-9a-f]{8}) ", line)
    assert found is not None
    return found[1]


def wait_delivered(
    daemon: InstalledDaemon, incident: str, transition: str, channels: tuple[str, ...]
) -> None:
    for channel in channels:
        daemon.wait_for("delivered ", f"incident={incident} transition={transition} channel={channel} ")


def fact(message: dict[str, Any], label: str) -> str:
    """Return the value under a label of a Slack message."""
    return under(label, [f["text"] for block in message["blocks"] for f in block.get("fields", ())])


def listed(message: dict[str, Any], title: str) -> str:
    """Return the list under a title of a Slack message."""
    return under(title, [block["text"]["text"] for block in message["blocks"] if "text" in block])


def under(bold: str, texts: list[str]) -> str:
    (found,) = [text for text in texts if text.startswith(f"*{bold}*\n")]
    return found.partition("\n")[2]


def rate_told(message: dict[str, Any]) -> float:
    """Return the bytes an hour that the first line of a Slack message tells."""
    found = re.search(r" (\d+(?:\.\d+)?) MB/h", message["text"])
    assert found is not None, message["text"]
    return float(found[1]) * 1e6


def test_slack_is_told_of_the_python_leak_with_its_true_rate(story: Story) -> None:
    told = {m["text"].partition(f"{SHOP} ")[0]: m for m in story.endpoints.messages(SHOP)}
    opened, worsened = told[""], told["Now critical: "]

    assert rate_told(opened) == pytest.approx(FAST_BYTES_PER_HOUR, rel=0.25)
    assert rate_told(worsened) == pytest.approx(FAST_BYTES_PER_HOUR, rel=0.25)
    assert fact(worsened, "Severity") == "critical, threshold exceeded"
    assert f"pid {story.shop_pid}" in fact(worsened, "Process")
    assert "remember_request" in listed(worsened, "Evidence")
    assert "floor has grown" in listed(worsened, "Why")


@needs_node
def test_slack_is_told_of_the_node_leak_with_its_true_rate(story: Story) -> None:
    opened = story.endpoints.messages(NODE)[-1]

    assert rate_told(opened) == pytest.approx(SLOW_BYTES_PER_HOUR, rel=0.25)
    assert fact(opened, "Severity") == "warning, threshold exceeded"


@pytest.mark.parametrize(
    "service", [pytest.param(SHOP, id="python"), pytest.param(NODE, id="node", marks=needs_node)]
)
def test_growth_above_the_limit_is_told_after_10_to_15_minutes(story: Story, service: str) -> None:
    opened = story.event(service, "opened").body

    assert 600 <= opened["contexts"]["leak"]["age_s"] <= 900
    assert opened["level"] == "warning"


def test_sentry_groups_all_events_of_a_leak_and_each_transition_is_its_own(story: Story) -> None:
    events = story.endpoints.events(SHOP)

    assert [e.tags["transition"] for e in events] == ["opened", "worsened", "gone"]
    assert [e.body["level"] for e in events] == ["warning", "error", "info"]
    assert {tuple(e.body["fingerprint"]) for e in events} == {("leakwatch", SHOP, "heap")}
    assert len({e.tags["incident"] for e in events}) == 1
    assert len({e.body["event_id"] for e in events}) == 3


def test_sentry_gets_the_stacks_of_the_critical_leak_as_attachments(story: Story) -> None:
    critical = story.event(SHOP, "worsened")

    assert critical.body["contexts"]["leak"]["rate_per_hour"] == pytest.approx(FAST_BYTES_PER_HOUR, rel=0.25)
    assert b"remember_request" in critical.attachments["pyspy.json"]
    assert b"remember_request" in critical.attachments["pyspy.txt"]
    assert "smaps.json" in critical.attachments
    assert b"remember_request" in story.event(SHOP, "opened").attachments["pyspy.txt"]


def test_pagerduty_is_paged_once_for_the_critical_leak_and_told_of_its_end(story: Story) -> None:
    key = f"leakwatch-{story.event(SHOP, 'opened').tags['incident']}"
    trigger, resolve = story.endpoints.pages(key)

    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["payload"]["severity"] == "critical"
    assert trigger["payload"]["component"] == SHOP
    assert "remember_request" in str(trigger["payload"]["custom_details"]["Findings"])


@needs_node
def test_pagerduty_hears_nothing_of_a_warning(story: Story) -> None:
    assert story.endpoints.pages(f"leakwatch-{story.event(NODE, 'opened').tags['incident']}") == []


def test_slack_and_sentry_are_told_that_the_process_ended_unhealed(story: Story) -> None:
    last = story.endpoints.messages(SHOP)[-1]

    assert last["text"].startswith("Gone after ")
    assert f"{SHOP} ended (pid {story.shop_pid}) while over its limit" in last["text"]
    assert story.event(SHOP, "gone").tags["severity"] == "critical"


def test_slack_is_left_alone_for_as_long_as_it_asked(story: Story) -> None:
    first, second = story.endpoints.slack.arrived_t_s[:2]
    refused, repeated = story.endpoints.slack.requests[:2]
    delayed = story.line("delayed ", "channel=slack ")

    assert second - first >= RETRY_AFTER_S / SCALE
    assert refused.body == repeated.body
    assert "attempt=1 next=1m30s" in delayed
    assert "503" in delayed


def test_the_log_tells_the_story_in_order(story: Story) -> None:
    incident = story.event(SHOP, "opened").tags["incident"]
    told = [
        line.split()[1] for line in story.lines if f"incident={incident}" in line and "delivered" not in line
    ]

    assert told.count("evidence") == 2
    assert [word for word in told if word not in ("delayed", "evidence")] == [
        "LIMIT",
        "LIMIT",
        "waiting",
        "gone",
    ]
    taken = [line for line in story.lines if " evidence " in line and f"incident={incident} " in line]
    assert any("remember_request" in line for line in taken)
    assert story.lines[0].split()[1] == "started"
    assert story.lines[-1].split()[1] == "stopped"


def test_sigterm_ends_it_with_success(story: Story) -> None:
    assert story.exit_code == 0


def test_no_secret_is_in_the_log_or_in_the_state(story: Story) -> None:
    files = [path for path in story.state_dir.rglob("*") if path.is_file()]
    kept = b"\0".join(path.read_bytes() for path in files) + "\n".join(story.lines).encode()

    assert any(path.name == "pyspy.json" for path in files)
    assert [secret for secret in SECRETS if secret.encode() in kept] == []


def test_the_state_is_for_its_owner_only(story: Story) -> None:
    modes = {path: path.stat().st_mode & 0o077 for path in story.state_dir.rglob("*")}

    assert {path: oct(mode) for path, mode in modes.items() if mode} == {}


def test_without_a_configuration_it_finds_the_leak_and_sends_nothing(tmp_path: Path) -> None:
    """Nothing but a leaking program and the command: no file, no channel, the state in the user's home."""
    with (
        Endpoints() as endpoints,
        leaking(sys.executable, SHOP_SCRIPT, FAST_BYTES_PER_HOUR, tmp_path) as shop,
        InstalledDaemon(
            ["--time-scale", str(SCALE)],
            endpoints.environ | {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)},
        ) as daemon,
    ):
        line = daemon.wait_for("LIMIT", f"service={SHOP} ", "severity=critical")
        evidence = daemon.wait_for("evidence ", f"incident={incident_of(line)} ")
        exit_code = daemon.terminate()
        arrived = [request for receiver in endpoints.every for request in receiver.requests]

    assert f"pid={shop.pid} " in line
    assert "channels=none" in line
    assert "remember_request" in evidence
    assert (tmp_path / "leakwatch" / "state.db").exists()
    assert (exit_code, arrived) == (0, [])
