"""What changed between two captures: tables of what is measured in both, the fastest growth first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.report.files import FILES, PACKED, reader
from agent.text import one_line

if TYPE_CHECKING:
    from agent.report.capture import Capture
    from agent.report.readings import Measured


class Change(NamedTuple):
    """One value in both captures; 0 where it is in one only."""

    name: str
    before: float
    after: float

    @property
    def grown(self) -> float:
        """By how much it grew; negative where it shrank."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Table:
    """What changed of one thing that is measured."""

    title: str
    unit: str
    """ "bytes", or what is counted."""
    changes: tuple[Change, ...]
    """Only what differs, by growth."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed between two captures."""

    tables: tuple[Table, ...]
    """Those in which something changed."""
    skipped: tuple[str, ...]
    """What could not be compared, a sentence each."""
    between_s: float | None
    """Seconds between the two."""
    same_process: bool


def compare(before: Capture, after: Capture) -> Comparison:
    """Return what changed. Raises CaptureError where one of them has no summary, OSError."""
    first, second = before.summary(), after.summary()
    names_before, names_after = _by_plain_name(before), _by_plain_name(after)
    tables: list[Table] = []
    skipped = []
    for plain in _in_order(names_before.keys() & names_after.keys()):
        try:
            tables += _tables(_measured(before, names_before[plain]), _measured(after, names_after[plain]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = one_line(str(error) or type(error).__name__)
            skipped.append(f"{plain}: cannot be compared ({why})")
    only = {name for name in names_before.keys() ^ names_after.keys() if reader(name) is not None}
    skipped += [f"{plain}: is in one of them only" for plain in _in_order(only)]
    return Comparison(tuple(tables), tuple(skipped), _between_s(first, second), _same(first, second))


def difference(before: Measured, after: Measured) -> Table:
    """Return what differs between two tables of one title."""
    names = before.values.keys() | after.values.keys()
    changes = [Change(name, before.values.get(name, 0.0), after.values.get(name, 0.0)) for name in names]
    changed = [change for change in changes if change.grown]
    changed.sort(key=lambda change: (-change.grown, change.name))
    return Table(after.title, after.unit, tuple(changed))


def _tables(before: tuple[Measured, ...], after: tuple[Measured, ...]) -> list[Table]:
    earlier = {(one.title, one.unit): one for one in before}
    pairs = [(earlier[one.title, one.unit], one) for one in after if (one.title, one.unit) in earlier]
    return [table for pair in pairs if (table := difference(*pair)).changes]


def _measured(capture: Capture, name: str) -> tuple[Measured, ...]:
    read = reader(name)
    return () if read is None else read(capture.read(name))


def _by_plain_name(capture: Capture) -> dict[str, str]:
    """Return the files by their names without the ending of a packed one."""
    return {name.removesuffix(PACKED): name for name in capture.files()}


def _in_order(names: set[str]) -> list[str]:
    """Return names as the registry has them, others after it."""
    known = list(FILES)
    return sorted(names, key=lambda name: (known.index(name) if name in FILES else len(known), name))


def _between_s(first: dict[str, Any], second: dict[str, Any]) -> float | None:
    try:
        taken = [datetime.fromisoformat(one["taken_at"]).timestamp() for one in (first, second)]
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return taken[1] - taken[0]


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    keys = [
        one["process"].get("key") if isinstance(one.get("process"), dict) else None for one in (first, second)
    ]
    return keys[0] is not None and keys[0] == keys[1]
