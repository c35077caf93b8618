"""The daemon's side of the socket: asks the capture helper, and writes what comes into its own folder."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.capture_helper.protocol import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_LINE_CHARS,
    MAX_LINES,
    MAX_WANTED,
    Ask,
    Message,
    ProtocolError,
    Request,
    file_name,
)
from agent.capture_helper.rules import CONSENTS, ROOT_UID
from agent.capture_helper.wire import peer_of, receive, send, within
from agent.evidence.folder import MAX_READ_BYTES, SUMMARY
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.consent import Consent
    from agent.evidence.source import Source
    from agent.evidence.taking import Taking
    from agent.model import ProcessKey

NAME = "leakwatch-capture"
CONNECT_S = 2.0
START_S = 5.0
"""Until a helper that systemd has yet to start gives its first answer, on a busy machine."""
TURNS_S = 25.0
"""Above what the helper itself waits: for its turn, for earlier files, for handing over."""
_ENOUGH = MAX_FILES + MAX_WANTED + 1


class HelperAbsentError(Exception):
    """Nobody listens there, we may not ask, or it has nothing to do with this: as if there were no helper."""


class NotSuitedError(Exception):
    """The source has nothing to tell of this process: the helper sees better of which kind it is."""


class HelperError(Exception):
    """Why the helper has not done it: a sentence without its name."""


@dataclass(frozen=True, slots=True)
class About:
    """What a helper says of itself."""

    version: str
    served: tuple[str, ...]
    allowed: tuple[str, ...]


class CaptureHelper:
    """The helper that listens at a path, nobody where it is empty. Each question is a connection."""

    def __init__(self, path: str) -> None:
        self.path = path

    def listens(self) -> bool:
        """Whether there is a socket; nothing is asked."""
        return bool(self.path) and Path(self.path).is_socket()

    def about(self) -> About:
        """Return what it serves and allows. Raises HelperAbsentError, HelperError."""
        with self._asked(Request(Ask.ABOUT), START_S) as line:
            head = receive(line).head
        if head.get("say") != "about":
            raise HelperError(_end(head))
        served, allowed = _texts(head.get("served")), _texts(head.get("allowed"))
        return About(one_line(str(head.get("version", "")), MAX_LINE_CHARS), served, allowed)

    def why_not(self, name: str, key: ProcessKey) -> str:
        """Return why it could not take a source of a process.

        Raises HelperAbsentError, NotSuitedError, HelperError.
        """
        with self._asked(_request(Ask.READY, name, key), START_S) as line:
            return _end(receive(line).head)

    def take(self, source: Source, taking: Taking) -> None:
        """Let it take a source, and keep what it gives as if the source had been taken here.

        Raises HelperAbsentError, NotSuitedError, HelperError with the source's own reason, and OSError where
        a file does not fit.
        """
        request = _request(
            Ask.TAKE,
            source.name,
            taking.process.key,
            timeout_s=taking.options.timeout_s,
            locals=taking.options.locals,
            consent=_words(taking.consent),
        )
        with self._asked(request, START_S + TURNS_S + taking.options.timeout_s) as line:
            why = _received(line, taking)
        if why:
            raise HelperError(why)

    @contextmanager
    def _asked(self, request: Request, seconds: float) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
            self._connect(line)
            try:
                with within(line, seconds):
                    with suppress(BrokenPipeError):  # turned away already: the reason lies there to be read
                        send(line, Message(request.to_json()))
                    yield line
            except (TimeoutError, ConnectionError, ProtocolError) as error:
                raise HelperError(str(error)) from None

    def _connect(self, line: socket.socket) -> None:
        if not self.path:
            raise HelperAbsentError("evidence.helper is empty")
        line.settimeout(CONNECT_S)
        try:
            line.connect(self.path)
            uid = peer_of(line).uid
        except (OSError, ValueError) as error:
            raise HelperAbsentError(f"{self.path}: {getattr(error, 'strerror', None) or error}") from None
        if uid not in (ROOT_UID, os.geteuid()):
            raise HelperAbsentError(f"{self.path} belongs to another user")
        line.settimeout(None)


def _request(ask: Ask, name: str, key: ProcessKey, **more: Any) -> Request:
    return Request(ask, name=name, pid=key.pid, start_ticks=key.start_ticks, boot_id=key.boot_id, **more)


def _words(consent: Consent) -> tuple[str, ...]:
    given = (field.name for field in fields(consent) if getattr(consent, field.name) is True)
    return tuple(name for name in given if name in CONSENTS)


def _received(line: socket.socket, taking: Taking) -> str:
    """Write files, answer for earlier ones, and return why nothing came at last, empty where it did."""
    for _ in range(_ENOUGH):
        message = receive(line, MAX_FILE_BYTES)
        said = message.head.get("say")
        if said == "want":
            send(line, _earlier(file_name(message.head), taking))
        elif said == "file":
            _keep(file_name(message.head), message.content, taking)
        else:
            why = _end(message.head)
            _tell(message.head, taking)
            return why
    raise ProtocolError("it does not come to an end")


def _keep(name: str, content: bytes, taking: Taking) -> None:
    if name == SUMMARY:
        raise ProtocolError("a file that is not its own")
    taking.write_raw(name, content)


def _earlier(name: str, taking: Taking) -> Message:
    before = taking.before(name)
    if before is None or len(before.content) > MAX_READ_BYTES:
        return Message({"age_s": None})
    return Message({"age_s": max(0.0, before.age_s)}, before.content)


def _end(head: dict[str, Any]) -> str:
    """Return why it could not. Raises HelperAbsentError, NotSuitedError, ProtocolError."""
    why = head.get("why_not")
    if head.get("say") != "end" or not isinstance(why, str):
        raise ProtocolError("an answer that is none")
    if head.get("served") is not True:
        raise HelperAbsentError("it does not serve that")
    if head.get("suits") is not True:
        raise NotSuitedError
    return one_line(why, MAX_LINE_CHARS)


def _tell(head: dict[str, Any], taking: Taking) -> None:
    try:
        lines = [(int(rank), str(text)) for rank, text in head["lines"][:MAX_LINES]]
    except (ValueError, KeyError, TypeError):
        raise ProtocolError("an answer that is none") from None
    for rank, text in lines:
        taking.tell(rank, one_line(text, MAX_LINE_CHARS))
    taking.missing += [one_line(text, MAX_LINE_CHARS) for text in _texts(head.get("missing"))]
    if taking.consent.collect:  # who was not asked to collect has nothing to disprove
        taking.disproof = one_line(str(head.get("disproof", "")), MAX_LINE_CHARS) or taking.disproof


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise ProtocolError("an answer that is none")
    return tuple(one_line(str(value), MAX_LINE_CHARS) for value in values[:MAX_LINES])
