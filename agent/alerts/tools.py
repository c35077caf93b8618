"""What every channel may be built with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.alerts.answers import HttpPort
from agent.alerts.base import Notes
from agent.alerts.options import HttpOptions
from agent.clock import Clock


@dataclass(frozen=True, slots=True)
class Tools:
    """Clock, network and memory of channels."""

    clock: Clock
    http: Callable[[HttpOptions], HttpPort]
    """Makes the HTTP client of one channel."""
    notes: Notes
