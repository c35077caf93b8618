"""Figures from real metrics pages: whose they are, and what lying servers come to."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild
from probe_rig import DATA, MetricsChild, target_of
from receiver import Receiver

from agent.watch.probes.base import ProbeError, RuntimeFigures
from agent.watch.probes.prometheus import MAX_PAGE_BYTES, EndpointProbe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from agent.watch.targets import Target

NODE_PAGE = b"# TYPE nodejs_heap_size_used_bytes gauge\nnodejs_heap_size_used_bytes 7e6\n"
NODE = shutil.which("node")
FIGURES = RuntimeFigures(7_000_000, None, None, garbage=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        receiver.respond_with(200, body=NODE_PAGE)
        yield receiver


def node(url: str) -> Target:
    """Return this very process, which holds the receivers' sockets, as a Node process."""
    return target_of(os.getpid(), metrics=url, runtime="node")


def why(probe: EndpointProbe, target: Target, others: AbstractSet[int] = frozenset()) -> str:
    with pytest.raises(ProbeError) as caught:
        probe.ask(target, others)
    return str(caught.value)


def test_the_exporter_of_prometheus_client_tells_what_is_kept() -> None:
    with MetricsChild() as child:
        url = f"http://127.0.0.1:{child.port}/metrics"
        target = target_of(child.pid, metrics=url, heap_metric="app_heap_bytes")
        probe = EndpointProbe()
        before = probe.ask(target, frozenset())
        child.grow(3_000_000)
        after = probe.ask(target, frozenset())

    assert before.heap_bytes == 0
    assert after.heap_bytes == 3_000_000
    assert after.collections is not None
    assert after.garbage


@pytest.mark.skipif(NODE is None, reason="node is not on PATH")
def test_the_heap_of_a_real_node_rises_by_what_it_keeps() -> None:
    with MetricsChild(str(NODE), str(DATA / "metrics_server.js")) as child:
        target = target_of(child.pid, metrics=f"http://127.0.0.1:{child.port}/metrics", runtime="node")
        probe = EndpointProbe()
        before = probe.ask(target, frozenset()).heap_bytes
        child.grow(40_000_000)
        after = probe.ask(target, frozenset()).heap_bytes

    assert before is not None
    assert after is not None
    assert 40_000_000 < after - before < 60_000_000


def test_each_of_several_processes_is_asked_at_its_own_port() -> None:
    with MetricsChild() as first, MetricsChild() as second:
        first.grow(1000)
        second.grow(2000)
        url = "http://127.0.0.1:{port}/metrics"
        probe, told = EndpointProbe(), []
        for child, other in ((first, second), (second, first)):
            target = target_of(child.pid, metrics=url, heap_metric="app_heap_bytes")
            told += [probe.ask(target, {other.pid}).heap_bytes for _ in range(2)]

    assert told == [1000, 1000, 2000, 2000]


def test_of_several_ports_the_one_that_tells_the_heap_is_found(receiver: Receiver) -> None:
    with Receiver() as other:
        assert EndpointProbe().ask(node("http://127.0.0.1:{port}/metrics"), frozenset()) == FIGURES
        assert len(receiver.requests) == 1
        assert len(other.requests) <= 1


def test_one_address_of_several_processes_is_asked_for_the_one_that_listens_there(receiver: Receiver) -> None:
    probe, target = EndpointProbe(), node(f"{receiver.url}/metrics")
    with LeakyChild() as child:
        other = target_of(child.pid, metrics=f"{receiver.url}/metrics", runtime="node")

        assert probe.ask(target, {child.pid}) == FIGURES
        said = why(probe, other, {os.getpid()})

    assert said == f"port {receiver.port} is not its own, and its service has 2 processes"
    assert len(receiver.requests) == 1


def test_a_port_that_processes_share_tells_of_none_of_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as shared, LeakyChild(pass_fds=[shared.fileno()]) as child:
        port = shared.getsockname()[1]
        probe, others = EndpointProbe(), {child.pid}
        fixed = why(probe, node(f"http://127.0.0.1:{port}/metrics"), others)
        own = why(probe, node("http://127.0.0.1:{port}/metrics"), others)

    assert fixed == f"2 processes share port {port}: whose page it is cannot be told"
    assert own == "it listens on no port of its own, or its descriptors may not be read"


def test_where_it_answers_is_looked_up_again_once_it_is_silent() -> None:
    probe, target = EndpointProbe(), node("http://127.0.0.1:{port}/metrics")
    with Receiver() as receiver:
        receiver.respond_with(200, body=NODE_PAGE)
        probe.ask(target, frozenset())
    with Receiver() as elsewhere:
        elsewhere.respond_with(200, body=NODE_PAGE)

        assert "Connection refused" in why(probe, target)
        assert probe.ask(target, frozenset()) == FIGURES


def test_a_page_may_be_of_openmetrics(receiver: Receiver) -> None:
    page = NODE_PAGE + b'nodejs_gc_duration_seconds_count{kind="major"} 4.0\n# EOF\n'
    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    receiver.respond_with(200, {"Content-Type": content_type}, page)

    assert EndpointProbe().ask(node(receiver.url), frozenset()).collections == 4


def test_expvar_is_known_by_its_content(receiver: Receiver) -> None:
    receiver.respond_with(200, body=b' \n{"cmdline": ["x"], "memstats": {"HeapAlloc": 4096}}')
    target = target_of(os.getpid(), metrics=f"{receiver.url}/debug/vars", runtime="go")

    assert EndpointProbe().ask(target, frozenset()).heap_bytes == 4096


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (200, b"<html>hello</html>", "its page has no heap that is known by name for Node"),
        (200, b"", "its page has no heap that is known by name for Node"),
        (200, b"nodejs_heap_size_used_bytes -3\n", "its page says what cannot be: -3"),
        (200, b'{"heap": 3}', "its page is JSON, but not that of Go's expvar"),
        (200, b"#" * (MAX_PAGE_BYTES + 1), "its page is longer than 8MB"),
        (401, b"who are you", "answered 401"),
    ],
    ids=["no metrics", "empty", "negative", "other JSON", "too long", "password"],
)
def test_a_page_that_tells_nothing_is_said(
    receiver: Receiver, status: int, body: bytes, sentence: str
) -> None:
    receiver.respond_with(status, body=body)

    assert why(EndpointProbe(), node(receiver.url)).endswith(sentence)


def test_a_server_that_hangs_is_given_up_in_time(receiver: Receiver) -> None:
    receiver.hang()

    assert why(EndpointProbe(timeout_s=0.2), node(receiver.url)).endswith("no whole answer within 0.2s")


def test_the_secrets_of_an_address_are_not_told(receiver: Receiver) -> None:
    receiver.respond_with(403)
    target = node(f"{receiver.url}/metrics?token=hush")
    probe = EndpointProbe()

    assert "hush" not in why(probe, target)
    assert probe.where(target) == f"127.0.0.1:{receiver.port}"


def test_only_entries_that_name_a_page_are_asked() -> None:
    probe = EndpointProbe()

    assert probe.suits(target_of(os.getpid(), metrics="http://127.0.0.1:1/"))
    assert not probe.suits(target_of(os.getpid()))
    assert not probe.suits(target_of(os.getpid(), named=False))


def test_without_the_right_to_see_ports_one_process_is_asked_and_several_are_not(
    receiver: Receiver, tmp_path: Path
) -> None:
    blind = EndpointProbe(proc_root=tmp_path)

    assert blind.ask(node(receiver.url), frozenset()) == FIGURES
    assert why(blind, node("http://127.0.0.1:{port}/")) == (
        "it listens on no port of its own, or its descriptors may not be read"
    )
    blind.forget(node(receiver.url).process.key)
    assert why(blind, node(receiver.url), {1}) == (
        f"port {receiver.port} is not its own, and its service has 2 processes"
    )
