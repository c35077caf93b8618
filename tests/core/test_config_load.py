from __future__ import annotations

from textwrap import dedent

import pytest

from agent.alerts.options import Route
from agent.alerts.pagerduty import PagerDutyOptions
from agent.alerts.slack import SlackOptions
from agent.config import Config, default_config, effective, parse
from agent.detect.options import Thresholds
from agent.secret import Secret

WEBHOOK = "https://hooks.slack.com/services/T0/B0/SECRET"


def load(text: str, **env: str) -> Config:
    return parse(dedent(text).encode(), "lw.yaml", env)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "{}", "null", "\ufeff"])
def test_an_empty_file_is_the_defaults(text: str) -> None:
    assert load(text) == default_config()


@pytest.mark.parametrize(
    "section", ["log", "thresholds", "watch", "channels", "routes", "discover", "evidence"]
)
def test_a_section_whose_lines_are_all_commented_out_is_its_defaults(section: str) -> None:
    assert load(f"{section}:\n  # nothing yet\n") == default_config()


def test_web_is_off_without_its_section_and_on_with_an_empty_one() -> None:
    assert load("").web is None
    assert load("web: null").web is None
    assert load("web:\n").web is not None


def test_units_are_read_into_seconds_and_bytes() -> None:
    config = load("poll_interval: 1m30s\nevidence: {disk_budget: 1.5GiB}\nthresholds: {heap_percent: 70%}")

    assert config.poll_interval_s == 90.0
    assert config.evidence.disk_budget_bytes == 1_610_612_736
    assert config.thresholds.heap_percent == 70.0


def test_an_entry_overrides_only_the_thresholds_it_gives() -> None:
    config = load("""\
        watch:
        - service: api
          match: {exe: node}
          thresholds: {heap_percent: 60%}
        - service: web
          match: {exe: nginx}
        thresholds: {growth: 200MB/h}
        """)

    assert config.watch[0].thresholds == Thresholds(heap_percent=60.0, growth_bytes_per_hour=2e8)
    assert config.watch[1].thresholds is None


def test_numbers_and_versions_in_texts_stay_as_written() -> None:
    config = load("watch: [{service: 42, match: {user: 1000}, labels: {version: 1.10, day: 2026-01-02}}]")

    assert config.watch[0].service == "42"
    assert config.watch[0].match.user == "1000"
    assert config.watch[0].labels == {"version": "1.10", "day": "2026-01-02"}


def test_labels_of_two_entries_are_not_the_same_object() -> None:
    config = load("watch: [{service: a, match: {exe: a}}, {service: b, match: {exe: b}}]")

    assert config.watch[0].labels is not config.watch[1].labels


def test_one_name_may_stand_for_a_list_of_one() -> None:
    config = load("channels: {slack: {webhook_url: ''}}\nroutes: [{channels: slack, severity: critical}]")

    assert config.routes == (Route(("slack",), severities=("critical",)),)


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    config = load("""\
        watch:
        - &base
          service: api
          match: {exe: node}
          labels: {team: backend}
        - <<: *base
          service: web
        """)

    assert [entry.service for entry in config.watch] == ["api", "web"]
    assert config.watch[1].labels == {"team": "backend"}


def test_the_name_of_a_channel_may_be_its_type() -> None:
    config = load(f"""\
        channels:
          slack: {{webhook_url: {WEBHOOK}}}
          night: {{type: pagerduty, routing_key: "{"0" * 32}"}}
        """)

    assert config.channels["slack"] == SlackOptions(Secret(WEBHOOK))
    assert config.channels["night"] == PagerDutyOptions(Secret("0" * 32))


def test_references_are_filled_in_from_the_environment() -> None:
    config = load("host: ${NAME}-${ZONE:-eu}", NAME="web")

    assert config.host == "web-eu"


def test_a_reference_may_stand_for_a_number_a_unit_or_a_flag() -> None:
    config = load(
        "discover: {max_processes: '${N}', min_rss: '${SIZE}', enabled: '${ON}'}",
        N="7",
        SIZE="1MB",
        ON="true",
    )

    assert config.discover.max_processes == 7
    assert config.discover.min_rss_bytes == 1_000_000
    assert config.discover.enabled is True


def test_a_default_stands_in_for_an_empty_variable() -> None:
    assert load("host: ${NAME:-web}", NAME="").host == "web"


def test_an_optional_text_filled_with_nothing_is_not_given() -> None:
    assert load("host: ${NAME:-}").host is None


def test_a_doubled_dollar_before_a_brace_is_a_plain_one() -> None:
    config = load("watch: [{service: a, match: {command: 'cost$${HOME} $5 ^x$ $$'}}]", HOME="/root")

    assert config.watch[0].match.command == "cost${HOME} $5 ^x$ $$"


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    assert load("host: ${A}", A="${B}", B="no").host == "${B}"


@pytest.mark.parametrize(
    ("value", "env", "reason"),
    [
        ("'${SLACK:-}'", {}, "webhook_url is empty: SLACK is not set"),
        ("'${SLACK:-}'", {"SLACK": ""}, "webhook_url is empty: SLACK is empty"),
        ("'${SLACK}'", {"SLACK": ""}, "webhook_url is empty: SLACK is empty"),
        ("''", {}, "webhook_url is empty"),
    ],
)
def test_a_channel_whose_secret_is_empty_is_off_with_a_reason(
    value: str, env: dict[str, str], reason: str
) -> None:
    config = load(
        f"channels: {{ops: {{type: slack, webhook_url: {value}}}}}\nroutes: [{{channels: [ops]}}]", **env
    )

    assert config.off == {"ops": reason}
    assert config.live_channels == {}


def test_a_channel_with_a_secret_is_on() -> None:
    config = load("channels: {slack: {webhook_url: '${SLACK:-}'}}", SLACK=WEBHOOK)

    assert config.off == {}
    assert config.live_channels == {"slack": SlackOptions(Secret(WEBHOOK))}


def test_an_empty_proxy_is_no_proxy() -> None:
    config = load("channels: {slack: {webhook_url: '', http: {proxy: '${PROXY:-}'}}}")

    assert config.channels["slack"].http.proxy is None


@pytest.mark.parametrize(
    "web", ["{}", "{listen: 'localhost:1'}", "{listen: '[::1]:9477'}", "{listen: '0.0.0.0:9477', token: t}"]
)
def test_web_may_be_open_to_this_host_or_guarded_by_a_token(web: str) -> None:
    assert load(f"web: {web}").web is not None


def test_without_routes_no_channel_is_out_of_reach() -> None:
    assert load("channels: {slack: {webhook_url: ''}, sentry: {dsn: ''}}").routes == ()


def test_a_channel_that_only_an_entry_names_is_within_reach() -> None:
    config = load("""\
        channels: {slack: {webhook_url: ''}, sentry: {dsn: ''}}
        watch: [{service: api, match: {exe: a}, channels: [sentry]}]
        routes: [{channels: [slack]}]
        """)

    assert config.watch[0].channels == ("sentry",)


@pytest.mark.parametrize(
    ("text", "discovers"),
    [
        ("", True),
        ("watch: [{service: a, match: {exe: a}}]", False),
        ("watch: [{service: a, match: {exe: a}}]\ndiscover: {enabled: true}", True),
    ],
)
def test_discovery_is_on_when_nothing_is_named(text: str, discovers: bool) -> None:  # noqa: FBT001 - expected
    assert load(text).discovers is discovers


def test_five_hundred_entries_are_ordinary() -> None:
    entries = "\n".join(f"- {{service: s{n}, match: {{exe: e{n}}}, labels: {{a: b}}}}" for n in range(500))

    assert len(load(f"watch:\n{entries}\n").watch) == 500


def test_secrets_are_hidden_in_what_is_printed() -> None:
    config = load(f"channels: {{slack: {{webhook_url: {WEBHOOK}}}}}\nweb: {{token: tok-SECRET}}")

    assert "SECRET" not in effective(config) + repr(config)
    assert effective(config).count("<hidden>") == 2
