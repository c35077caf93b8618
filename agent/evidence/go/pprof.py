"""Asks a Go program for its profiles over HTTP, within a time and within bounds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.evidence.go import profile
from agent.evidence.source import SourceError
from agent.fetch import FetchError, fetch

if TYPE_CHECKING:
    from agent.evidence.go.address import Address
    from agent.evidence.go.profile import Profile

MAX_ANSWER_BYTES = 4_000_000
"""Compressed, as it is sent; 20,000 stacks take about 600 kB."""
MAX_TEXT_BYTES = 24_000_000
"""The text form of the same."""
_IN_USE = re.compile(rb"^# HeapAlloc = (\d{1,19})\r?$", re.MULTILINE)
"""What runtime/pprof writes at the end of the text form of the heap profile (writeHeapInternal)."""


def fetch_profile(
    name: str, address: Address, what: str, *, counting: str, timeout_s: float
) -> tuple[bytes, Profile]:
    """Return a profile as it was sent, and decoded; `name` begins the sentence of a SourceError.

    One that does not count what is asked for is refused.
    """
    raw = _get(name, address, what, timeout_s, MAX_ANSWER_BYTES)
    try:
        found = profile.decode(raw)
        found.column(counting)
    except profile.ProfileError as error:
        raise SourceError(f"{name}: {address} answered with {error}") from None
    return raw, found


def heap_in_use(name: str, address: Address, *, collect: bool, timeout_s: float) -> int:
    """Return the bytes of objects on the heap, of those not yet swept too; after a collection where asked.

    Raises SourceError.
    """
    what = "heap?debug=1&gc=1" if collect else "heap?debug=1"
    page = _get(name, address, what, timeout_s, MAX_TEXT_BYTES)
    found = _IN_USE.search(page)
    if found is None:
        raise SourceError(f"{name}: {address} does not tell HeapAlloc")
    return int(found[1])


def _get(name: str, address: Address, what: str, timeout_s: float, max_bytes: int) -> bytes:
    """Ask for one page; `fetch` spends its time once on connecting and once on the answer."""
    try:
        return fetch(f"{address.base}/{what}", timeout_s=timeout_s / 2, max_bytes=max_bytes)
    except FetchError as error:
        raise SourceError(f"{name}: {error}") from None
