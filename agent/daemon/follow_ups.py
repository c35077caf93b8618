"""Second looks: a leak that had nothing to be compared with is looked at again after a while, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.evidence.worker import Order
    from agent.model import Instant, ProcessKey


class _Planned(NamedTuple):
    due_t_s: float
    order: Order
    in_any_case: bool


class FollowUps:
    """What is to be looked at once more, by incident."""

    def __init__(self) -> None:
        self._planned: dict[str, _Planned | None] = {}
        """None where the second look was taken, or nothing lacked."""

    def plan(self, order: Order, after_s: float, *, in_any_case: bool = False) -> None:
        """Note the first costly look of an incident; of later ones the first is the earlier point.

        One `in_any_case` is repeated whatever the first has found: it was lost.
        """
        self._planned.setdefault(order.label, _Planned(order.now.t_s + after_s, order, in_any_case))

    def forget(self, incident_id: str) -> None:
        """Let go of an incident that is over."""
        self._planned.pop(incident_id, None)

    def due(self, now: Instant, unpaired: Callable[[ProcessKey], bool]) -> list[Order]:
        """Return what is to be looked at now; `unpaired` says of whom it is not known what grew."""
        due = [one for one in self._planned.values() if one is not None and now.t_s >= one.due_t_s]
        for one in due:
            self._planned[one.order.label] = None
        wanted = [one.order for one in due if one.in_any_case or unpaired(one.order.process.key)]
        return [order._replace(now=now) for order in wanted]
