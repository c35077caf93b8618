"""Node's own figures through an inspector that is open, from a real program."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from children import process_of
from node_program import OPEN, NodeProgram, needs_node

from agent.evidence.kernel.procfs import HeldProcess
from agent.inspector import places
from agent.watch.probes.base import ProbeError
from agent.watch.probes.node import NodeProbe
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Process

pytestmark = needs_node

LONG_S = 20.0
COMMAND = "node --inspect=0 app.js"


def target(process: Process, command: str = COMMAND) -> Target:
    return Target("api", replace(process, runtime="node", command=command), {}, None)


@pytest.fixture
def program() -> Iterator[NodeProgram]:
    with NodeProgram(OPEN, "--max-old-space-size=300") as program:
        yield program


def connected(program: NodeProgram) -> int:
    """Return how many are connected to its inspector."""
    with HeldProcess(program.process.key) as held, held.folder(".") as fd:
        (one,) = (place for place in places.places(fd) if place.port != program.port)
        return places.connections(fd, one.port)


def test_the_heap_in_use_and_its_limit_are_told(program: NodeProgram) -> None:
    probe, one = NodeProbe(timeout_s=LONG_S), target(program.process)

    first = probe.ask(one, frozenset())
    program.grow(4000)
    second = probe.ask(one, frozenset())
    probe.forget(one.process.key)

    assert first.heap_bytes is not None
    assert second.heap_bytes is not None
    assert second.heap_bytes - first.heap_bytes > 4000 * 4000
    assert second.garbage
    assert second.limit_bytes is not None
    assert 300 * 2**20 <= second.limit_bytes < 400 * 2**20


def test_one_session_serves_all_polls_and_ends_with_the_interest(program: NodeProgram) -> None:
    probe, one = NodeProbe(timeout_s=LONG_S), target(program.process)
    for _ in range(3):
        probe.ask(one, frozenset())
    during = connected(program)

    probe.forget(one.process.key)
    program.grow(1)

    assert (during, connected(program)) == (1, 0)


def test_a_program_that_ends_does_not_wait_for_us(program: NodeProgram) -> None:
    probe, one = NodeProbe(timeout_s=LONG_S), target(program.process)
    probe.ask(one, frozenset())

    assert program.end(LONG_S) == 0
    with pytest.raises(ProbeError):
        probe.ask(one, frozenset())


def test_a_pid_that_is_used_again_is_not_asked(program: NodeProgram) -> None:
    process = process_of(program.pid)
    other = replace(process, key=process.key._replace(start_ticks=process.key.start_ticks - 1))

    with pytest.raises(ProbeError, match=r"used again"):
        NodeProbe().ask(target(other), frozenset())


def test_an_inspector_that_listens_nowhere_is_told() -> None:
    with NodeProgram() as program, pytest.raises(ProbeError, match="listens nowhere"):
        NodeProbe().ask(target(program.process), frozenset())


@pytest.mark.parametrize(
    ("command", "suits"),
    [
        ("node --inspect app.js", True),
        ("node --inspect=127.0.0.1:9300 app.js", True),
        ("node --inspect-brk app.js", True),
        ("node --inspect-port=0 app.js", False),
        ("node app.js", False),
    ],
)
def test_only_what_was_started_with_an_inspector_is_asked(command: str, suits: bool) -> None:  # noqa: FBT001 - a case
    with NodeProgram() as program:
        assert NodeProbe().suits(target(program.process, command)) is suits
