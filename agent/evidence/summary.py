"""What evidence.json holds: whose capture it is, when it was taken, what was found and what is missing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.evidence.files import REPORT
from agent.evidence.folder import SUMMARY
from agent.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from agent.evidence.taking import Taking

SCHEMA = 3
"""The version of the files' form."""


def summary_of(taking: Taking, told: Sequence[str]) -> dict[str, Any]:
    """Return the summary as JSON values; `told` is what was found before, in the same folder."""
    process, when = taking.process, datetime.fromtimestamp(taking.now.wall_s, UTC)
    command = process.command if taking.options.arguments else redact(process.command)
    return {
        "schema": SCHEMA,
        "taken_at": when.isoformat(timespec="seconds"),
        "taken_t_s": taking.now.t_s,
        "label": taking.folder.path.parent.name,
        "process": asdict(process) | {"key": str(process.key), "command": command},
        "gist": list(joined(told, taking.evidence().gist)),
        "missing": taking.missing,
        "disproof": taking.disproof,
        "files": [name for name in taking.folder.files if name not in (SUMMARY, REPORT)],
    }


def joined(told: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    """Return what was found now before what was found earlier, each line once."""
    return tuple(dict.fromkeys((*found, *told)))
