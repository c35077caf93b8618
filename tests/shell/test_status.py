"""`leakwatch status`, as a person calls it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from agent import status_file
from agent.cli.status import command
from agent.clock import SystemClock
from agent.model import Event, Instant, State, Subject
from agent.statedir import LOCK_NAME, InstanceLock
from agent.status_file import IncidentLine, ParkedDelivery, WatchedProcess
from agent.web.health import ChannelHealth, HealthView, SilenceHealth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory that is in use."""
    with InstanceLock(tmp_path):
        yield tmp_path


def tell(
    state: Path,
    *,
    incidents: tuple[IncidentLine, ...] = (),
    parked: tuple[ParkedDelivery, ...] = (),
    watching: int = 1,
    ago_s: float = 0.0,
    warnings_open: int = 0,
    silences: tuple[SilenceHealth, ...] = (),
) -> None:
    now = SystemClock().now()
    now = Instant(now.t_s - ago_s, now.wall_s - ago_s)
    errors = sum(1 for _ in parked)
    view = HealthView(
        version="0.1.0",
        started_t_s=now.t_s - 11_400.0,
        interval_s=10.0,
        last_tick_t_s=now.t_s,
        tick_s=0.012,
        ticks=1140,
        warnings_open=warnings_open,
        criticals_open=0,
        channels=(ChannelHealth("slack", pending=2, parked=errors, delivered=4, last_error=None),),
        silences=silences,
    )
    processes = [
        WatchedProcess("api", 4000 + n, "python3", 448_000_000 + n, 1_000_000_000, State.SOUND, None)
        for n in range(watching)
    ]
    status_file.write(
        state,
        view,
        now,
        watching=processes,
        incidents=incidents,
        parked=parked,
        dropped=12,
        denied=3,
        config_path="",
    )


def ask(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--state-dir", str(state), *arguments])


def test_a_healthy_daemon_is_exit_code_0(state: Path) -> None:
    tell(state)

    result = ask(state)

    assert result.exit_code == 0
    assert f"leakwatch 0.1.0 is running (pid {os.getpid()}) since " in result.output
    assert "(3h10m): healthy\n" in result.output
    assert "every 10s, took 12ms; 1140 so far" in result.output
    assert "watching 1 process of 1 service; 12 more left out" in result.output
    assert "; 3 may not be read at all" in result.output
    assert "api      4000  python3  448MB  45% of 1GB  -     -     sound" in result.output
    assert "incidents open: none" in result.output
    assert "  slack: 4 delivered, 2 pending" in result.output


def test_why_growth_was_no_leak_is_told_beneath_the_processes(state: Path) -> None:
    told = "a full collection took back 95% of the 60MB grown in 12m: a lazy collector, not a leak"
    tell(state)
    known = status_file.read(state)
    status_file.write(
        state,
        known.view,
        known.written,
        watching=[replace(one, disproof=told) for one in known.watching],
        incidents=(),
        parked=(),
        dropped=0,
        denied=0,
        config_path="",
    )

    assert f"\n  api 4000: {told}\n" in ask(state).output


def test_open_incidents_are_a_table_and_exit_code_1(state: Path) -> None:
    since = SystemClock().now().wall_s - 3600.0
    line = IncidentLine(
        "7f3a", "api", Subject.HEAP, State.WARNING, since, Event.LEAK, "/captures/7f3a", 0.968, "native"
    )
    tell(state, incidents=(line,), warnings_open=1)

    result = ask(state)

    assert result.exit_code == 1
    assert "incidents open: 1" in result.output
    row = next(text for text in result.output.splitlines() if text.startswith("  7f3a"))
    assert row.split()[:8] == ["7f3a", "api", "heap", "native", "leak", "warning", "97", "%"]
    assert row.endswith("(60m)  /captures/7f3a")


def test_silences_and_why_nobody_hears_of_an_incident_are_shown(state: Path) -> None:
    now = SystemClock().now()
    line = IncidentLine(
        "7f3a",
        "api",
        Subject.HEAP,
        State.WARNING,
        now.wall_s - 60,
        Event.LEAK,
        "",
        standing="acknowledged by ana",
    )
    tell(state, incidents=(line,), silences=(SilenceHealth("api-*", now.wall_s + 7230.0, "ana"),))

    output = ask(state).output

    assert next(text for text in output.splitlines() if "7f3a" in text).endswith("  acknowledged by ana")
    assert "\nsilenced: api-* until " in output
    assert "(2h left) by ana\n" in output


def test_parked_alerts_are_told_with_the_reason_and_exit_code_1(state: Path) -> None:
    tell(
        state, parked=(ParkedDelivery("7f3a", "slack", "403\nfrom host"), ParkedDelivery("11", "old", "gone"))
    )

    result = ask(state)

    assert result.exit_code == 1
    assert "    parked 7f3a: 403\\x0afrom host" in result.output
    assert "  old: parked 11: gone" in result.output


def test_of_many_processes_the_largest_are_shown(state: Path) -> None:
    tell(state, watching=42)

    output = ask(state).output

    assert "watching 42 processes of 1 service" in output
    assert " 4041 " in output
    assert " 4031 " not in output
    assert "  and 32 more" in output


def test_a_daemon_that_has_fallen_silent_is_exit_code_1(state: Path) -> None:
    tell(state, ago_s=300.0)

    result = ask(state)

    assert result.exit_code == 1
    assert "it has told nothing for 5m: it hangs" in result.output


def test_nobody_running_is_exit_code_3(tmp_path: Path) -> None:
    tell(tmp_path)

    result = ask(tmp_path)

    assert result.exit_code == 3
    assert f"leakwatch is not running (nobody uses {tmp_path})" in result.output


def test_json_of_nobody_running(tmp_path: Path) -> None:
    assert json.loads(ask(tmp_path, "--json").stdout) == {"running": False, "state_dir": str(tmp_path)}


def test_json_holds_all_that_was_told(state: Path) -> None:
    tell(state)

    told = json.loads(ask(state, "--json").stdout)

    assert told["running"] is True
    assert told["status"] == "healthy"
    assert told["watching"][0]["state"] == "sound"
    assert told["view"]["ticks"] == 1140


def test_a_daemon_that_has_told_nothing_yet_is_exit_code_2(state: Path) -> None:
    result = ask(state)

    assert result.exit_code == 2
    assert f"leakwatch is running (pid {os.getpid()}), but " in result.stderr
    assert "status.json.gz: not written yet" in result.stderr


def test_what_an_earlier_daemon_told_is_not_taken_for_this_one(state: Path) -> None:
    tell(state)
    (state / LOCK_NAME).write_text("1\n")

    result = ask(state, "--json")

    assert result.exit_code == 2
    assert "leakwatch is running (pid 1) and has told nothing yet" in json.loads(result.stdout)["why"]


def test_the_file_names_the_state_directory_also_where_its_secrets_are_unknown(state: Path) -> None:
    tell(state)
    file = state / "lw.yaml"
    file.write_text(
        f"state_dir: ${{TOP}}/{state.name}\nchannels: {{slack: {{webhook_url: '${{UNSET_URL}}'}}}}\n"
    )

    result = CliRunner().invoke(command, ["--config", str(file)], env={"TOP": str(state.parent)})

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state_dir: ${UNSET_TOP}/x\n", "the environment variable UNSET_TOP to be set"),
        ("state_dir: [\n", "not YAML"),
        (None, "a readable file"),
    ],
)
def test_a_file_that_does_not_say_it_is_exit_code_2(tmp_path: Path, text: str | None, expected: str) -> None:
    file = tmp_path / "lw.yaml"
    if text is not None:
        file.write_text(text)

    result = CliRunner().invoke(command, ["--config", str(file)])

    assert result.exit_code == 2
    assert expected in result.stderr
    assert "give --state-dir to do without the file" in result.stderr


def test_without_a_state_dir_in_the_file_the_users_own_is_asked(tmp_path: Path) -> None:
    (tmp_path / "lw.yaml").write_text("poll_interval: 1m\n")

    environment = {"STATE_DIRECTORY": str(tmp_path / "own")}
    result = CliRunner().invoke(command, ["--config", str(tmp_path / "lw.yaml")], env=environment)

    assert f"nobody uses {tmp_path}/own" in result.output


def test_help_names_the_exit_codes() -> None:
    text = CliRunner().invoke(command, ["--help"]).output

    assert "Exit codes: 0 running and healthy" in text
    assert "3 not running." in text
