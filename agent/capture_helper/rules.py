"""What the helper does for whom, by its own settings: a daemon that was taken over gains no more."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from agent.consent import Consent
from agent.evidence.source import Tier

LOOKING = ("smaps", "py-spy", "heap contents", "status", "fds")
"""Served unasked: they only read, and run no program but our own py-spy."""
LOCALS = "locals"
CONSENTS = tuple(field.name for field in fields(Consent) if field.name != "pprof")
"""What can be allowed; an address to fetch from is nobody's to choose: a page needs no rights."""
ALLOWABLE = (LOCALS, *CONSENTS)
ROOT_UID = 0


def consent_of(names: Iterable[str]) -> Consent:
    """Return the consent that these names of `CONSENTS` give."""
    given: dict[str, Any] = dict.fromkeys(names, True)
    return Consent(**given)


class RefusedError(Exception):
    """Why the helper does not do it, in a sentence for people."""


class NotServedError(Exception):
    """The helper has nothing to do with that source: the client is as well off alone."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is served, and with what."""

    users: tuple[str, ...] = ("leakwatch",)
    """Names or numbers; root is served besides."""
    served: tuple[str, ...] = LOOKING
    allowed: tuple[str, ...] = ()
    """Of `ALLOWABLE`: what an entry may ask for."""
    uid_of: Callable[[str], int] = lambda name: pwd.getpwnam(name).pw_uid

    def serves(self, uid: int) -> bool:
        """Whether this user is served; names are looked up anew, as a dynamic user comes and goes."""
        return uid == ROOT_UID or any(uid == self._uid(user) for user in self.users)

    def check_served(self, name: str) -> None:
        """Raise NotServedError for a source that is not on the list."""
        if name not in self.served:
            raise NotServedError(f"{name} is not served")

    def consent(self, asked: tuple[str, ...]) -> Consent:
        """Return what is asked for and allowed. Raises RefusedError for what no consent is named like."""
        unknown = sorted(set(asked) - set(CONSENTS))
        if unknown:
            raise RefusedError("does not know " + ", ".join(unknown))
        return consent_of(set(asked) & set(self.allowed))

    def refusal(self, asked: tuple[str, ...]) -> str:
        """Return the sentence on what is asked for beyond what is allowed."""
        return "does not allow " + ", ".join(sorted(set(asked) - set(self.allowed)))

    def check_tier(self, tier: Tier, consent: Consent) -> None:
        """Raise RefusedError for a heavy source that is not allowed."""
        if tier >= Tier.HEAVY and not consent.heavy:
            raise RefusedError("does not allow heavy")

    def _uid(self, user: str) -> int | None:
        if user.isdigit():
            return int(user)
        with suppress(KeyError):
            return self.uid_of(user)
        return None
