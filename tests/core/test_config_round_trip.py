"""What `effective` writes is the same configuration again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.alerts.alertmanager import AlertmanagerOptions
from agent.alerts.command import CommandOptions
from agent.alerts.datadog import DatadogOptions
from agent.alerts.journal import JournalOptions
from agent.alerts.jsonl import FileOptions
from agent.alerts.options import HttpOptions, Route
from agent.alerts.pagerduty import PagerDutyOptions
from agent.alerts.sentry import SentryOptions
from agent.alerts.slack import SlackOptions
from agent.alerts.webhook import WebhookOptions
from agent.config import Config, LogOptions, default_config, effective, parse
from agent.decode.encode import write_duration, write_percent, write_rate, write_size
from agent.detect.options import DetectOptions, Thresholds
from agent.evidence.options import EvidenceOptions
from agent.incidents import IncidentOptions
from agent.secret import Secret
from agent.units import SECONDS, parse_duration, parse_percent, parse_rate, parse_size
from agent.watch.options import DiscoverOptions, Match, WatchEntry
from agent.web.options import WebOptions

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
PATHS = NAMES.map("/".__add__)
RATES = st.builds(lambda n, unit: n * 3600.0 / SECONDS[unit], st.integers(0, 10**12), st.sampled_from("hmsd"))
SIZES = st.integers(0, 2**53)


def durations(least_s: float) -> st.SearchStrategy[float]:
    return st.floats(least_s, 1e9) | st.integers(int(least_s) + 1, 10**7).map(float)


@st.composite
def thresholds(draw: st.DrawFn) -> Thresholds:
    percents = sorted(draw(st.tuples(st.floats(0, 100), st.floats(0, 100))))
    rates = sorted(draw(st.tuples(RATES, RATES)))
    return Thresholds(
        draw(st.booleans()), *percents, rates[0], draw(durations(30)), rates[1], draw(durations(30)),
        draw(st.floats(0, 1e6)),
    )  # fmt: skip


MATCHES = st.builds(
    Match,
    pid=st.none() | st.integers(1, 2**22),
    exe=NAMES,
    command=st.none() | st.sampled_from(["a.*b", "^x${HOME}$", "'\"#: {", "\\d+\\.jar"]),
    user=st.none() | NAMES,
    unit=st.none() | NAMES,
    cgroup=st.none() | PATHS,
    port=st.none() | st.integers(1, 65535),
)
CHANNELS: dict[str, Any] = {
    "slack": SlackOptions(Secret(""), HttpOptions(timeout_s=2.5)),
    "sentry": SentryOptions(Secret(""), environment="prod", release="yes"),
    "pages": PagerDutyOptions(Secret(""), severity=("warning", "critical")),
    "hook": WebhookOptions(Secret(""), headers={"X-Token": Secret("<hidden>")}),
    "program": CommandOptions(("/bin/sh", "-c", "exit ${?}"), timeout_s=2.5),
    "lines": FileOptions("/var/log/alerts ${x}.jsonl", "0640"),
    "journal": JournalOptions(),
    "datadog": DatadogOptions("unixstream:///run/${x}", "fleet", {"env": "prod"}, per_process=True),
    "prometheus": AlertmanagerOptions(("http://a:9093", "http://b:9093"), {"env": "prod"}, resend_s=30.0),
}
CHOSEN = st.lists(st.sampled_from(sorted(CHANNELS)), min_size=1).map(tuple)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    services = draw(st.lists(NAMES, max_size=3, unique=True))
    entries = tuple(
        WatchEntry(
            service=service,
            match=draw(MATCHES),
            children=draw(st.booleans()),
            labels=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
            thresholds=draw(st.none() | thresholds()),
            channels=draw(st.none() | CHOSEN),
            snapshots=draw(st.none() | st.booleans()),
        )
        for service in services
    )
    with_channels = draw(st.booleans()) or any(entry.channels for entry in entries)
    return Config(
        poll_interval_s=draw(durations(1)),
        discovery_interval_s=draw(durations(1)),
        state_dir=draw(st.none() | PATHS),
        host=draw(st.none() | TEXTS),
        log=draw(
            st.builds(LogOptions, st.sampled_from(["debug", "error"]), st.sampled_from(["logfmt", "json"]))
        ),
        snapshots=draw(st.booleans()),
        detection=draw(
            st.builds(DetectOptions, st.booleans(), durations(86400), durations(86400), RATES, durations(0))
        ),
        thresholds=draw(thresholds()),
        watch=entries,
        discover=draw(
            st.builds(DiscoverOptions, st.sampled_from([None, True]), SIZES, st.integers(1, 10**6))
        ),
        channels=CHANNELS if with_channels else {},
        routes=draw(routes()) if with_channels and not services else (),
        incidents=draw(st.builds(IncidentOptions, durations(60), durations(0))),
        evidence=draw(
            st.builds(EvidenceOptions, st.booleans(), st.booleans(), durations(1), SIZES, durations(0))
        ),
        web=draw(st.none() | st.builds(WebOptions, st.sampled_from(["127.0.0.1:9477", "[::1]:0"]))),
    )


def routes() -> st.SearchStrategy[tuple[Route, ...]]:
    everything = Route(tuple(CHANNELS))
    some = st.builds(
        Route, CHOSEN, st.lists(NAMES, min_size=1, max_size=2).map(tuple), st.just(("critical",))
    )
    return st.lists(some, max_size=2).map(lambda more: (everything, *more))


@settings(max_examples=60, deadline=None)
@given(configs())
def test_the_effective_configuration_loads_as_itself(config: Config) -> None:
    assert parse(effective(config).encode(), "lw.yaml", {}) == config


def test_the_defaults_load_as_themselves() -> None:
    assert parse(effective(default_config()).encode(), "lw.yaml", {}) == default_config()


@given(st.floats(0, 9e18))
def test_a_written_duration_means_exactly_what_it_was(seconds: float) -> None:
    assert parse_duration(write_duration(seconds)) == seconds


@given(SIZES)
def test_a_written_size_means_exactly_what_it_was(count: int) -> None:
    assert parse_size(write_size(count)) == count


@given(RATES)
def test_a_written_rate_means_exactly_what_it_was(rate: float) -> None:
    assert parse_rate(write_rate(rate)) == rate


@given(st.floats(0, 100))
def test_a_written_percentage_means_exactly_what_it_was(percent: float) -> None:
    assert parse_percent(write_percent(percent)) == percent


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (write_duration(10.0), "10s"),
        (write_duration(0.0), "0s"),
        (write_duration(0.25), "250ms"),
        (write_duration(1800.0), "30m"),
        (write_duration(43200.0), "12h"),
        (write_duration(604800.0), "7d"),
        (write_size(50_000_000), "50MB"),
        (write_size(1_610_612_736), "1.5GiB"),
        (write_size(512), "512B"),
        (write_size(0), "0B"),
        (write_rate(5e8), "500MB/h"),
        (write_rate(1e6 / 24), "1MB/d"),
        (write_percent(80.0), "80%"),
        (write_percent(99.5), "99.5%"),
    ],
)
def test_units_are_written_as_people_write_them(written: str, text: str) -> None:
    assert written == text
