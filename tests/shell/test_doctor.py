"""`leakwatch doctor` on real processes, directories and sockets."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from children import LeakyChild, process_of
from click.testing import CliRunner, Result

from agent.cli.doctor import command
from agent.config import parse
from agent.consent import Consent
from agent.diagnosis import machine, setup, targets
from agent.diagnosis.checks import Check, Grade
from agent.evidence.readiness import Ready, readiness, tool_version
from agent.evidence.rights import TraceRight, trace_right
from agent.evidence.sources import all_sources
from agent.model import Instant
from agent.statedir import InstanceLock
from agent.watch.options import Match, WatchEntry
from agent.watch.targets import Selection, Target

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "https://hooks.slack.com/services/T0/B0/SECRET"
NOBODY_UID = 65_534
AS_NOBODY = f"""
import os, sys
from click.testing import CliRunner
from agent.cli.doctor import command
CliRunner().invoke(command, sys.argv[1:])  # everything is imported before its folder may be closed to us
os.setgroups([])
os.setresgid({NOBODY_UID}, {NOBODY_UID}, {NOBODY_UID})
os.setresuid({NOBODY_UID}, {NOBODY_UID}, {NOBODY_UID})
command(sys.argv[1:])
"""


def config_file(folder: Path, text: str) -> str:
    path = folder / "lw.yaml"
    path.write_text(f"state_dir: {folder}/state\n{text}")
    return str(path)


def ask(folder: Path, text: str, *arguments: str, **env: str | None) -> Result:
    return CliRunner().invoke(command, ["--config", config_file(folder, text), *arguments], env=env)


def checks(folder: Path, text: str, **env: str | None) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(ask(folder, text, "--json", **env).stdout)["checks"]
    return told


def named(told: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(check for check in told if check["name"] == name)


def test_a_person_sees_each_target_its_memory_limit_and_evidence(child: LeakyChild, tmp_path: Path) -> None:
    child.grow(80_000_000)
    text = f"watch: [{{service: api, match: {{pid: {child.pid}}}}}]\n"

    result = ask(tmp_path, text)

    assert result.exit_code == 0, result.output
    assert "  ok   api: matches 1 process\n" in result.output
    row = next(line for line in result.output.splitlines() if f"pid {child.pid} " in line)
    assert "(python, user " in row
    assert "heap 8" in row
    assert "% of " in row
    assert result.output.splitlines()[-1].endswith(" failed")


def test_json_tells_the_limit_and_where_it_was_found(child: LeakyChild, tmp_path: Path) -> None:
    told = checks(tmp_path, f"watch: [{{service: api, match: {{pid: {child.pid}}}}}]\n")

    facts = named(told, "process")["facts"]
    assert facts["pid"] == child.pid
    assert facts["limit"]["limit_bytes"] > 0
    assert facts["limit"]["source"]
    assert set(facts["evidence"]) == {"py-spy", "smaps", "status", "fds"}


def test_an_entry_that_matches_nothing_is_a_warning(tmp_path: Path) -> None:
    pidfile = tmp_path / "no.pid"
    text = f"watch: [{{service: api, match: {{pidfile: {pidfile}}}}}]\n"

    result = ask(tmp_path, text)

    assert result.exit_code == 0
    assert f"  warn api: matches no process now ({pidfile} does not exist" in result.output


def test_snapshots_off_are_not_looked_for(child: LeakyChild, tmp_path: Path) -> None:
    text = f"watch: [{{service: api, snapshots: false, match: {{pid: {child.pid}}}}}]\n"

    assert "; snapshots off" in ask(tmp_path, text).output


def test_of_many_processes_the_first_are_looked_at_and_the_rest_counted() -> None:
    config = parse(b"evidence: {enabled: false}\nwatch: [{service: api, match: {exe: x}}]\n", "lw.yaml", {})
    entry = config.watch[0]
    target = Target("api", process_of(os.getppid()), {}, entry)
    examiner = targets.Examiner(config, None, Instant(1e6, 2e9))

    told = targets.targets(config, Selection((target,) * 51), examiner, own_pid=os.getpid())

    assert told[0].text == "api: matches 51 processes; is the match too wide?"
    assert told[0].grade is Grade.WARN
    assert [check.depth for check in told] == [0, *[1] * 21]
    assert told[-1].text == "and 31 more"


def test_doctor_does_not_take_itself_for_a_target(tmp_path: Path) -> None:
    told = checks(tmp_path, f"watch: [{{service: api, match: {{pid: {os.getpid()}}}}}]\n")

    assert named(told, "entry")["facts"]["processes"] == 0


def test_discovery_tells_how_many_it_leaves_out(child: LeakyChild, tmp_path: Path) -> None:
    child.grow(60_000_000)
    with LeakyChild() as other:
        other.grow(60_000_000)
        told = checks(tmp_path, "discover: {min_rss: 55MB, max_processes: 1}\nevidence: {enabled: false}\n")

    found = named(told, "discovery")
    assert found["facts"]["processes"] == 1
    assert found["facts"]["dropped"] >= 1
    assert found["grade"] == "warn"
    assert "discover.max_processes is 1" in found["text"]


def test_processes_that_hide_are_counted() -> None:
    config = parse(b"watch: [{service: api, match: {pid: 1}}]\n", "lw.yaml", {})
    selection = Selection((), denied=(7, 8))

    told = targets.targets(config, selection, targets.Examiner(config, None, Instant(1.0, 1.0)), own_pid=1)

    assert told[-1].grade is Grade.WARN
    assert told[-1].text.startswith("2 processes may not be read at all")


def test_secrets_are_told_to_be_there_and_never_shown(tmp_path: Path) -> None:
    text = (
        "channels:\n  slack: {webhook_url: '${SLACK}'}\n  sentry: {dsn: '${DSN:-}'}\n"
        "  webhook: {url: 'https://hooks.example/x', headers: {Authorization: '${SLACK}'}}\n"
    )

    result = ask(tmp_path, text, SLACK=SECRET, DSN=None)

    assert result.exit_code == 0
    assert "  ok   secret channels.slack.webhook_url: resolved\n" in result.output
    assert "  ok   secret channels.webhook.headers.Authorization: resolved\n" in result.output
    assert "  ok   channel slack is on\n" in result.output
    assert "  warn channel sentry is off: dsn is empty: DSN is not set\n" in result.output
    assert "SECRET" not in result.output + ask(tmp_path, text, "--json", SLACK=SECRET, DSN=None).output


def test_mistakes_are_each_told_with_the_machine_and_exit_code_2(tmp_path: Path) -> None:
    text = "poll_interval: 10\nchannels: {slack: {webhook_url: '${UNSET_URL}'}}\n"

    result = ask(tmp_path, text)

    assert result.exit_code == 2
    assert f"  FAIL {tmp_path}/lw.yaml:2: poll_interval: expected a duration" in result.output
    assert "the environment variable UNSET_URL to be set" in result.output
    assert "variables and credentials are looked for where doctor runs" in result.output
    assert "memory available" in result.output


def test_a_state_directory_that_cannot_be_made_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "lw.yaml").write_text(f"state_dir: {tmp_path}/file/below\ndiscover: {{min_rss: 999GB}}\n")

    result = CliRunner().invoke(command, ["--config", str(tmp_path / "lw.yaml")])

    assert result.exit_code == 1
    assert f"FAIL state directory {tmp_path}/file/below does not exist and cannot be made" in result.output


def test_doctor_makes_no_state_directory(tmp_path: Path) -> None:
    told = checks(tmp_path, "discover: {min_rss: 999GB}\n")

    assert named(told, "directory")["text"] == f"{tmp_path}/state does not exist yet; it can be made"
    assert not (tmp_path / "state").exists()


def test_a_directory_where_everybody_writes_would_not_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    told = setup.state_directory(tmp_path, parse(b"", "lw.yaml", {}))

    assert [check.grade for check in told] == [Grade.FAIL]
    assert "everybody may write there" in told[0].text


def test_a_budget_larger_than_the_disk_is_a_warning(tmp_path: Path) -> None:
    config = parse(b"evidence: {disk_budget: 900TB}", "lw.yaml", {})

    room = next(check for check in setup.state_directory(tmp_path, config) if check.name == "room")

    assert room.grade is Grade.WARN
    assert "less than evidence may take (evidence.disk_budget 900TB)" in room.text


def test_who_holds_the_lock_is_told(tmp_path: Path) -> None:
    with InstanceLock(tmp_path):
        assert setup.lock(tmp_path).text == f"the lock is held: leakwatch runs as pid {os.getpid()}"

    assert setup.lock(tmp_path).facts == {"pid": None}


def owned_by_another_user(folder: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder.mkdir(parents=True)
    os.chown(folder, NOBODY_UID, NOBODY_UID)
    return folder


def told_of_the_owner(folder: Path) -> str:
    return next(
        check.text
        for check in setup.state_directory(folder, parse(b"", "lw.yaml", {}))
        if check.name == "owner"
    )


def test_whose_state_it_is_says_whom_to_ask_as(tmp_path: Path) -> None:
    told = told_of_the_owner(owned_by_another_user(tmp_path / "state"))

    assert told.endswith("what follows holds for root (try: sudo -u nobody leakwatch doctor)")


def test_nobody_is_sent_to_become_a_user_that_systemd_makes_up(tmp_path: Path) -> None:
    owned_by_another_user(tmp_path / "private" / "leakwatch")
    (tmp_path / "leakwatch").symlink_to("private/leakwatch")

    told = told_of_the_owner(tmp_path / "leakwatch")

    assert "belongs to the user of the service, " in told
    assert "sudo" not in told


def test_an_address_that_is_taken_would_not_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = parse(f"web: {{listen: '127.0.0.1:{port}'}}".encode(), "lw.yaml", {})

        told = setup.web(config, None)
        served = setup.web(config, os.getpid())

    assert told.grade is Grade.FAIL
    assert f"127.0.0.1:{port} cannot be listened on (Address already in use): pid {os.getpid()}" in told.text
    assert served.grade is Grade.OK
    assert setup.web(config, None).text == f"127.0.0.1:{port} is free"


@pytest.mark.parametrize(
    ("given", "grade", "words"),
    [
        (TraceRight(capable=True, scope=1), Grade.OK, "every process may be looked into"),
        (TraceRight(capable=True, scope=3), Grade.WARN, "until the next boot"),
        (TraceRight(capable=False, scope=1), Grade.WARN, "kernel.yama.ptrace_scope is 1"),
        (TraceRight(capable=False, scope=0), Grade.OK, "only this user's own processes"),
        (TraceRight(capable=False, scope=None), Grade.OK, "only this user's own processes"),
    ],
)
def test_the_right_to_look_into_processes(given: TraceRight, grade: Grade, words: str) -> None:
    told = machine.right(given)

    assert told.grade is grade
    assert words in told.text


@pytest.mark.parametrize(
    ("status", "scope", "expected"),
    [
        ("Name:\tx\nCapEff:\t0000000000080000\n", "1\n", TraceRight(capable=True, scope=1)),
        ("Name:\tx\nCapEff:\t0000000000040000\n", "", TraceRight(capable=False, scope=None)),
        ("", "0", TraceRight(capable=False, scope=0)),
    ],
)
def test_the_right_is_read_from_the_kernels_words(status: str, scope: str, expected: TraceRight) -> None:
    assert trace_right(status, scope) == expected


def test_a_tool_that_does_not_run_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "py-spy").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "py-spy").chmod(0o755)

    assert tool_version(tmp_path / "py-spy") is None
    assert machine.tool_found(tmp_path / "py-spy").grade is Grade.FAIL
    assert machine.tool_found(None).grade is Grade.FAIL


@pytest.mark.parametrize(
    ("now", "started_t_s", "grade"),
    [
        (Instant(100.0, 1.8e9), 99.0, Grade.OK),
        (Instant(100.0, 1.8e9), 200.0, Grade.FAIL),
        (Instant(100.0, 0.0), 99.0, Grade.FAIL),
        (Instant(100.0, 1.8e9), None, Grade.OK),
    ],
)
def test_clocks_that_disagree_are_a_failure(now: Instant, started_t_s: float | None, grade: Grade) -> None:
    assert machine.clock(now, started_t_s).grade is grade


def test_without_cgroups_the_limit_is_the_machine() -> None:
    v2 = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

    assert machine.cgroups("").grade is Grade.WARN
    assert machine.cgroups(v2) == Check(
        "machine", "cgroups", Grade.OK, "cgroups v2 at /sys/fs/cgroup", {"versions": [2]}
    )


def test_evidence_of_a_process_that_has_ended_is_told(child: LeakyChild) -> None:
    process = process_of(child.pid)
    child.kill()

    told = readiness(process, all_sources(), Consent(), dump_with=None, timeout_s=1.0)

    assert told == (Ready("evidence", f"process {process.key.pid} has ended"),)


def test_a_missing_tool_is_a_reason_of_its_own(child: LeakyChild) -> None:
    sources = all_sources(lambda: None)

    told = readiness(process_of(child.pid), sources, Consent(), dump_with=None, timeout_s=1.0)

    assert Ready("py-spy", "not installed (pip install py-spy)") in told


@pytest.mark.parametrize(
    ("match", "hint"),
    [
        (Match(port=80), "ports of other users' processes"),
        (Match(pidfile="/proc/self/stat"), ""),
        (Match(exe="x"), ""),
    ],
)
def test_why_nothing_may_match(match: Match, hint: str) -> None:
    assert hint in targets.entry_matches(WatchEntry("api", match), 0).text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_users_process_gives_memory_but_no_evidence(child: LeakyChild, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith(("pytest-", "popen-")):  # pytest's own folders, whichever worker's
            parent.chmod(0o755)
    file = config_file(tmp_path, f"watch: [{{service: api, match: {{pid: {child.pid}}}}}]\n")

    told = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "--config", file, "--json"],
        env={"PATH": os.defpath},
        capture_output=True,
        check=False,
    )

    assert told.stdout, told.stderr.decode()
    assert told.returncode == 1  # the state directory cannot be made by this user
    facts = named(json.loads(told.stdout)["checks"], "process")["facts"]
    assert facts["heap_bytes"] > 0
    assert facts["evidence"]["py-spy"] != "ok"
    assert facts["evidence"]["smaps"] == "needs CAP_SYS_PTRACE, or its user"


def test_help_names_the_exit_codes() -> None:
    assert "Exit codes: 0 all would work" in CliRunner().invoke(command, ["--help"]).output
