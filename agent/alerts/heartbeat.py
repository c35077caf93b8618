"""A heartbeat over HTTP: one POST to an address that raises the alarm when it stays away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.address import secret_url_problem
from agent.alerts.answers import demand_success
from agent.alerts.options import HttpOptions
from agent.options import Duration, at_least, option
from agent.secret import Secret

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort
    from agent.model import Instant

_ADVICE = {404: "no such check, look the address up again", 405: "this address takes no POST"}


@dataclass(frozen=True, slots=True)
class HeartbeatOptions:
    """Who misses us when we are gone."""

    url: Secret = option(describe="address that expects to be asked regularly", check=secret_url_problem)
    every_s: Duration = option(
        60.0, key="every", describe="time between two beats", check=at_least(10.0, "at least 10s")
    )
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")


class HttpBeat:
    """Asks the address, as Healthchecks, Dead Man's Snitch, Better Stack, Cronitor and others expect it."""

    def __init__(self, options: HeartbeatOptions, http: HttpPort) -> None:
        self._options = options
        self._http = http

    def beat(self, now: Instant) -> None:
        """Post nothing to it. Raises DeliveryError."""
        del now
        url = self._options.url
        response = self._http.post(url, b"", {"Content-Type": "text/plain"})
        if response.headers.get("content-type", "").startswith("text/html") and response.status < 300:  # noqa: PLR2004
            return  # some of them answer with a page, and no login stands before any of them
        demand_success(response, url, advice=_ADVICE)
