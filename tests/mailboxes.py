"""A real SMTP server on loopback that keeps the mails it takes, and refuses them on request.

with Mailbox() as mailbox:
    ...                              # something mails to mailbox.url
    (mail,) = mailbox.mails
    mailbox.refuse("550 no such user")
"""

from __future__ import annotations

import logging
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

if TYPE_CHECKING:
    from email.message import EmailMessage

PASSWORD = "smtpPasswordSecret"

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # the server's own: what it is sent is no leak


class _Controller(Controller):
    """Finds out its port before it knocks at its own door: it does not expect to be given any."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """Listens while its block runs."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self._refusal = ""
        self._controller = _Controller(
            self, hostname="127.0.0.1", port=0, authenticator=_accept, auth_require_tls=False
        )

    def __enter__(self) -> Self:
        self._controller.start()
        self.port: int = self._controller.port
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    @property
    def url(self) -> str:
        return mail_url(self.port)

    def refuse(self, answer: str) -> None:
        """Answer so to every mail from now on."""
        self._refusal = answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self._refusal:
            return self._refusal
        self.raw.append(envelope.content)
        self.mails.append(cast("EmailMessage", message_from_bytes(envelope.content, policy=policy.default)))
        return "250 taken"


def mail_url(port: int) -> str:
    """Return the address of a mailbox as Apprise writes it."""
    people = "from=leakwatch@example.com&to=oncall@example.com"
    return f"mailto://someone:{PASSWORD}@127.0.0.1:{port}/?{people}&mode=insecure"


def _accept(*_: object) -> AuthResult:
    return AuthResult(success=True)
