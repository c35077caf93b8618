"""What docs/channels.md shows of Datadog and Alertmanager is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alert_samples import alert

from agent.alerts.alertmanager import labels, payload
from agent.config import parse

SECTIONS = dict(
    re.findall(
        r"(?ms)^## (\S+)\n(.*?)(?=^## |\Z)",
        (Path(__file__).parents[2] / "docs" / "channels.md").read_text(encoding="utf-8"),
    )
)
EXAMPLES = [
    (kind, text)
    for kind in ("datadog", "alertmanager")
    for text in re.findall(r"(?s)```yaml\n(.*?)```", SECTIONS[kind])
]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES, ids=lambda value: value[:12].strip())
def test_every_example_loads(kind: str, text: str) -> None:
    config = parse(text.encode(), "lw.yaml", {})

    assert {type(one).__name__.lower() for one in config.live_channels.values()} == {f"{kind}options"}


def test_every_annotation_that_is_named_is_sent() -> None:
    told = payload(alert(kind="native", probability=0.97), labels(alert(), {}), 0.0, 1.0)["annotations"]
    named = re.findall(
        r"`([a-z_]+)`", SECTIONS["alertmanager"].partition("annotation:")[2].partition("`startsAt`")[0]
    )

    assert "growth_rate" in named
    assert set(named) - told.keys() == {"runbook_url"}
