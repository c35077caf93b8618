"""What many tests stand on: a child that grows when told, the socket on which systemd would listen,
an outbox and a clock in hand, a JVM whose static map grows."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild
from fakes import FakeClock
from planted_jvms import Jvm, compiled, running

from agent.alerts.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 20.0


@pytest.fixture
def child() -> Iterator[LeakyChild]:
    with LeakyChild() as one:
        yield one


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield the socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(TIMEOUT_S)
        yield listening


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        yield outbox


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def jvm_classes() -> Iterator[Path]:
    """Yield the folder of the compiled programs that leak."""
    with compiled() as folder:
        yield folder


@pytest.fixture
def static_map(jvm_classes: Path) -> Iterator[Jvm]:
    with running(jvm_classes, "StaticMap") as jvm:
        yield jvm
