"""leakwatch-capture and clients that mean harm: none of them ends it, and none keeps others waiting."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from capture_helpers import (
    Captor,
    Helper,
    capture_helper,
    last,
    open_folder,
    other_users_program,
    request_for,
    swallowed,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.capture_helper.client import CaptureHelper
from agent.capture_helper.protocol import MAX_REQUEST_BYTES, Message, encode
from agent.capture_helper.server import MAX_CONNECTIONS
from agent.capture_helper.wire import receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import Process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="other users are needed")


@pytest.fixture(scope="module")
def target() -> Iterator[Process]:
    with other_users_program() as process:
        yield process


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture
def helper(folder: Path) -> Iterator[Helper]:
    with capture_helper(folder) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    """One helper for everything that must not kill it."""
    with capture_helper(tmp_path_factory.mktemp("lasting")) as running:
        yield running
        assert running.alive()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.builds(lambda raw: struct.pack("!II", len(raw), 0) + raw, st.binary(max_size=99))
)
def test_bytes_of_any_kind_get_no_more_than_a_closed_line(lasting: Helper, raw: bytes) -> None:
    with lasting.connect() as line:
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)

        assert swallowed(line) == b""
    assert lasting.alive()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "ask": st.sampled_from(["about", "ready", "take", "collect", ""]) | VALUES,
        "name": st.sampled_from(["smaps", "fds", "collection", "../x"]) | VALUES,
        "pid": st.integers(1, 400) | VALUES,
        "start_ticks": st.integers(0, 2**70) | VALUES,
        "boot_id": VALUES,
        "timeout_s": st.floats() | VALUES,
        "consent": st.lists(st.sampled_from(["heavy", "inject", "pprof", "x"])) | VALUES,
        "version": VALUES,
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_a_request_with_wrong_values_never_ends_the_helper(
    target: Process, lasting: Helper, changed: dict[str, Any]
) -> None:
    with lasting.connect() as line:
        line.sendall(encode(Message(request_for(target) | {"name": "status"} | changed)))
        line.shutdown(socket.SHUT_WR)
        swallowed(line)

    assert lasting.alive()


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("!II", 2**32 - 1, 2**32 - 1),
        struct.pack("!II", MAX_REQUEST_BYTES + 1, 0),
        struct.pack("!II", 10, 5) + b"x" * 15,
        struct.pack("!II", 4_000, 0) + b"[" * 4_000,
        struct.pack("!II", 4_000, 0) + b'{"a":' * 800,
    ],
)
def test_lengths_that_lie_and_deep_json_close_the_line(target: Process, lasting: Helper, raw: bytes) -> None:
    with lasting.connect() as line:
        line.sendall(raw)
        assert swallowed(line) == b""
    assert last(lasting, request_for(target))["why_not"] == ""


def test_clients_that_hang_keep_nobody_waiting(target: Process, folder: Path) -> None:
    with ExitStack() as stack:
        helper = stack.enter_context(capture_helper(folder))
        captor = stack.enter_context(Captor(folder / "captures", helper.path, target.key.pid))
        for _ in range(MAX_CONNECTIONS):
            line = stack.enter_context(helper.connect())  # these are root's: silent, and cut off
            line.sendall(b"\0")
        evidence = captor.capture()

        assert evidence["missing"] == []
        assert all(swallowed(line) == b"" for line in [line])


def test_one_user_cannot_take_all_connections(target: Process, folder: Path) -> None:
    with ExitStack() as stack:
        helper = stack.enter_context(capture_helper(folder))
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(helper.connect())

        why = CaptureHelper(str(helper.path)).why_not("smaps", target.key)

    assert why == f"has {MAX_CONNECTIONS} connections of this user open"


def test_a_client_that_leaves_in_the_middle_is_forgotten(target: Process, helper: Helper) -> None:
    for _ in range(MAX_CONNECTIONS + 2):
        with helper.connect() as line:
            send(line, Message(request_for(target)))
            receive(line, 50_000_000)  # asks for the earlier file, and gets no answer

    assert last(helper, request_for(target, name="status"))["why_not"] == ""


@pytest.mark.parametrize("content", [b"[" * 1_000_000, b'{"kinds": 1}', b"\xff" * 99, b"1" * 9_999])
def test_an_earlier_file_that_lies_spoils_nothing(target: Process, lasting: Helper, content: bytes) -> None:
    with lasting.connect() as line:
        send(line, Message(request_for(target)))
        while (answer := receive(line, 50_000_000)).head["say"] != "want":
            pass
        send(line, Message({"age_s": 1.0}, content))
        while answer.head["say"] != "end":
            answer = receive(line, 50_000_000)

    assert lasting.alive()
    assert answer.head["served"] is True
