"""Node's inspector found without asking anybody, and inspectors that lie: all bounded in time and memory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from agent.inspector import places
from agent.inspector.client import (
    MAX_MESSAGE_BYTES,
    MAX_VALUES,
    InspectorError,
    Session,
    session,
    target_id,
)
from agent.inspector.places import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG_S = 10.0
"""A test that needed this would have failed."""
SHORT_S = 0.3
ID = "0f2a-11"
LISTED = json.dumps([{"type": "node", "id": ID}]).encode()


def frame(payload: bytes, opcode: int = 1, claimed: int | None = None) -> bytes:
    return struct.pack("!BBQ", 0x80 | opcode, 127, len(payload) if claimed is None else claimed) + payload


def page(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def switching(request: bytes, more: str = "") -> bytes:
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()  # noqa: S324 - RFC 6455
    head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


@contextlib.contextmanager
def inspector(
    talk: Callable[[socket.socket], object],
    listed: bytes = LISTED,
    shake: Callable[[bytes], bytes] = switching,
) -> Iterator[Place]:
    """Run a server that lists itself, shakes hands, reads one question and then does what `talk` does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with contextlib.suppress(ConnectionError), server.accept()[0] as line:
                        line.settimeout(1.0)  # it may be left with a full window and no word
                        request = line.recv(65536)
                        if b"/json/list" in request:
                            line.sendall(page(listed))
                            continue
                        line.sendall(shake(request))
                        line.recv(65536)
                        talk(line)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Place("127.0.0.1", server.getsockname()[1], "")
        server.shutdown(socket.SHUT_RDWR)
        thread.join(LONG_S)
        assert not thread.is_alive()


def ask(place: Place, timeout_s: float = LONG_S) -> object:
    with session(place, target_id(place, timeout_s), timeout_s) as one:
        return one.call("Runtime.getHeapUsage")


def why(place: Place, timeout_s: float = LONG_S) -> str:
    with pytest.raises(InspectorError) as caught:
        ask(place, timeout_s)
    return str(caught.value)


def for_ever(line: socket.socket, raw: bytes) -> None:
    while True:
        line.sendall(raw)


def answer(result: object) -> bytes:
    return frame(json.dumps({"id": 1, "result": result}).encode())


def until_closed(line: socket.socket) -> None:
    line.settimeout(LONG_S)
    while line.recv(65536):
        pass


def test_an_answer_is_found_among_events() -> None:
    event = frame(b'{"method": "Runtime.consoleAPICalled", "params": {}}')

    with inspector(lambda line: line.sendall(event + answer({"usedSize": 7}))) as place:
        assert ask(place) == {"usedSize": 7}


def test_a_server_that_never_answers_is_left_in_time() -> None:
    with inspector(until_closed) as place:
        assert why(place, SHORT_S) == f"{place}: no whole answer within 0s"


def test_answers_to_questions_that_nobody_asked_come_to_an_end() -> None:
    with inspector(lambda line: for_ever(line, frame(b'{"id": 99, "result": {}}'))) as place:
        assert "no whole answer within" in why(place, SHORT_S)


@pytest.mark.parametrize("opcode", [9, 10, 0], ids=["pings", "pongs", "continuations"])
def test_endless_frames_without_a_message_come_to_an_end(opcode: int) -> None:
    with inspector(lambda line: for_ever(line, frame(b"", opcode))) as place:
        assert why(place, 2.0).startswith(f"{place}: ")


def test_a_message_that_is_too_long_is_refused_before_it_is_held() -> None:
    held: list[int] = []

    def talk(line: socket.socket) -> None:
        line.sendall(frame(b"", claimed=2**40))
        with contextlib.suppress(OSError):
            while sum(held) < 10 * MAX_MESSAGE_BYTES:
                held.append(line.send(b"x" * 65536))

    with inspector(talk) as place:
        assert why(place) == f"{place}: a message longer than 8MB"
    assert sum(held) < 2 * MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "values",
    [[{}] * MAX_VALUES, {f"{n}": n for n in range(MAX_VALUES)}],
    ids=["objects", "names"],
)
def test_a_short_message_of_very_many_values_is_refused_before_they_are_made(values: object) -> None:
    bomb = answer({"usedSize": 7, "more": values})
    assert len(bomb) < MAX_MESSAGE_BYTES

    with inspector(lambda line: line.sendall(bomb)) as place:
        assert why(place) == f"{place}: what answers does not speak the protocol"


def test_a_message_in_parts_is_not_put_together() -> None:
    """Node sends none, and a million parts of a byte each would be copied a million times."""
    whole = json.dumps({"id": 1, "result": {"usedSize": 7}}).encode()
    begin, end = frame(whole[:9]), frame(whole[9:], opcode=0)
    parts = bytes([begin[0] & 0x7F]) + begin[1:] + end

    with inspector(lambda line: line.sendall(parts)) as place:
        assert why(place) == f"{place}: what answers does not speak the protocol"


def test_what_has_come_is_not_read_any_more_once_the_time_is_over() -> None:
    """Megabytes of it can lie there: to read them all takes a multiple of the time."""
    event = frame(b'{"method": "Runtime.consoleAPICalled", "params": {}}')

    def wait(_: object) -> None:
        threading.Event().wait(3 * SHORT_S)

    with (
        inspector(lambda line: line.sendall(event + answer({"usedSize": 7}))) as place,
        session(place, ID, SHORT_S) as one,
        pytest.raises(InspectorError),
    ):
        one.call("Runtime.getHeapUsage", wait)


def test_who_expects_a_short_answer_holds_no_long_one() -> None:
    with (
        inspector(lambda line: line.sendall(answer("x" * 70_000))) as place,
        contextlib.closing(Session(place, ID, 64_000)) as one,
        one.limited(LONG_S),
    ):
        one.connect(LONG_S)
        with pytest.raises(InspectorError, match="a message longer than 64kB"):
            one.call("Runtime.getHeapUsage")


@pytest.mark.parametrize(
    "said",
    [b"[1]", b"{", b"[" * 100_000, b"\xff\xfe", b'"x"'],
    ids=["list", "cut", "deep", "bytes", "text"],
)
def test_what_is_no_message_is_refused(said: bytes) -> None:
    with inspector(lambda line: line.sendall(frame(said))) as place:
        assert why(place) == f"{place}: what answers does not speak the protocol"


def test_a_refusal_is_told_on_one_line() -> None:
    refusal = frame(json.dumps({"id": 1, "error": {"message": "no\nsuch" + "x" * 10_000}}).encode())

    with inspector(lambda line: line.sendall(refusal)) as place:
        told = why(place)
    assert told.startswith(f"{place}: Runtime.getHeapUsage: no\\x0asuchxxx")
    assert len(told) < 300


@pytest.mark.parametrize(
    "listed",
    [
        b"{}",
        b"[]",
        b'[{"type": "page", "id": "1"}]',
        b'[{"type": "node", "id": "../../x"}]',
        b"x",
        b"[" * 60_000,
    ],
)
def test_only_what_lists_itself_as_node_is_spoken_to(listed: bytes) -> None:
    with inspector(until_closed, listed) as place:
        assert why(place) == f"{place}: what listens there is not Node's inspector"


def test_an_endless_list_is_refused() -> None:
    with inspector(until_closed, b" " * 200_000) as place:
        assert "longer than" in why(place)


def test_a_server_that_redirects_is_not_followed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(SHORT_S)
        away = f"Location: ws://127.0.0.1:{elsewhere.getsockname()[1]}/x\r\n"

        with inspector(until_closed, shake=lambda _: page(b"", "302 Found", away)) as place:
            why(place)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_a_server_that_sets_cookies_leaves_nothing_with_us() -> None:
    from websocket._handshake import CookieJar  # noqa: PLC0415 - loaded here as late as the client does

    cookie = "Set-Cookie: a=b; domain=x.example\r\n"
    with inspector(until_closed, shake=lambda request: switching(request, cookie)) as place:
        assert why(place) == f"{place}: what answers is not Node's inspector"
    assert not CookieJar.jar


def test_a_handshake_without_end_is_refused() -> None:
    with inspector(until_closed, shake=lambda _: b"HTTP/1.1 101 S\r\n" + b"X: y\r\n" * 10_000) as place:
        assert why(place, 5.0).startswith(f"{place}: a message longer")


@contextlib.contextmanager
def own_folder() -> Iterator[int]:
    fd = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_a_listening_socket_is_a_place_only_at_a_hinted_port_and_with_its_holder() -> None:
    with (
        own_folder() as fd,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        port = server.getsockname()[1]
        listening = {place.port: place for place in places._listening(fd)}  # noqa: SLF001 - below the hints

        assert listening[port].host == "127.0.0.1"
        assert str(listening[six.getsockname()[1]]) == f"[::1]:{six.getsockname()[1]}"
        assert listening[port].inode in places._sockets(fd, {listening[port].inode, "socket:[0]"})  # noqa: SLF001
        assert port not in {place.port for place in places.places(fd)}


def test_only_who_is_connected_counts() -> None:
    with own_folder() as fd, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        before = places.connections(fd, port)
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            during = places.connections(fd, port)

    assert (before, during) == (0, 1)


def test_ones_own_network_is_the_same() -> None:
    with own_folder() as fd:
        assert places.same_network(fd)
