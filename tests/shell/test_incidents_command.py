"""`leakwatch incidents`, `ack` and `silence`, as a person calls them beside an open state file."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from incident_samples import at, opened, seen

from agent.alerts.outbox import Outbox
from agent.alerts.visit import Visit
from agent.cli import ack, incidents, silence
from agent.clock import SystemClock
from agent.incident_rules import observe
from agent.incidents import IncidentOptions
from agent.model import Evidence, Instant, State
from agent.statedir import STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click

    from agent.incidents import Incident


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """A daemon's, open all the while."""
    one = Outbox(tmp_path / STATE_FILE)
    yield one
    one.close()


def ask(command: click.Command, state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--state-dir", str(state), *arguments])


def record(outbox: Outbox, pid: int = 4211, *channels: str) -> Incident:
    incident, change = opened(pid, t_s=10_000.0 + pid)
    alert = change.alert("web-3", {})
    outbox.record(incident, [(name, alert) for name in channels], at(10_000), story=alert)
    return incident


def test_without_incidents_it_is_exit_code_0(tmp_path: Path, outbox: Outbox) -> None:
    del outbox

    result = ask(incidents.command, tmp_path)

    assert (result.exit_code, result.output) == (0, "incidents open: none\n")


def test_open_incidents_are_a_table_and_exit_code_1(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox)

    result = ask(incidents.command, tmp_path)

    assert result.exit_code == 1
    row = result.output.splitlines()[2].split()
    assert row[:4] == [incident.incident_id, "api", "heap", "warning"]
    assert row[-4:] == ["448", "MB", "4211", "open"]


def test_those_that_are_over_are_listed_when_asked_for(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox)
    outbox.record(replace(incident, ended=True, resolved=True), [], at(12_000))

    assert "incidents open: none\n" in ask(incidents.command, tmp_path).output
    result = ask(incidents.command, tmp_path, "--all")
    assert result.exit_code == 0
    assert "incidents open: none; 1 over" in result.output
    assert result.output.splitlines()[2].endswith("  resolved")


def test_the_story_tells_every_transition_and_what_became_of_each_message(
    tmp_path: Path, outbox: Outbox
) -> None:
    incident = record(outbox, 4211, "slack", "pagerduty")
    prefix = incident.incident_id[:5]
    outbox.mark_sent(f"{incident.incident_id}/1/slack", at(10_002))
    outbox.mark_failed(f"{incident.incident_id}/1/pagerduty", "503 from host", at(10_003), 60.0)
    worse, (change,) = observe(incident, seen(State.CRITICAL, 10_600), at(10_600), IncidentOptions())
    assert worse is not None
    outbox.record(worse, [], at(10_600), story=change.alert("web-3", {}))
    outbox.release(incident.incident_id, 2, Evidence("/captures/1"))

    result = ask(incidents.command, tmp_path, prefix)

    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == f"{incident.incident_id} is open"
    assert "opened  api leaks 24 MB/h" in lines[2]
    assert any(line.startswith("    slack: delivered") and "2s later, 1 attempt" in line for line in lines)
    assert "    pagerduty: pending, 1 attempt: 503 from host" in lines
    assert any("worsened  Now critical: api leaks" in line for line in lines)
    assert any(line.startswith("    why      warning to critical") for line in lines)
    assert "    evidence /captures/1" in lines
    assert any(line.startswith("    told     nobody") for line in lines)


def test_the_story_as_json_has_the_alerts_and_their_deliveries(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox, 4211, "slack")

    result = ask(incidents.command, tmp_path, incident.incident_id, "--json")

    assert "Infinity" not in result.stdout
    told = json.loads(result.stdout)

    assert (told["incident"], told["open"], len(told["story"])) == (incident.incident_id, True, 1)
    assert told["story"][0]["alert"]["service"] == "api"
    assert told["story"][0]["deliveries"][0]["state"] == "pending"


def test_the_list_as_json(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox)
    ask(silence.command, tmp_path, "api", "4h", "--by", "ana", "--why", "deploy")

    told = json.loads(ask(incidents.command, tmp_path, "--json").stdout)

    (one,) = told["incidents"]
    assert (one["incident"], one["open"], one["pids"]) == (incident.incident_id, True, [4211])
    assert (one["rate_per_hour"], one["exhaustion_hours"]) == (24e6, 24.0)
    assert one["silenced_until"] is not None
    assert (told["silences"][0]["service"], told["silences"][0]["why"]) == ("api", "deploy")


@pytest.mark.parametrize("arguments", [("zz",), ("zz", "--json")])
def test_an_unknown_incident_is_exit_code_2(
    tmp_path: Path, outbox: Outbox, arguments: tuple[str, ...]
) -> None:
    record(outbox)

    result = ask(incidents.command, tmp_path, *arguments)

    assert result.exit_code == 2
    assert "no incident zz is kept" in result.stderr


def test_a_beginning_that_several_have_is_one_sentence(tmp_path: Path, outbox: Outbox) -> None:
    many = {record(outbox, pid).incident_id for pid in range(1, 40)}
    first = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in many) > 1)

    for command in (incidents.command, ack.command):
        result = ask(command, tmp_path, first)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"{first} is the beginning of ")
        assert result.stderr.count("\n") == 1


def test_an_acknowledgement_is_left_for_the_daemon(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox)

    result = ask(ack.command, tmp_path, incident.incident_id[:4], "--by", "ana", "--why", "known\nbug")

    assert result.exit_code == 0, result.output
    assert f"{incident.incident_id} is acknowledged by ana" in result.output
    assert "when it is started: it does not run now" in result.output
    _, acknowledged = outbox.ledger.inbox()
    assert acknowledged[incident.incident_id][:2] == ("ana", "known\\x0abug")
    outbox.ledger.forget_acknowledgements(acknowledged)
    assert outbox.ledger.inbox() == ((), {})


def test_who_called_takes_care_of_it(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox)

    CliRunner().invoke(
        ack.command, ["--state-dir", str(tmp_path), incident.incident_id], env={"SUDO_USER": "ben"}
    )

    assert outbox.ledger.inbox()[1][incident.incident_id].by == "ben"


@pytest.mark.parametrize("ended", [True, False])
def test_what_is_not_open_cannot_be_acknowledged(tmp_path: Path, outbox: Outbox, *, ended: bool) -> None:
    incident = record(outbox)
    outbox.record(replace(incident, ended=True), [], at(12_000))

    result = ask(ack.command, tmp_path, incident.incident_id if ended else "")

    assert result.exit_code == 1
    assert "no open incident" in result.stderr


def test_a_silence_is_kept_listed_and_ended(tmp_path: Path, outbox: Outbox) -> None:
    asked = ask(silence.command, tmp_path, "api-*", "4h", "--by", "ana", "--why", "deploy")
    assert asked.exit_code == 0, asked.output
    assert asked.output.startswith("silenced: api-* until ")
    assert asked.output.endswith("(4h left) by ana: deploy\n")
    (stored,), _ = outbox.ledger.inbox()
    assert stored.until_wall_s - stored.begun.wall_s == 4 * 3600.0
    assert stored.covers("api-1")

    assert ask(silence.command, tmp_path).output == asked.output
    over = ask(silence.command, tmp_path, "api-*", "--end")
    assert (over.exit_code, over.output) == (0, "the silence of api-* is over\n")
    assert ask(silence.command, tmp_path).output == "nothing is silenced\n"
    assert ask(silence.command, tmp_path, "--json").output == '{\n  "silences": []\n}\n'


def test_what_is_not_silenced_cannot_be_ended(tmp_path: Path, outbox: Outbox) -> None:
    del outbox
    ask(silence.command, tmp_path, "api", "4h")

    result = ask(silence.command, tmp_path, "worker", "--end")

    assert (result.exit_code, result.stderr) == (1, "no silence of worker; there are those of api\n")


@pytest.mark.parametrize("duration", ["soon", "10s", "31d", "-4h", ""])
def test_a_duration_that_is_none_is_told_what_was_expected(
    tmp_path: Path, outbox: Outbox, duration: str
) -> None:
    del outbox

    result = ask(silence.command, tmp_path, "--", "api", duration)

    assert result.exit_code == 2
    assert 'expected a duration such as "90m" or "4h", of 1m to 30d' in " ".join(result.stderr.split())


@pytest.mark.parametrize("arguments", [("api",), ("", "4h"), ("a\nb", "4h")])
def test_a_silence_without_service_or_duration_is_exit_code_2(
    tmp_path: Path, outbox: Outbox, arguments: tuple[str, ...]
) -> None:
    del outbox

    result = ask(silence.command, tmp_path, *arguments)

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_silences_that_are_over_are_not_listed_and_a_new_one_replaces_the_old(
    tmp_path: Path, outbox: Outbox
) -> None:
    ask(silence.command, tmp_path, "api", "1m")
    ask(silence.command, tmp_path, "api", "2h")
    (one,), _ = outbox.ledger.inbox()
    now = SystemClock().now()
    assert one.left_s(now) > 7000
    outbox.ledger.forget_silences([replace(one, until_wall_s=1.0)])
    assert outbox.ledger.inbox()[0] == (one,)
    outbox.ledger.forget_silences([one])
    assert outbox.ledger.inbox()[0] == ()


COMMANDS = (incidents.command, ack.command, silence.command)
CALLS = [(incidents.command, ()), (ack.command, ("ab",)), (silence.command, ("api", "4h"))]


@pytest.mark.parametrize(("command", "arguments"), CALLS, ids=["incidents", "ack", "silence"])
def test_without_a_state_it_is_one_sentence_and_nothing_is_made(
    tmp_path: Path, command: click.Command, arguments: tuple[str, ...]
) -> None:
    result = ask(command, tmp_path, *arguments)

    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/state.db: not there; has leakwatch run with this directory?\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "arguments"), CALLS, ids=["incidents", "ack", "silence"])
@pytest.mark.parametrize("version", [1, 99])
def test_a_state_of_another_version_is_left_alone(
    tmp_path: Path, outbox: Outbox, command: click.Command, arguments: tuple[str, ...], version: int
) -> None:
    outbox.close()
    with Visit(tmp_path / STATE_FILE, writes=True) as visit:
        visit.write(lambda c: c.execute(f"PRAGMA user_version = {version}").rowcount)

    result = ask(command, tmp_path, *arguments)

    assert result.exit_code == 2
    assert f"written by {'an older' if version == 1 else 'a newer'} leakwatch" in result.stderr


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text("precious, but no database, and long enough to be looked at" * 40)

    result = ask(incidents.command, tmp_path)

    assert result.exit_code == 2
    assert "cannot be read: file is not a database" in result.stderr


def test_looking_does_not_write(tmp_path: Path, outbox: Outbox) -> None:
    record(outbox)
    outbox.close()
    before = (tmp_path / STATE_FILE).read_bytes()

    ask(incidents.command, tmp_path)

    assert (tmp_path / STATE_FILE).read_bytes() == before
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("state.db*")}
    assert modes == {0o600}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_one_sentence(tmp_path: Path, outbox: Outbox) -> None:
    outbox.close()
    (tmp_path / STATE_FILE).chmod(0)

    result = ask(incidents.command, tmp_path)

    assert result.exit_code == 2
    assert "ask as the user that leakwatch runs as" in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=["incidents", "ack", "silence"])
def test_help_names_the_exit_codes(command: click.Command) -> None:
    assert "Exit codes: 0 " in CliRunner().invoke(command, ["--help"]).output


def test_stories_recorded_before_they_were_kept_are_told_by_their_deliveries(
    tmp_path: Path, outbox: Outbox
) -> None:
    incident = record(outbox, 4211, "slack")
    with Visit(tmp_path / STATE_FILE, writes=True) as visit:
        visit.write(lambda c: c.execute("DELETE FROM story").rowcount)

    result = ask(incidents.command, tmp_path, incident.incident_id)

    assert "opened  api leaks 24 MB/h" in result.output


def test_incidents_that_ended_lately_are_found_again_after_a_restart(outbox: Outbox) -> None:
    old, late = record(outbox, 1), record(outbox, 2)
    outbox.record(replace(old, ended=True, resolved=True), [], Instant(0.0, 1000.0))
    outbox.record(replace(late, ended=True, resolved=True), [], Instant(0.0, 5000.0))

    assert [one.incident_id for one in outbox.ledger.ended_since(4000.0)] == [late.incident_id]
