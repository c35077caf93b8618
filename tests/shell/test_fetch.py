"""Pages of real servers, and of servers that drip, hang, lie or never end: all bounded."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from receiver import Receiver

from agent.clock import SystemClock
from agent.fetch import FetchError, fetch, fetch_into

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_S = 10.0
"""A test that needed this would have failed."""
SHORT_S = 0.2
MAX_BYTES = 100_000


def page(url: str, timeout_s: float = LONG_S) -> bytes:
    return fetch(url, timeout_s=timeout_s, max_bytes=MAX_BYTES)


def why(url: str, timeout_s: float = LONG_S) -> str:
    with pytest.raises(FetchError) as caught:
        page(url, timeout_s)
    return str(caught.value)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@contextlib.contextmanager
def saying(opening: bytes, again: bytes = b"", family: int = socket.AF_INET) -> Iterator[str]:
    """Give the address of a server that answers one request so, and `again` until nobody listens."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as server:

        def serve() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(opening)
                while again:
                    connection.sendall(again)

        thread = threading.Thread(target=serve)
        thread.start()
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.getsockname()[1]}/metrics"
        server.shutdown(socket.SHUT_RDWR)  # wakes one who still waits for somebody
        thread.join(LONG_S)
        assert not thread.is_alive()


def test_a_page_comes_whole_and_as_asked_for(receiver: Receiver) -> None:
    receiver.respond_with(200, body=b"x" * MAX_BYTES)

    assert page(f"{receiver.url}/metrics?name=a") == b"x" * MAX_BYTES
    (request,) = receiver.requests
    assert (request.method, request.path) == ("GET", "/metrics?name=a")
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"


def test_a_page_comes_in_pieces(receiver: Receiver) -> None:
    receiver.respond_with(200, body=b"x" * MAX_BYTES)
    pieces: list[bytes] = []

    fetch_into(receiver.url, pieces.append, timeout_s=LONG_S, max_bytes=MAX_BYTES)

    assert b"".join(pieces) == b"x" * MAX_BYTES
    assert len(pieces) > 1


def test_a_page_without_a_length_ends_with_its_connection() -> None:
    with saying(b"HTTP/1.0 200 OK\r\n\r\nall of it") as url:
        assert page(url) == b"all of it"


def test_a_page_in_chunks_is_put_together() -> None:
    with saying(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n4\r\n of \r\n0\r\n\r\n"
    ) as url:
        assert page(url) == b"all of "


def test_an_address_of_version_six_is_read() -> None:
    with saying(b"HTTP/1.0 200 OK\r\n\r\nhere", family=socket.AF_INET6) as url:
        assert page(url) == b"here"


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_is_given_up_in_time(receiver: Receiver, part: str) -> None:
    receiver.drip(part)
    began_s = SystemClock().now().t_s

    assert why(receiver.url, SHORT_S) == f"127.0.0.1:{receiver.port}: no whole answer within 0.2s"
    assert SystemClock().now().t_s - began_s < LONG_S / 2


def test_a_server_that_hangs_is_given_up_in_time(receiver: Receiver) -> None:
    receiver.hang()

    assert "no whole answer within" in why(receiver.url, SHORT_S)


@pytest.mark.parametrize(
    ("opening", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 1\r\n" * 1000),
    ],
    ids=["to be continued", "trailers"],
)
def test_a_server_that_never_comes_to_its_page_is_given_up_in_time(opening: bytes, again: bytes) -> None:
    with saying(opening, again) as url:
        assert "no whole answer within" in why(url, SHORT_S)


@pytest.mark.parametrize(
    "headers",
    [b"", b"Content-Length: 99999999\r\n", b"Content-Length: -1\r\n"],
    ids=["none", "long", "negative"],
)
def test_a_page_that_never_ends_is_refused(headers: bytes) -> None:
    with saying(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n", b"x" * 4096) as url:
        assert why(url).endswith(": its page is longer than 100kB")


def test_headers_that_never_end_are_refused() -> None:
    with saying(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 100) as url:
        assert why(url).endswith(": it does not speak HTTP")


@pytest.mark.parametrize(
    "header", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nff\r\n"]
)
def test_a_page_that_is_cut_off_is_none(header: bytes) -> None:
    with saying(b"HTTP/1.1 200 OK\r\n" + header + b"half") as url:
        assert why(url).endswith(": its page was cut off")


@pytest.mark.parametrize(
    "opening",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nlong\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["ssh", "tls", "no number", "nothing", "bad chunk", "long line"],
)
def test_what_is_no_answer_is_told(opening: bytes) -> None:
    with saying(opening) as url:
        said = why(url)

    known = (": it does not speak HTTP", ": Connection reset by peer", ": its page was cut off")
    assert said.endswith(known)
    assert url.partition("//")[2].partition("/")[0] in said


@pytest.mark.parametrize("status", [204, 302, 401, 404, 500])
def test_any_other_status_is_told_and_no_redirect_followed(receiver: Receiver, status: int) -> None:
    receiver.respond_with(status, {"Location": f"{receiver.url}/elsewhere"})

    assert why(f"{receiver.url}/secret-path?token=x") == f"127.0.0.1:{receiver.port} answered {status}"
    assert len(receiver.requests) == 1


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert why(f"http://127.0.0.1:{port}/metrics") == f"127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "metrics",
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://[::1",
        "http://a:b/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    assert why(url) in ("not a web address", "not an http:// address")


def test_a_request_cannot_be_smuggled_in_by_the_address(receiver: Receiver) -> None:
    said = why(f"{receiver.url}/a b HTTP/1.1%0d\x7f")

    assert "does not speak HTTP" in said or "InvalidURL" in said
    assert not receiver.requests
