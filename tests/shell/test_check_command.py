from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from agent.cli.check import command
from agent.config import DEFAULT_PATH, parse

SECRET = "https://hooks.slack.com/services/T0/B0/SECRET"
GOOD = "host: ${NAME}\nchannels:\n  slack: {webhook_url: '${SLACK}'}\n  sentry: {dsn: '${DSN:-}'}\n"
BAD = "poll_interval: 10\nlogs: {}\n"
ENV = {"NAME": "web-3", "SLACK": SECRET, "DSN": None}


def check(folder: Path, text: str, *arguments: str) -> Result:
    path = folder / "lw.yaml"
    path.write_text(text)
    return CliRunner().invoke(command, [str(path), *arguments], env=ENV)


def test_a_good_file_prints_what_is_in_force(tmp_path: Path) -> None:
    result = check(tmp_path, "host: web-3\npoll_interval: 1m\n")

    assert result.exit_code == 0
    assert result.stderr == ""
    assert parse(result.stdout.encode(), "stdout", {}) == parse(
        b"host: web-3\npoll_interval: 1m", "lw.yaml", {}
    )


def test_a_channel_that_is_off_is_told_beside_it(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD)

    assert result.exit_code == 0
    assert result.stderr == "channel sentry is off: dsn is empty: DSN is not set\n"


def test_secrets_are_hidden(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD)

    assert yaml.safe_load(result.stdout)["channels"]["slack"]["webhook_url"] == "<hidden>"
    assert "SECRET" not in result.output + check(tmp_path, GOOD, "--json").output


def test_mistakes_are_a_line_each_on_standard_error(tmp_path: Path) -> None:
    result = check(tmp_path, BAD)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f'{tmp_path}/lw.yaml:1: poll_interval: expected a duration such as "10s", "15m" or "7d", found 10',
        f'{tmp_path}/lw.yaml:2: logs: expected a known key, found "logs"; did you mean "log"?',
    ]


def test_json_of_a_good_file_holds_the_configuration(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD, "--json")
    told = json.loads(result.stdout)

    assert result.exit_code == 0
    assert told["ok"] is True
    assert told["problems"] == []
    assert told["off"] == {"sentry": "dsn is empty: DSN is not set"}
    assert told["config"]["host"] == "web-3"
    assert told["config"]["poll_interval"] == "10s"


def test_json_of_a_bad_file_holds_the_mistakes(tmp_path: Path) -> None:
    result = check(tmp_path, BAD, "--json")
    told = json.loads(result.stdout)

    assert result.exit_code == 2
    assert told["ok"] is False
    assert told["config"] is None
    assert told["problems"][1] == {
        "file": f"{tmp_path}/lw.yaml",
        "line": 2,
        "path": "logs",
        "message": 'expected a known key, found "logs"; did you mean "log"?',
    }


@pytest.mark.skipif(Path(DEFAULT_PATH).exists(), reason=f"{DEFAULT_PATH} is installed here")
def test_without_a_file_the_installed_one_is_checked() -> None:
    result = CliRunner().invoke(command, [])

    assert result.exit_code == 2
    assert result.stderr == f"{DEFAULT_PATH}: expected a readable file, found No such file or directory\n"


def test_help_names_the_exit_codes() -> None:
    assert "Exit codes: 0 the file can be used, 2" in CliRunner().invoke(command, ["--help"]).stdout
