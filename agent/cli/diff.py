"""`leakwatch diff`: what changed between two captures, the fastest growth first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent.cli import state
from agent.cli.tables import table
from agent.report.capture import CaptureError, find
from agent.report.comparison import compare
from agent.report.readings import BYTES
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.report.capture import Capture
    from agent.report.comparison import Change, Comparison, Table

SAME, CHANGED = 0, 1
DEFAULT_TOP = 10


@click.command("diff")
@click.argument("first", metavar="CAPTURE")
@click.argument("second", metavar="[CAPTURE]", required=False)
@click.option(
    "--top", type=click.IntRange(min=1), default=DEFAULT_TOP, show_default=True, help="Rows of each table."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with every row.")
@state.options
def command(
    first: str,
    second: str | None,
    top: int,
    config_file: str | None,
    state_dir: str | None,
    *,
    as_json: bool,
) -> None:
    """Say what changed between two captures: memory, threads, descriptors, stacks, classes, sites.

    CAPTURE is a folder, or the beginning of an incident's ID or of a dump's name (its pid): the newest
    capture of it is taken. With one CAPTURE alone, its first is compared with its newest.

    \b
    Exit codes: 0 nothing changed, 1 something changed, 2 they cannot be compared.
    """  # noqa: D301 - click's mark for lines that stay as they are
    try:
        before, after = _pair(first, second, state.directory(config_file, state_dir))
        found = compare(before, after)
    except CaptureError as error:
        state.end(str(error), as_json=as_json)
    except OSError as error:
        state.end(f"{error.filename}: {error.strerror}", as_json=as_json)
    if as_json:
        click.echo(json.dumps(_values(before, after, found), indent=2))
    else:
        click.echo("\n".join(_lines(before, after, found, top)))
    raise SystemExit(CHANGED if found.tables else SAME)


def _pair(first: str, second: str | None, state_dir: Path) -> tuple[Capture, Capture]:
    """Return the two that are meant. Raises CaptureError."""
    captures = find(first, state_dir)
    if second is not None:
        return captures[-1], find(second, state_dir)[-1]
    if len(captures) == 1:
        raise CaptureError(
            f"{captures[0].name} is the only one of {first}: take another, or name a second one"
        )
    return captures[0], captures[-1]


def _lines(before: Capture, after: Capture, found: Comparison, top: int) -> Iterator[str]:
    after_s = "" if found.between_s is None else f", {format_duration(abs(found.between_s))} apart"
    yield f"{before.path} -> {after.path}{after_s}"
    if not found.same_process:
        yield "these are two processes"
    if not found.tables:
        yield "nothing changed"
    for one in found.tables:
        yield ""
        yield one.title
        head = ("GREW", "BEFORE", "AFTER", "NAME")
        yield from table(head, [_row(change, one.unit) for change in one.changes[:top]])
        more = len(one.changes) - top
        if more > 0:
            yield f"  and {more} more"
    yield from (f"not compared: {why}" for why in found.skipped)


def _row(change: Change, unit: str) -> tuple[str, str, str, str]:
    grown = _amount(change.grown, unit)
    signed = grown if change.grown < 0 else f"+{grown}"
    return signed, _amount(change.before, unit), _amount(change.after, unit), change.name


def _amount(value: float, unit: str) -> str:
    return format_bytes(value) if unit == BYTES else f"{value:,.0f}" if value % 1 == 0 else f"{value:,.3g}"


def _values(before: Capture, after: Capture, found: Comparison) -> dict[str, Any]:
    return {
        "before": str(before.path),
        "after": str(after.path),
        "between_s": found.between_s,
        "same_process": found.same_process,
        "tables": [_table_values(one) for one in found.tables],
        "not_compared": list(found.skipped),
    }


def _table_values(one: Table) -> dict[str, Any]:
    rows = [change._asdict() | {"grown": change.grown} for change in one.changes]
    return {"title": one.title, "unit": one.unit, "rows": rows}
