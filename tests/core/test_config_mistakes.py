"""Every mistake gives the sentence that a person needs, with the line where it was made."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from agent.alerts.channels import CHANNEL_OPTIONS
from agent.config import ConfigError, parse
from agent.decode.schema import one_of

TABLE = yaml.safe_load(Path(__file__).parent.with_name("data").joinpath("config_mistakes.yaml").read_text())


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "lw.yaml", {})
    return str(caught.value).splitlines()


@pytest.mark.parametrize("row", TABLE, ids=[row["mistake"] for row in TABLE])
def test_each_mistake_has_its_sentence(row: dict[str, str]) -> None:
    sentence = row["sentence"].replace("KINDS", one_of(tuple(CHANNEL_OPTIONS)))

    assert mistakes(row["file"]) == [f"lw.yaml:{sentence}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines() -> None:
    text = """\
        poll_interval: 10
        watch:
        - service: api
          match: {pid: 1, pidfile: /run/a.pid, exe: [node]}
        - service: web
          matches: {exe: node}
          channels: [slakc]
        channels:
          slack: {webhook_url: ''}
          sentry: {}
        """

    lines = [line.split(" expected")[0] for line in mistakes(dedent(text))]

    assert lines == [
        "lw.yaml:1: poll_interval:",
        "lw.yaml:4: watch[0].match.exe:",
        "lw.yaml:6: watch[1].matches:",
        "lw.yaml:7: watch[1].channels[0]:",
        "lw.yaml:10: channels.sentry.dsn:",
    ]


def test_a_broken_general_threshold_is_told_once_and_not_blamed_on_entries() -> None:
    text = (
        "thresholds: {growth: fast}\nwatch:\n- service: a\n  match: {exe: a}\n  thresholds: {growth: 9GB/h}"
    )

    assert [line.split(" expected")[0] for line in mistakes(text)] == ["lw.yaml:1: thresholds.growth:"]


def test_a_broken_channel_still_has_its_name() -> None:
    text = "channels:\n  slack: {webhook_url: 1}\nroutes:\n- channels: [slack]"

    assert [line.split(" expected")[0] for line in mistakes(text)] == [
        "lw.yaml:2: channels.slack.webhook_url:"
    ]


def test_invalid_utf8_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(b"host: a\nstate_dir: /\xff\n", "lw.yaml", {})

    assert str(caught.value) == "lw.yaml:2: expected text in UTF-8, found other bytes"


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{b: " * 3000, "- " * 20_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert mistakes(text)


def test_aliases_that_multiply_are_refused() -> None:
    levels = ["a0: &a0 {x: 1}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    text = "\n".join(levels) + "\nlog: {<<: *a11}\n"

    assert any("aliases multiply" in line for line in mistakes(text))


def test_aliases_in_lists_that_multiply_are_refused() -> None:
    labels = ", ".join(f"k{n}: v" for n in range(1000))
    entries = "\n".join(["- *e"] * 200)
    text = f"watch:\n- &e {{service: a, match: {{exe: a}}, labels: {{{labels}}}}}\n{entries}\n"

    assert any("aliases multiply" in line for line in mistakes(text))


def test_a_merge_of_itself_is_refused() -> None:
    assert mistakes("log: &log\n  <<: *log\n")
