"""What the file may say about evidence."""

from __future__ import annotations

from dataclasses import dataclass

from agent.options import Duration, Size, option


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """What a capture may take and cost."""

    enabled: bool = option(default=True, describe="take snapshots when a leak turns critical")
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
