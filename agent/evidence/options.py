"""What the file may say about evidence."""

from __future__ import annotations

from dataclasses import dataclass

from agent.options import Duration, Size, option


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """What a capture may take and cost."""

    enabled: bool = option(default=True, describe="take snapshots when a leak is told")
    locals: bool = option(
        default=False, describe="include local variables in py-spy dumps (they can hold secrets)"
    )
    timeout_s: Duration = option(5.0, key="timeout", describe="a tool that takes longer is stopped")
    disk_budget_bytes: Size = option(
        500_000_000,
        key="disk_budget",
        describe="all captures together; the first and the newest of an incident stay",
    )
    cooldown_s: Duration = option(600.0, key="cooldown", describe="between two captures of one process")
    baselines: bool = option(
        default=True, describe="a cheap look at every process once it has settled, to be compared with later"
    )
    baseline_budget_bytes: Size = option(
        20_000_000, key="baseline_budget", describe="all baselines together; one has some kilobytes"
    )
    max_pause_s: Duration = option(
        2.0, key="max_pause", describe="what would hold a process for longer is not taken unasked"
    )
    max_heavy_pause_s: Duration = option(
        60.0, key="max_heavy_pause", describe="the same where the entry allows heavy evidence"
    )
    arguments: bool = option(
        default=False, describe="tell command lines as they are, in alerts too (they can hold secrets)"
    )
    helper: str = option(
        "/run/leakwatch-capture.sock",
        describe='where leakwatch-capture is asked for what our own rights do not reach; "" for nowhere',
    )
