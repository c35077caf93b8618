"""Whatever happens to a good file, it becomes a Config or a ConfigError, and no secret gets out."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config import ConfigError, effective, parse

WEBHOOK = "https://hooks.slack.com/services/T00/B00/QzXwSlackToken99"
DSN = "https://QzXwSentryKey99@o1.ingest.sentry.io/42"
ROUTING_KEY = "QzXw9PagerDuty99QzXw9PagerDuty99"
PROXY = "http://user:QzXwProxy99@proxy:3128"
TOKEN = "QzXwWebToken99"
FROM_ENV = "FilledInFromEnv"
MARK = "QzXw"
ENV = {"FROM_ENV": FROM_ENV}

GOOD = f"""\
poll_interval: 10s
discovery_interval: 1m
state_dir: /var/lib/leakwatch
host: web-3
log: {{level: info, format: json}}
thresholds:
  heap_percent: 70%
  growth: 100MB/h
watch:
  - service: api
    match:
      exe: python3
      command: 'gunicorn.*api'
    children: true
    labels: {{team: "backend", tier: '1'}}
    thresholds:
      growth_for: 5m
    channels: [slack]
  - service: db
    match: {{port: 5432}}
discover: {{enabled: false, min_rss: 50MB}}
channels:
  slack:
    webhook_url: {WEBHOOK}
    http:
      timeout: 5s
      proxy: {PROXY}
  sentry:
    dsn: "{DSN}"
    environment: production
  pages: {{type: pagerduty, routing_key: '{ROUTING_KEY}'}}
routes:
  - channels: [slack, sentry, pages]
    services: ["*"]
    severity: [critical]
incidents:
  remind_every: 12h
evidence:
  locals: false
web:
  listen: 127.0.0.1:9477
  token: {TOKEN}
"""
LINES = GOOD.splitlines(keepends=True)
VALUES = [
    *("true", "10", "1.5", "-1", "0x10", "1:30", "1e400", "9" * 30, "null", "~", "2026-01-01", "text"),
    *(
        "''",
        "[]",
        "{}",
        "[1, 2]",
        "{a: b}",
        "!!binary aGk=",
        "&x",
        "*x",
        "<<",
        "|",
        ">",
        "%",
        "@",
        "[[[[",
        "? a",
    ),
    *("'${FROM_ENV}'", "${FROM_ENV}", "${", "${NOPE}", '"\\ud800"', '"\\0"'),
]


def outcome(data: bytes) -> str:
    """Return everything that may be printed after loading; raises what is not a ConfigError.

    Only what is in force may tell what the environment said, and only for keys that are no secrets.
    """
    try:
        config = parse(data, "lw.yaml", ENV)
    except ConfigError as error:
        told = str(error) + repr(error) + "".join(str(asdict(problem)) for problem in error.problems)
        return told.replace(FROM_ENV, MARK)
    return repr(config) + effective(config)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["delete", "double", "swap", "value", "indent", "colon", "cut", "quote"])):
            case "delete" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "value":
                lines[at] = lines[at].split(":")[0] + ": " + draw(st.sampled_from(VALUES)) + "\n"
            case "indent":
                lines[at] = draw(st.sampled_from(["  ", "    ", "\t", "- "])) + lines[at]
            case "colon":
                lines[at] = lines[at].replace(": ", ":", 1)
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "quote":
                lines[at] = lines[at].replace(": ", ": " + draw(st.sampled_from("\"'[{|>&*!%@`")), 1)
    return "".join(lines).encode()


@settings(max_examples=250, deadline=None)
@given(mutated())
def test_any_change_of_lines_gives_a_config_or_its_mistakes_and_tells_no_secret(data: bytes) -> None:
    assert MARK not in outcome(data)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, 8), st.binary(max_size=6))
def test_random_bytes_give_a_config_or_its_mistakes(at: int, removed: int, added: bytes) -> None:
    data = GOOD.encode()

    assert outcome(data[:at] + added + data[at + removed :])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text("{}[]:-*&!%@`'\"|>?#,~ \n\tab0", max_size=60).map(str.encode))
def test_a_file_of_anything_gives_a_config_or_its_mistakes(data: bytes) -> None:
    assert outcome(data)


def test_the_good_file_is_good() -> None:
    config = parse(GOOD.encode(), "lw.yaml", ENV)

    assert [entry.service for entry in config.watch] == ["api", "db"]
    assert config.off == {}
    assert MARK not in outcome(GOOD.encode())
