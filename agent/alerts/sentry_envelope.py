"""Sentry's protocol: its DSN, its envelope and its rate limits (develop.sentry.dev/sdk/)."""

from __future__ import annotations

from typing import NamedTuple

from agent.alerts.address import is_loopback, split_url

EXPECTED_DSN = 'a DSN such as "https://KEY@HOST/PROJECT" (http only to loopback)'


class Dsn(NamedTuple):
    """Where a project's events go and the key that lets them in."""

    envelope_url: str
    public_key: str
    secret_key: str
    """Empty in every DSN made since 2017."""

    @classmethod
    def parse(cls, text: str) -> Dsn:
        """Read `PROTOCOL://KEY[:SECRET]@HOST[PATH]/PROJECT`. Raises ValueError naming only the form."""
        try:
            parts = split_url(text)
        except ValueError:
            raise ValueError(EXPECTED_DSN) from None
        prefix, _, project = parts.path.rpartition("/")
        clear = parts.scheme == "http" and not is_loopback(parts.hostname or "")
        if clear or not parts.username or not project or parts.query or parts.fragment:
            raise ValueError(EXPECTED_DSN)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{prefix}"
        return cls(f"{place}/api/{project}/envelope/", parts.username, parts.password or "")
