"""A client of the Chrome DevTools Protocol that ends in time and in little memory, whoever answers."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from agent.fetch import FetchError, fetch
from agent.text import one_line
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.inspector.places import Place

MAX_MESSAGE_BYTES = 8_000_000
"""A sampling profile of a large program has some 2 MB; a chunk of a snapshot 100 kB (V8InspectorImpl)."""
MAX_VALUES = 400_000
"""Of one message: each becomes an object of up to 100 bytes; a profile of 2 MB has half as many."""
MAX_LIST_BYTES = 65_536
MAX_HEAD_BYTES = 4096
"""Of the answer to the handshake: Node's has 129."""
_TARGET_ID = re.compile(r"[0-9a-fA-F-]{1,64}")
_REASON_CHARS = 200


class InspectorError(Exception):
    """Why the inspector did not answer as it should: a sentence that names host and port."""


@contextmanager
def session(place: Place, program: str, timeout_s: float) -> Iterator[Session]:
    """Open a session that is over after `timeout_s`, whatever the peer does. Raises InspectorError.

    `program` is what `target_id` has returned.
    """
    one = Session(place, program)
    try:
        with one.limited(timeout_s):
            one.connect(timeout_s)
            yield one
    finally:
        one.close()


def target_id(place: Place, timeout_s: float) -> str:
    """Return the id of the program behind an inspector; only Node's answers so. Raises InspectorError."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    try:
        page = fetch(f"http://{host}:{place.port}/json/list", timeout_s=timeout_s, max_bytes=MAX_LIST_BYTES)
        listed = json.loads(page)[0]
        found = listed["id"] if listed["type"] == "node" else None
    except FetchError as error:
        raise InspectorError(str(error)) from None
    except (ValueError, LookupError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not _TARGET_ID.fullmatch(found):
        raise InspectorError(f"{place}: what listens there is not Node's inspector")
    return found


class Session:
    """One connection to the inspector; what is left of it is closed by `close`. Not thread-safe."""

    def __init__(self, place: Place, program: str, most_bytes: int = MAX_MESSAGE_BYTES) -> None:
        """`most_bytes` is the length of the longest message that is read."""
        self.place = place
        self.program = program
        self._most_bytes = most_bytes
        self._line: _Guarded | None = None
        self._web: Any = None
        self._asked = 0
        self._over = False

    def connect(self, timeout_s: float) -> None:
        """Connect within the time, and shake hands; to be called within `limited`. Raises InspectorError."""
        import websocket  # noqa: PLC0415 - 50 ms and 3 MB that only hosts with an inspector need

        try:
            plain = socket.create_connection((self.place.host, self.place.port), timeout_s)
        except OSError as error:
            raise InspectorError(f"{self.place}: {error.strerror or 'no answer in time'}") from None
        plain.settimeout(None)  # from here on `limited` alone holds the time
        self._line = _Guarded(plain, self._most_bytes)
        if self._over:
            self._line.cut()
        # What comes in parts is not put together, which takes the square of their number: Node sends none.
        self._web = websocket.WebSocket(
            skip_utf8_validation=True, enable_multithread=False, fire_cont_frame=True
        )
        with self._told():
            self._web.connect(
                f"ws://{self.place}/{self.program}",
                socket=self._line,
                suppress_origin=True,
                redirect_limit=0,
            )
            self._line.talking = True

    def call(
        self, method: str, sink: Callable[[dict[str, Any]], None] | None = None, /, **parameters: Any
    ) -> dict[str, Any]:
        """Return the result of a method; messages that come before it go to `sink`. Raises InspectorError."""
        self._asked += 1
        with self._told():
            self._web.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            with self._told():
                message = self._receive()
            if message.get("id") == self._asked:
                return self._result(method, message)
            if sink is not None:
                sink(message)

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of an expression, as the console has it. Raises InspectorError."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            includeCommandLineAPI=True,
            returnByValue=True,
            silent=True,
        )
        result = answer.get("result")
        if "exceptionDetails" in answer or not isinstance(result, dict):
            raise InspectorError(f"{self.place}: it cannot evaluate what it is asked")
        return result.get("value")

    def wait_closed(self) -> None:
        """Return when the peer has ended the connection, or the time is over."""
        with suppress(InspectorError), self._told():
            while True:
                self._receive()

    @contextmanager
    def limited(self, timeout_s: float) -> Iterator[Self]:
        """Cut the connection after so long: whoever waits for it gets InspectorError."""
        expired = threading.Event()
        timer = threading.Timer(timeout_s, self._cut, (expired,))
        timer.daemon = True
        timer.start()
        try:
            yield self
        except InspectorError:
            if expired.is_set():
                raise InspectorError(
                    f"{self.place}: no whole answer within {format_duration(timeout_s)}"
                ) from None
            raise
        finally:
            timer.cancel()

    def fileno(self) -> int:
        """Return the connection's descriptor, to wait for what the peer says unasked."""
        return -1 if self._line is None else self._line.fileno()

    def close(self) -> None:
        """End the connection without waiting for the peer."""
        if self._line is not None:
            self._line.close()

    def _cut(self, expired: threading.Event) -> None:
        expired.set()
        self._over = True
        if self._line is not None:
            self._line.cut()

    def _receive(self) -> dict[str, Any]:
        if self._line is None:
            raise InspectorError(f"{self.place}: not connected")
        self._line.begin_message()
        opcode, raw = self._web.recv_data()
        if opcode == _CLOSE:
            raise InspectorError(f"{self.place}: it has closed the connection")
        if sum(map(raw.count, _VALUES)) > MAX_VALUES:
            raise ValueError(raw[:20])
        message = json.loads(raw)
        if not isinstance(message, dict):
            raise TypeError(raw[:20])
        return message

    def _result(self, method: str, message: dict[str, Any]) -> dict[str, Any]:
        result = message.get("result")
        if isinstance(result, dict):
            return result
        error = message.get("error")
        why = error.get("message") if isinstance(error, dict) else None
        raise InspectorError(f"{self.place}: {method}: {one_line(str(why or 'no result'), _REASON_CHARS)}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        import websocket  # noqa: PLC0415 - see connect

        try:
            yield
        except (OSError, websocket.WebSocketException, AttributeError) as error:
            words = getattr(error, "strerror", None) or "the connection has ended"
            raise InspectorError(f"{self.place}: {words}") from None
        except (ValueError, TypeError, RecursionError, IndexError):
            raise InspectorError(f"{self.place}: what answers does not speak the protocol") from None


_CLOSE = 0x8
"""RFC 6455, section 5.2."""
_VALUES = (b"[", b"{", b",", b":")
"""One of them stands before nearly every value of a text in JSON."""


class _Guarded:
    """The socket that websocket-client reads from: each message is bounded, and so is the handshake."""

    def __init__(self, line: socket.socket, most_bytes: int) -> None:
        self._line = line
        self._most_bytes = most_bytes
        self._left = MAX_HEAD_BYTES
        self._head = b""
        self._over = False
        self.talking = False

    def begin_message(self) -> None:
        self._left = self._most_bytes

    def recv(self, most: int) -> bytes:
        if self._over:  # megabytes that had come before can still be read
            raise OSError(0, "the connection has ended")
        if self._left <= 0:
            raise OSError(0, f"a message longer than {format_bytes(self._most_bytes)}")
        got = self._line.recv(min(most, 65_536))
        self._left -= len(got) + 1  # many empty frames must come to an end too
        if not self.talking:
            self._head += got
            if b"cookie" in self._head.lower():  # websocket-client keeps them for ever
                raise OSError(0, "what answers is not Node's inspector")
        return got

    def send(self, data: bytes) -> int:
        return self._line.send(data)

    def gettimeout(self) -> float | None:
        return self._line.gettimeout()

    def settimeout(self, timeout_s: float | None) -> None:
        self._line.settimeout(timeout_s)

    def fileno(self) -> int:
        return self._line.fileno()

    def cut(self) -> None:
        self._over = True
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with closing(self._line):
            self.cut()
