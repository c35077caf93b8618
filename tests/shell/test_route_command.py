from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from agent.cli.route import command

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
watch:
  - {service: api, match: {exe: python3}, labels: {team: shop}}
  - {service: own, match: {exe: node}, channels: [sentry]}
discover: {enabled: true}
channels:
  slack: {webhook_url: "https://hooks.slack.com/services/T/B/SECRET"}
  sentry: {dsn: "${DSN:-}"}
  pagerduty: {routing_key: R0UT1NGK3Y0F7HEPAG3RDUTY5ERV1CE0}
routes:
  - {channels: [slack], services: [api], quiet: "22:00-07:00", timezone: Europe/Berlin}
  - {channels: [pagerduty], labels: {team: "sh*"}}
  - {channels: [sentry], default: true}
"""


def route(folder: Path, *arguments: str, file: str = FILE) -> Result:
    path = folder / "lw.yaml"
    path.write_text(file)
    return CliRunner().invoke(command, [*arguments, "--config", str(path)], env={"DSN": None})


def asked(folder: Path, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(route(folder, *arguments, "--json").stdout)
    return answer


def test_it_tells_what_each_route_makes_of_the_alert_and_who_is_told(tmp_path: Path) -> None:
    result = route(tmp_path, "api", "--severity", "critical", "--at", "2026-07-01T23:30+00:00")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "  route 1 to slack: fits; quiet until Thu 07:00 CEST, which critical alerts do not heed",
        "  route 2 to pagerduty: fits",
        "  route 3 to sentry: does not fit: another route fits",
        "told: slack, pagerduty",
    ]


def test_a_warning_in_quiet_hours_waits_and_a_channel_can_decline(tmp_path: Path) -> None:
    result = route(tmp_path, "api", "--at", "2026-07-01T23:30+00:00")

    assert result.stdout.splitlines()[-3:] == [
        "told: slack",
        "  slack waits for the end of quiet hours: Thu 07:00 CEST",
        "  pagerduty is not told: it does not take such alerts (its own options)",
    ]


def test_nobody_told_is_an_exit_code_with_its_reasons(tmp_path: Path) -> None:
    result = route(tmp_path, "cron", "--kind", "fds")

    assert result.exit_code == 1
    assert "service cron is not api" in result.stdout
    assert 'label team is "", not sh*' in result.stdout
    assert result.stdout.splitlines()[-2:] == [
        "told: nobody",
        "  sentry is not told: dsn is empty: DSN is not set",
    ]


def test_labels_of_the_call_stand_beside_those_of_the_entry(tmp_path: Path) -> None:
    told = asked(tmp_path, "api", "--label", "tier=1", "--severity", "critical")
    assert told["labels"] == {"team": "shop", "tier": "1"}
    assert [one["channel"] for one in told["told"]] == ["slack", "pagerduty"]

    lent = asked(tmp_path, "cron", "--label", "team=shop", "--severity", "critical")
    assert [one["channel"] for one in lent["told"]] == ["pagerduty"]
    assert lent["entry"] is False


def test_an_entry_that_names_its_channels_asks_no_route(tmp_path: Path) -> None:
    result = route(tmp_path, "own")

    assert "its watch entry names its channels, no route is asked: sentry" in result.stdout
    assert asked(tmp_path, "own")["entry_channels"] == ["sentry"]


def test_json_says_until_when_a_channel_waits(tmp_path: Path) -> None:
    told = asked(tmp_path, "api", "--at", "2026-07-01T23:30+00:00")

    assert datetime.fromisoformat(told["at"]) == datetime.fromisoformat("2026-07-01T23:30+00:00")
    assert told["told"] == [{"channel": "slack", "waits_until": "Thu 07:00 CEST"}]
    assert told["routes"][0] == {
        "channels": ["slack"],
        "fits": True,
        "why_not": [],
        "quiet_until": "Thu 07:00 CEST",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("api", "--at", "tonight"), '--at: expected a time such as "23:30" or "2026-07-01T23:30"'),
        (("api", "--label", "shop"), "--label: expected KEY=VALUE, e.g. team=backend"),
    ],
)
def test_a_mistake_in_the_call_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = route(tmp_path, *arguments)

    assert result.exit_code == 2
    assert result.stderr.strip() == sentence


def test_a_mistake_in_the_file_is_told(tmp_path: Path) -> None:
    result = route(tmp_path, "api", file="routes: [{channels: [slack]}]\n")

    assert result.exit_code == 2
    assert 'expected the name of a channel under "channels"' in result.stderr


def test_no_secret_is_told(tmp_path: Path) -> None:
    assert "SECRET" not in route(tmp_path, "api").output + route(tmp_path, "api", "--json").output
