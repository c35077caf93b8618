"""Heap and goroutines of a real Go program with planted leaks, and servers that lie."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of
from receiver import Receiver

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.go import pprof
from agent.evidence.go.collector import GoCollector
from agent.evidence.go.sources import GoHeap, Goroutines
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import SourceError
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.collection import Collected
    from agent.model import Evidence

DATA = Path(__file__).parents[1] / "data"
SCRIPT = DATA / "planted" / "goroutine_leak.go"
NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
OPTIONS = EvidenceOptions(cooldown_s=0.0)


class GoServer:
    """The planted program while it runs."""

    def __init__(self, program: subprocess.Popen[str], port: int) -> None:
        self._program = program
        self.process = process_of(program.pid, runtime="go")
        self.consent = Consent(pprof=f"http://127.0.0.1:{port}/debug/pprof/", collect=True)

    def tell(self, command: str) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(command + "\n")
        self._program.stdin.flush()
        assert self._program.stdout.readline() == "grown\n"


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GOCACHE": os.environ.get("GOCACHE", str(folder / "cache")), "GOFLAGS": ""}
    built = folder / "shop"
    subprocess.run([go, "build", "-o", str(built), str(SCRIPT)], env=environment, check=True, cwd=folder)
    return built


@pytest.fixture
def server(binary: Path) -> Iterator[GoServer]:
    with subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        ready, port = program.stdout.readline().split()
        assert ready == "ready"
        try:
            yield GoServer(program, int(port))
        finally:
            program.kill()


def capture(captures: Captures, server: GoServer, now: Instant) -> Evidence:
    return captures.capture(server.process, "x", now, consent=server.consent)


def collect(server: GoServer) -> Collected:
    collector = GoCollector()
    assert collector.suits(server.process, server.consent)
    with HeldProcess(server.process.key) as held:
        assert collector.why_not(server.process, held) == ""
        return collector.collect(held, 10.0)


def test_the_gist_names_where_goroutines_and_memory_leak(server: GoServer, tmp_path: Path) -> None:
    captures = Captures(tmp_path / "c", OPTIONS, (GoHeap(), Goroutines()))
    server.tell("grow 3000000")
    capture(captures, server, NOW)
    server.tell("goroutines 4812")
    server.tell("grow 40000000")
    collect(server)

    evidence = capture(captures, server, LATER)

    assert evidence.missing == ()
    assert "goroutines: +4,812 in main.leak (goroutine_leak.go:17) chan receive in 12m" in evidence.gist
    top = next(line for line in evidence.gist if line.startswith("top: "))
    sampled = re.fullmatch(
        r"top: main\.remember \(goroutine_leak\.go:22\) holds ([\d.]+)MB, \+([\d.]+)MB in 12m", top
    )
    assert sampled is not None
    assert 25 < float(sampled[2]) <= float(sampled[1]) < 70
    assert all(len(line) <= 140 for line in evidence.gist)
    table = (Path(evidence.directory) / "go-goroutine.txt").read_text().splitlines()
    assert table[1].split(None, 2) == ["4,812", "4,812", "main.leak (goroutine_leak.go:17) chan receive"]


def test_one_look_names_what_holds_most(server: GoServer, tmp_path: Path) -> None:
    server.tell("grow 20000000")
    server.tell("goroutines 2000")
    collect(server)

    gist = capture(Captures(tmp_path / "c", OPTIONS, (GoHeap(), Goroutines())), server, NOW).gist

    assert gist[0].startswith("top: main.remember (goroutine_leak.go:22) holds ")
    assert " of " in gist[0]
    assert gist[1] == "goroutines: 2,000 of 2,004 in main.leak (goroutine_leak.go:17) chan receive"


def test_a_collection_takes_back_what_nobody_refers_to(server: GoServer) -> None:
    server.tell("grow 30000000")
    kept = collect(server)
    server.tell("drop")
    dropped = collect(server)

    assert kept.after_bytes > 29_000_000
    assert dropped.before_bytes > 29_000_000
    assert dropped.after_bytes < 5_000_000


def test_nobody_is_asked_unasked(server: GoServer) -> None:
    assert not GoHeap().suits(server.process, Consent())
    assert not GoCollector().suits(server.process, Consent(collect=True))


class Liar(Receiver):
    """A server of our own process that stands for a Go program."""

    def take_from(self, folder: Path, timeout_s: float = 5.0) -> Evidence:
        captures = Captures(
            folder, EvidenceOptions(cooldown_s=0.0, timeout_s=timeout_s), (GoHeap(), Goroutines())
        )
        process = process_of(os.getpid(), runtime="go")
        return captures.capture(process, "x", NOW, consent=Consent(pprof=f"{self.url}/debug/pprof"))


def recorded(name: str) -> bytes:
    return (DATA / "pprof" / name).read_bytes()


def test_a_recorded_profile_is_told_without_go(tmp_path: Path) -> None:
    with Liar() as liar:
        liar.respond_with(200, body=recorded("goroutine.pb.gz"))
        liar.respond_with(200, body=recorded("heap-after.pb.gz"), times=1)

        evidence = liar.take_from(tmp_path)

        assert [request.path for request in liar.requests] == ["/debug/pprof/heap", "/debug/pprof/goroutine"]
    assert evidence.missing == ()
    assert evidence.gist[0].startswith("top: main.remember (goroutine_leak.go:22) holds ")
    assert evidence.gist[1].startswith("goroutines: 5,000 of ")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>hello</html>", "answered with not a profile"),
        (b"", "answered with a profile without inuse_space"),
        (gzip.compress(bytes(30_000_000)), "answered with a profile of more than 12MB"),
        (bytes(pprof.MAX_ANSWER_BYTES + 1), "its page is longer than 4MB"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "answered with not a profile"),
    ],
    ids=["a page", "nothing", "a bomb", "too much", "a length without end"],
)
def test_a_server_that_lies_is_a_sentence(body: bytes, why: str, tmp_path: Path) -> None:
    with Liar() as liar:
        liar.respond_with(200, body=body)

        evidence = liar.take_from(tmp_path)

    assert evidence.gist == ()
    assert len(evidence.missing) == 2
    assert why in evidence.missing[0]


def test_a_server_that_drips_without_end_holds_nobody_up(tmp_path: Path) -> None:
    with Liar() as liar:
        liar.drip("body")

        evidence = liar.take_from(tmp_path, timeout_s=0.5)

    assert len(evidence.missing) == 2
    assert all(re.search("no whole answer within|cut off", why) for why in evidence.missing)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with Liar() as liar:
        liar.respond_with(302, {"Location": f"{liar.url}/elsewhere"})

        evidence = liar.take_from(tmp_path)

        assert {request.path for request in liar.requests} == {"/debug/pprof/heap", "/debug/pprof/goroutine"}
    assert all("answered 302" in why for why in evidence.missing)


def test_the_profile_of_another_process_is_refused(child: LeakyChild) -> None:
    with Receiver() as other:
        heap = GoHeap()
        process = process_of(child.pid, runtime="go")
        assert heap.suits(process, Consent(pprof=other.url))
        with HeldProcess(process.key) as held:
            why = heap.why_not(process, held)

    assert why == f"127.0.0.1:{other.port} is served by another process"


def test_an_address_where_nothing_listens_is_told_beforehand(child: LeakyChild) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    heap = GoHeap()
    process = process_of(child.pid, runtime="go")
    assert heap.suits(process, Consent(pprof=f"http://localhost:{port}/debug/pprof"))
    with HeldProcess(process.key) as held:
        assert heap.why_not(process, held) == f"nothing listens on localhost:{port}"


def test_a_collector_says_who_does_not_tell_the_heap() -> None:
    with Receiver() as liar:
        collector, process = GoCollector(), process_of(os.getpid(), runtime="go")
        assert collector.suits(process, Consent(pprof=liar.url))
        with (
            HeldProcess(process.key) as held,
            pytest.raises(SourceError, match=r"^pprof heap\?gc=1: 127.0.0.1:\d+ does not tell HeapAlloc"),
        ):
            collector.collect(held, 5.0)


AS_NOBODY = """
import os, sys
from children import process_of
from agent.consent import Consent
from agent.evidence.go.sources import GoHeap
from agent.evidence.kernel.procfs import HeldProcess
process, heap = process_of(int(sys.argv[1]), runtime="go"), GoHeap()
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
for url in sys.argv[2:]:
    heap.suits(process, Consent(pprof=url))
    with HeldProcess(process.key) as held:
        print(heap.why_not(process, held) or "ok")
"""


def test_another_user_needs_no_right_to_ask(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    paths = os.pathsep.join([str(DATA.parent), str(DATA.parents[1])])
    with Receiver() as served, socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
        unused.close()
        urls = [served.url, f"http://127.0.0.1:{port}"]
        asked = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(os.getpid()), *urls],
            env={**os.environ, "PYTHONPATH": paths},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

    assert asked.stdout.splitlines() == ["ok", f"nothing listens on 127.0.0.1:{port}"]
