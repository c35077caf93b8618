"""The files that are shipped say what the code does."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from agent.config import Config, default_config, effective_values, load, parse
from agent.decode.schema import Tagged, keys_of, mark_of

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = CONFIG / "leakwatch.yaml"
EXAMPLES = sorted((CONFIG / "examples").glob("*.yaml"))
OPTION = re.compile(r"^#(?=(  )*(- )?[a-z_-]+:( |$))", re.MULTILINE)
"""A "#" that turns an option off, unlike one that begins a sentence."""


def options_of(hint: Any) -> set[type]:
    """Return a class of options and every one below it."""
    mark = mark_of(hint)
    if isinstance(mark, Tagged):
        inner = tuple(mark.classes.values())
    elif is_dataclass(hint):
        inner = tuple(key.kind for key in keys_of(hint).values())
    else:
        inner = get_args(hint) if get_origin(hint) in (tuple, dict) else ()
    found = {hint} if is_dataclass(hint) else set()
    return found.union(*(options_of(part) for part in inner))  # type: ignore[arg-type]


def every_option_set(folder: Path) -> Config:
    (folder / "slack-backend.url").write_text("https://hooks.slack.com/services/T/B/x\n")
    text = OPTION.sub("", SHIPPED.read_text())
    return parse(text.encode(), str(folder / "leakwatch.yaml"), {})


def test_the_shipped_file_loads_as_it_stands_in_an_empty_environment() -> None:
    config = load(SHIPPED, {})

    assert config.discovers
    assert config.off == {
        "slack": "webhook_url is empty: SLACK_WEBHOOK_URL is not set",
        "sentry": "dsn is empty: SENTRY_DSN is not set",
        "pagerduty": "routing_key is empty: PAGERDUTY_ROUTING_KEY is not set",
    }


def test_the_shipped_file_turns_channels_on_by_the_environment_alone() -> None:
    env = {
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/x",
        "SENTRY_DSN": "https://key@o1.ingest.sentry.io/42",
        "PAGERDUTY_ROUTING_KEY": "0" * 32,
    }

    assert list(load(SHIPPED, env).live_channels) == ["slack", "sentry", "pagerduty"]


def test_the_shipped_file_changes_no_default() -> None:
    shipped, defaults = effective_values(load(SHIPPED, {})), effective_values(default_config())

    assert {key for key in defaults if shipped[key] != defaults[key]} == {"channels"}


def test_the_shipped_file_has_every_key_that_the_code_knows() -> None:
    text = SHIPPED.read_text()
    known = {key.name for options in options_of(Config) for key in keys_of(options).values()}
    # In {pid: 4211} a key stands behind a brace.
    shown = set(re.findall(r"(?m)(?:^|^#|[{ ,])([a-z_]+):(?= |$)", text))

    assert known - shown == set()


def test_every_option_of_the_shipped_file_may_be_set_as_it_stands(tmp_path: Path) -> None:
    config = every_option_set(tmp_path)

    assert len(config.watch) > 3
    assert "slack-backend" in config.live_channels


def test_every_default_that_the_shipped_file_shows_is_the_default(tmp_path: Path) -> None:
    shown, defaults = effective_values(every_option_set(tmp_path)), effective_values(default_config())
    examples = {"host", "state_dir", "watch", "channels", "routes", "links", "web", "heartbeat"}

    assert {key for key in defaults if shown[key] != defaults[key]} == examples


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads_in_an_empty_environment(path: Path) -> None:
    assert load(path, {}).off


def test_there_is_an_example_for_each_common_case() -> None:
    assert [path.stem for path in EXAMPLES] == ["gunicorn", "jvm", "node-systemd", "pod-sidecar"]
