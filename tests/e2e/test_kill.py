"""kill -9 at any moment: every incident still reaches every channel, under one key, and nothing twice.

One story of a leak (opened, critical, ended) is told by seven lives of the daemon on one state directory.
All but the last are killed at moments that LEAKWATCH_KILL_SEED decides: in the middle of the growth, just
after an alert was recorded, while a receiver has an alert and has not answered, while evidence is taken.
The clock runs so fast that a busy machine may let a message wait for what is a minute there: a later one
tells it then.
"""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from endpoints import Endpoints, NotingReceiver
from installed import InstalledDaemon, LeakingProgram, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHIPPED = Path(__file__).parents[2] / "config" / "leakwatch.yaml"
SEED = int(os.environ.get("LEAKWATCH_KILL_SEED", "7"))
SCALE = 120
BYTES_PER_HOUR = 700e6
SCRIPT = "leaky_flask_like.py"
SERVICE = Path(own_name(SCRIPT)).stem
CHANNELS = ("slack", "sentry", "pagerduty")
STORY = {"opened": rf"{SERVICE} exceeds", "worsened": "Now critical: ", "gone": "Gone after "}
"""The transitions in their order, and how Slack hears of each."""

_ENDS = {("gone", "critical")}
SEVERITIES = (
    {("opened", "warning"), ("worsened", "critical")} | _ENDS,
    {("opened", "critical")} | _ENDS,
    {("worsened", "critical")} | _ENDS,  # what an incident opened with was told by the message after it
    {("opened", "warning")} | _ENDS,
    _ENDS,
)


@dataclass(slots=True)
class Tale:
    """A leaking program, the receivers, and the lives of the daemon so far."""

    endpoints: Endpoints
    program: LeakingProgram
    state_dir: Path
    chance: random.Random
    lines: list[str] = field(default_factory=list)
    """Of all lives that are over."""
    kills: list[str] = field(default_factory=list)
    """The moments of the kills, for people."""

    def live(self, until: Callable[[InstalledDaemon], str]) -> None:
        """Let the daemon live until it is killed; `until` does that and says when it was."""
        arguments = ["--config", SHIPPED, "--state-dir", self.state_dir, "--time-scale", str(SCALE)]
        with InstalledDaemon(arguments, self.endpoints.environ) as daemon:
            self.kills.append(until(daemon))
        self.lines += daemon.lines

    def kill_after_line(self, daemon: InstalledDaemon, *parts: str, within_s: float) -> str:
        """Kill soon after the daemon said this."""
        daemon.wait_for(*parts)
        delay_s = self.chance.uniform(0.0, within_s)
        daemon.kill_after(delay_s)
        return f"{delay_s * 1000:.0f} ms after {' '.join(parts)}"

    def kill_at_arrival(
        self, daemon: InstalledDaemon, names: tuple[str, ...], then: Callable[[], None] = lambda: None
    ) -> str:
        """Kill while one of these receivers has something and has not answered; `then` is done before."""
        name = self.chance.choice(names)
        receiver: NotingReceiver = getattr(self.endpoints, name)
        receiver.on_arrival = lambda _: daemon.kill()
        then()
        daemon.wait_killed()
        receiver.on_arrival = lambda _: None
        return f"before {name} answered"

    def recorded(self, where: str) -> list[tuple[str, str, str]]:
        """Return incident, transition and channel of the alerts in the state; no daemon may run."""
        with closing(sqlite3.connect(self.state_dir / "state.db")) as state:
            rows = state.execute(f"SELECT alert, channel FROM deliveries WHERE {where}").fetchall()  # noqa: S608 - ours
        alerts = [(json.loads(text), channel) for text, channel in rows]
        return [(a["incident_id"], a["transition"], c) for a, c in alerts if a["service"] == SERVICE]

    def sent(self, channel: str) -> list[str]:
        """Return the transitions that a channel took, in order; a later one tells what had to wait."""
        return [t for _, t, c in self.recorded("state = 'sent' ORDER BY sequence") if c == channel]

    @property
    def incident(self) -> str:
        (found,) = {e.tags["incident"] for e in self.endpoints.events(SERVICE)}
        return found


@pytest.fixture(scope="module")
def tale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tale]:
    with ExitStack() as stack:
        endpoints = stack.enter_context(Endpoints())
        per_s = BYTES_PER_HOUR * SCALE / 3600
        program = stack.enter_context(
            LeakingProgram(sys.executable, SCRIPT, per_s, tmp_path_factory.mktemp("program"))
        )
        tale = Tale(endpoints, program, tmp_path_factory.mktemp("state"), random.Random(SEED))  # noqa: S311 - moments
        try:
            tell(tale)
        finally:
            print(f"LEAKWATCH_KILL_SEED={SEED}:", *tale.kills, *tale.lines, sep="\n  ")  # noqa: T201 - shown on failure
        yield tale


def tell(tale: Tale) -> None:
    limit = ("LIMIT", f"service={SERVICE} ")
    tale.live(lambda d: tale.kill_after_line(d, "started ", within_s=3.0))
    tale.live(lambda d: tale.kill_after_line(d, *limit, within_s=0.05))
    tale.endpoints.sentry.respond_with(503, {"Retry-After": "30"}, times=2)
    tale.live(lambda d: tale.kill_at_arrival(d, ("slack", "sentry")))
    # A line is lost where the kill fell between the record and the line: the record decides what to await.
    critical = tale.recorded("json_extract(alert, '$.severity') = 'critical'")
    said = ("restored ",) if critical else (*limit, "severity=critical")
    tale.live(lambda d: tale.kill_after_line(d, *said, within_s=0.5))
    tale.live(lambda d: end_of_program(tale, d))
    tale.live(lambda d: tale.kill_after_line(d, "started ", within_s=0.8))
    gone = tale.recorded("json_extract(alert, '$.transition') = 'gone'")
    known = {incident for incident, _, _ in tale.recorded("1")}  # a receiver may not have heard of it yet
    ends = [(incident, "gone", channel) for incident in known for channel in CHANNELS]
    unsent = tale.recorded("state = 'pending' ORDER BY sequence") if gone else ends
    last = {(incident, channel): transition for incident, transition, channel in unsent}
    tale.live(lambda d: last_life(d, last))


def end_of_program(tale: Tale, daemon: InstalledDaemon) -> str:
    daemon.wait_for("restored ")
    return tale.kill_at_arrival(daemon, CHANNELS, then=tale.program.kill)


def last_life(daemon: InstalledDaemon, last: dict[tuple[str, str], str]) -> str:
    """Wait for what each channel is to hear last: that may tell what waited before it, too."""
    daemon.wait_for("started ")
    for (incident, channel), transition in last.items():
        daemon.wait_for("delivered ", f"incident={incident} transition={transition} channel={channel} ")
    assert daemon.terminate() == 0
    return "by SIGTERM"


def told_once(messages: list[Any]) -> list[Any]:
    """Return what is left when repeats of one message are taken out, in the order of arrival."""
    return [m for at, m in enumerate(messages) if m not in messages[:at]]


def test_the_whole_story_of_one_incident_is_recorded(tale: Tale) -> None:
    story = told_once([transition for _, transition, _ in tale.recorded("1 ORDER BY sequence")])

    assert story in (["opened", "worsened", "gone"], ["opened", "gone"])
    assert all(tale.sent(channel)[-1] == "gone" for channel in CHANNELS)


def test_sentry_hears_the_story(tale: Tale) -> None:
    events = tale.endpoints.events(SERVICE)
    story = told_once([e.tags["transition"] for e in events])

    assert [t for t in STORY if t in story] == story  # refused attempts are in it, too
    assert set(tale.sent("sentry")) <= set(story)
    assert {(e.tags["transition"], e.tags["severity"]) for e in events} in SEVERITIES
    assert {tuple(e.body["fingerprint"]) for e in events} == {("leakwatch", SERVICE, "heap")}
    assert len({e.tags["incident"] for e in events}) == 1


def test_a_repeat_at_sentry_has_the_event_id_of_the_first(tale: Tale) -> None:
    events = tale.endpoints.events(SERVICE)

    assert len({e.body["event_id"] for e in events}) == len({e.tags["transition"] for e in events})


def test_slack_hears_the_same_story(tale: Tale) -> None:
    texts = told_once([m["text"] for m in tale.endpoints.messages(SERVICE)])
    story = [t for text in texts for t, words in STORY.items() if re.match(words, text)]

    assert len(story) == len(texts)
    assert [t for t in STORY if t in story] == told_once(story)
    assert set(tale.sent("slack")) <= set(story)


def test_pagerduty_is_triggered_and_resolved_under_one_key(tale: Tale) -> None:
    pages = tale.endpoints.pages(f"leakwatch-{tale.incident}")
    triggered = ["trigger"] if set(tale.sent("pagerduty")) & {"opened", "worsened"} else []

    assert told_once([p["event_action"] for p in pages]) in (["trigger", "resolve"], [*triggered, "resolve"])
    assert {p["payload"]["component"] for p in pages if "payload" in p} <= {SERVICE}


def test_nothing_is_left_undelivered(tale: Tale) -> None:
    assert tale.recorded("state NOT IN ('sent', 'merged')") == []


def test_what_was_marked_as_delivered_is_never_sent_again(tale: Tale) -> None:
    told = [
        re.search(r"incident=(\S+) transition=(\S+) channel=(\S+)", line)
        for line in tale.lines
        if " delivered " in line
    ]
    keys = [found.groups() for found in told if found]

    assert len(keys) == len(set(keys))


def test_a_new_life_takes_up_history_and_incidents(tale: Tale) -> None:
    words = [line.split()[1] for line in tale.lines]
    restored = [line for line in tale.lines if line.split()[1] == "restored"]

    assert words.count("started") == len(tale.kills) == 7
    assert [line for line in restored if "incidents=0" not in line]
