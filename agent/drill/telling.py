"""Tells one alert through many channels at once, each with its own result."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.alerts.base import Channel, DeliveryError
from agent.drill.steps import Grade, Step
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.clock import Clock
    from agent.model import Alert


@dataclass(slots=True)
class _Sending:
    """One channel's attempt; its results hold once its thread has ended."""

    channel: Channel
    failure: str = ""
    took_s: float | None = None


def tell(
    alert: Alert, channels: Iterable[Channel], clock: Clock, wait_s: float | None = None
) -> Iterator[tuple[str, Step]]:
    """Send once through every channel, whatever it wants; yield each name and row, in their order.

    The channels do not wait for each other, and nothing is tried again. A send ends by the time-outs of its
    channel; `wait_s` is how long to wait for each at most, None until it ends.
    """
    for sending, thread in [_begin(alert, channel, clock) for channel in channels]:
        thread.join(wait_s)
        late = thread.is_alive()
        told = (
            _Sending(sending.channel, f"no answer in {format_duration(wait_s or 0.0)}") if late else sending
        )
        yield sending.channel.name, _step(told, alert)


def title(name: str, transition: str) -> str:
    """Return what the row of a channel is called."""
    return f"channel {name}: {transition}"


def stamped(alert: Alert, wall_s: float) -> Alert:
    """Return the alert as one of this moment, marked as a drill: the drill's own clock has skipped ahead."""
    return replace(alert, drill=True, at_wall_s=wall_s, since_wall_s=wall_s - alert.duration_s)


def _begin(alert: Alert, channel: Channel, clock: Clock) -> tuple[_Sending, threading.Thread]:
    sending = _Sending(channel)
    # A daemon thread: Ctrl-C does not wait for a receiver that hangs.
    thread = threading.Thread(target=_send, args=(sending, alert, clock), name="drill", daemon=True)
    thread.start()
    return sending, thread


def _send(sending: _Sending, alert: Alert, clock: Clock) -> None:
    begun = clock.now()
    try:
        sending.channel.send(alert)
    except DeliveryError as error:
        healing = "" if error.permanent else "; a running daemon would try again"
        sending.failure = f"{one_line(str(error))}{healing}"
    except Exception as error:  # noqa: BLE001 - one channel's fault is its own row
        # Without its message, which may quote an address with a secret in it.
        sending.failure = f"unexpected {type(error).__name__} in the channel"
    sending.took_s = clock.now().t_s - begun.t_s


def _step(sending: _Sending, alert: Alert) -> Step:
    name = title(sending.channel.name, alert.transition)
    if sending.failure:
        return Step(name, Grade.FAILED, "failed", sending.took_s, sending.failure)
    return Step(name, Grade.OK, "delivered", sending.took_s, f"{alert.dedup_key}, marked as a drill")
