"""What the file may say about the health and metrics server."""

from __future__ import annotations

from dataclasses import dataclass

from agent.options import option
from agent.secret import Secret


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Off unless the file has a `web` section."""

    listen: str = option("127.0.0.1:9477", describe="host:port; anything but loopback needs a token")
    token: Secret | None = option(None, describe="bearer token that requests must carry")
