"""Apprise: e-mail, Teams, Discord, Telegram, ntfy, Opsgenie and a hundred more, by addresses of their own."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.apprise_sending import TIMEOUT_S, Sending
from agent.alerts.base import ChannelOptions, DeliveryError, Mistake
from agent.options import Duration, at_least, option
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.alerts.base import Notes
    from agent.alerts.tools import Tools
    from agent.model import Alert

NOT_INSTALLED = "the package apprise, which pip install 'leakwatch[apprise]' adds"
UNKNOWN = "an address that Apprise knows (https://appriseit.com/services/)"
_DIGEST_BYTES = 4


@dataclass(frozen=True, slots=True)
class AppriseOptions(ChannelOptions):
    """Where the messages go."""

    urls: tuple[Secret, ...] = option(
        describe='addresses as Apprise writes them, e.g. "mailtos://user:password@example.com"'
    )
    timeout_s: Duration = option(
        TIMEOUT_S,
        key="timeout",
        describe="how long one address may take as a whole",
        check=at_least(1.0, "at least 1s"),
    )

    def build(self, name: str, tools: Tools) -> AppriseChannel:
        """Return the channel."""
        return AppriseChannel(name, self, tools.notes)

    def mistakes(self, given: Callable[[str], bool]) -> Iterator[Mistake]:  # noqa: ARG002 - its key is required
        """Yield the addresses that Apprise does not know."""
        if not self.urls:
            yield Mistake(("urls",), "at least one address", "none")
        for at, url in enumerate(self.urls):
            problem = _address_problem(url) if url else None
            if problem:
                found = "another text (not shown)" if problem == UNKNOWN else "no such package"
                yield Mistake(("urls", at), problem, found)


class AppriseChannel:
    """Tells every address; what one has taken it is not told again when another one failed.

    Apprise gives no reason by which a failure could be told to be permanent: each is tried again.
    """

    def __init__(self, name: str, options: AppriseOptions, notes: Notes) -> None:
        self.name = name
        self._options = options
        self._notes = notes
        self._sendings = tuple(Sending(url, options.timeout_s) for url in options.urls)

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a channel of people is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Tell the addresses that have not taken it yet. Raises DeliveryError with what the others said."""
        note = self._notes.read(self.name, alert.incident_id)
        same = note.get("sequence") == alert.sequence
        taken, failed = ({*note.get(key, ())} if same else set() for key in ("taken", "failed"))
        reasons = []
        for sending in self._sendings:
            digest = _digest(sending.url)
            if digest in taken:
                continue
            try:
                # A picture that a server does not take must not keep the words from arriving.
                sending.send(alert, with_picture=digest not in failed)
            except DeliveryError as error:
                failed.add(digest)
                reasons.append(str(error))
            else:
                taken.add(digest)
            told = {"sequence": alert.sequence, "taken": sorted(taken), "failed": sorted(failed)}
            self._notes.write(self.name, alert.incident_id, told)
        if reasons:
            raise DeliveryError(_sentence(reasons, len(self._sendings)))


def _address_problem(url: Secret) -> str | None:
    """Return what was expected instead of this address, or that Apprise is not installed."""
    if importlib.util.find_spec("apprise") is None:
        return NOT_INSTALLED
    return None if Sending(url).is_known else UNKNOWN


def _digest(url: Secret) -> str:
    """Return a mark of the address that is too short to guess it by."""
    import hashlib  # noqa: PLC0415 - libcrypto is 3.5 MB, and most files have no such channel

    return hashlib.blake2s(url.reveal().encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _sentence(reasons: Sequence[str], addresses: int) -> str:
    told = f"; {addresses - len(reasons)} of {addresses} addresses took it" if addresses > 1 else ""
    return "; ".join(reasons) + told
