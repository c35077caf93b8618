"""What is charted: every tick's figures, for the channels that take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.alerts.channels import CHANNEL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.config import Config
    from agent.daemon.datadog_gauges import DatadogGauges
    from agent.daemon.watched import Watched
    from agent.incidents import Incident


class Gauges:
    """Hands the figures of completed ticks to every Datadog channel of the configuration."""

    def __init__(self, config: Config, host: str) -> None:
        self._host = host
        self._charted: dict[str, DatadogGauges] = {}
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Send to the channels of another configuration from now on."""
        live = config.live_channels.items()
        wanted: dict[str, Any] = {n: o for n, o in live if CHANNEL_OPTIONS.name_of(o) == "datadog"}
        for name, gauges in list(self._charted.items()):
            if wanted.get(name) != gauges.options:
                gauges.stop(timeout_s=0.0)
                del self._charted[name]
        for name in wanted.keys() - self._charted.keys():
            from agent.daemon.datadog_gauges import DatadogGauges  # noqa: PLC0415 - only where it is used

            self._charted[name] = DatadogGauges(name, wanted[name], self._host)

    def publish(self, watched: Sequence[Watched], incidents: Sequence[Incident]) -> None:
        """Hand over the gauges of one completed tick; never waits."""
        for gauges in self._charted.values():
            gauges.publish(watched, incidents)

    def stop(self, timeout_s: float) -> None:
        """End the sending threads."""
        for gauges in self._charted.values():
            gauges.stop(timeout_s)
        self._charted.clear()
