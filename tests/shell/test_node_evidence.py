"""A real Node program that keeps closures: which function is named, and that nothing is left behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import process_of
from node_program import OPEN, SIGNALLED, NodeProgram, needs_node

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.governor import Conditions
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.node.collector import NodeCollector
from agent.evidence.node.memlab import Memlab
from agent.evidence.node.opening import inspected, why_closed
from agent.evidence.node.snapshot import HeapSnapshot
from agent.evidence.node.sources import heavy_node_sources, node_sources
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import SourceError, Tier
from agent.inspector import places
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Evidence

pytestmark = needs_node

LONG_S = 20.0
ALLOWED = Consent(inspector=True)
NAMED = r"top: remember \(node_closures\.js:7\) holds [\d.]+MB, \+[\d.]+MB in 10m"


@pytest.fixture
def program() -> Iterator[NodeProgram]:
    with NodeProgram(SIGNALLED) as program:
        yield program


@pytest.fixture
def captures(tmp_path: Path) -> Captures:
    return Captures(
        tmp_path / "c", EvidenceOptions(cooldown_s=0.0, timeout_s=LONG_S), node_sources(), look=roomy
    )


def at(minutes: float) -> Instant:
    return Instant(10_000.0 + 60 * minutes, 1_800_000_000.0 + 60 * minutes)


def take(
    captures: Captures,
    program: NodeProgram,
    minutes: float,
    consent: Consent = ALLOWED,
    tier: Tier = Tier.MEDIUM,
) -> Evidence:
    return captures.capture(program.process, "x", at(minutes), consent=consent, tier=tier)


def open_places(pid: int) -> list[places.Place]:
    """Return where its inspector listens; not where the program itself does."""
    with HeldProcess(process_of(pid).key) as held, held.folder(".") as fd:
        return list(places.places(fd))


def roomy(held: HeldProcess, writable_bytes: int) -> Conditions:
    """Return that there is room for everything, whatever else runs on this machine."""
    del held
    return Conditions(
        heap_bytes=1_000_000, threads=1, rooms=(), stalls=(), load_per_cpu=0.0, free_disk_bytes=writable_bytes
    )


def own_port_only(program: NodeProgram) -> bool:
    return [place.port for place in open_places(program.pid)] == [program.port]


def test_the_function_that_keeps_closures_is_named_with_its_growth(
    captures: Captures, program: NodeProgram
) -> None:
    cheap = take(captures, program, 0, tier=Tier.CHEAP)
    program.grow(6000)

    evidence = take(captures, program, 10)

    assert cheap.files == ("node-memory.json", "evidence.json")
    assert evidence.missing == ()
    assert re.fullmatch(NAMED.replace("10m", r"\d+s"), evidence.gist[0])
    assert re.match(r"V8: old_space \+[\d.]+MB.* in 10m", evidence.gist[1])
    assert evidence.files[0] == "node-sites.txt"
    assert "remember" in (Path(evidence.directory) / "node-sites.txt").read_text()


def test_a_later_capture_tells_the_growth_since_the_first(captures: Captures, program: NodeProgram) -> None:
    program.grow(10)
    take(captures, program, 0)
    take(captures, program, 5)
    program.grow(6000)

    evidence = take(captures, program, 10)

    assert re.fullmatch(NAMED, evidence.gist[0])


def test_the_inspector_that_was_opened_is_closed_again(captures: Captures, program: NodeProgram) -> None:
    evidence = take(captures, program, 0)

    assert evidence.missing == ()
    assert own_port_only(program)
    assert program.grow(1) == "grown"


def test_without_consent_a_closed_inspector_stays_closed(captures: Captures, program: NodeProgram) -> None:
    evidence = take(captures, program, 0, Consent())

    assert len(evidence.missing) == len({"memory", "profile"})
    assert all("inspector is not open" in why for why in evidence.missing)
    assert own_port_only(program)


def test_an_open_inspector_gives_a_hint_without_consent_and_nothing_stays(captures: Captures) -> None:
    with NodeProgram(OPEN) as program:
        with program.under_load():
            evidence = take(captures, program, 0, Consent())
        with (
            HeldProcess(program.process.key) as held,
            inspected("x", held, timeout_s=LONG_S, by_signal=False) as one,
        ):
            left = one.evaluate("Boolean(process[Symbol.for('leakwatch')])")
            sampled = one.evaluate(
                "(() => { const s = new (require('inspector').Session)(); s.connect(); let told;"
                "s.post('HeapProfiler.getSamplingProfile', (e) => { told = e && e.message; });"
                "return told; })()"
            )

    assert re.fullmatch(
        r"top: remember \(node_closures\.js:7\) has [\d.]+[kM]B left of what it allocated in \ds \(a hint\)",
        evidence.gist[0],
    )
    assert left is False
    assert "was not started" in str(sampled)


def test_a_profile_that_somebody_else_has_begun_is_read_and_left_alone(captures: Captures) -> None:
    with (
        NodeProgram(OPEN) as program,
        HeldProcess(program.process.key) as held,
        inspected("x", held, timeout_s=LONG_S, by_signal=False) as other,
    ):
        other.call("HeapProfiler.startSampling", samplingInterval=32768)
        take(captures, program, 0)
        program.grow(3000)
        evidence = take(captures, program, 10)
        still = other.call("HeapProfiler.getSamplingProfile")

    assert "remember" in (Path(evidence.directory) / "node-sites.txt").read_text()
    assert json.loads((Path(evidence.directory) / "node-sites.json").read_text())["since_ms"] is None
    assert "profile" in still


def test_a_collection_takes_back_what_is_not_kept(program: NodeProgram) -> None:
    program.grow(2000)

    with HeldProcess(program.process.key) as held:
        found = NodeCollector(by_signal=True).collect(held, LONG_S)

    assert found.after_bytes > 2000 * 4000
    assert found.taken_bytes > 0
    assert own_port_only(program)


def test_a_heap_snapshot_is_whole_and_the_program_goes_on(tmp_path: Path, program: NodeProgram) -> None:
    program.grow(100)
    captures = Captures(
        tmp_path / "c", EvidenceOptions(timeout_s=LONG_S), (HeapSnapshot(by_signal=True),), look=roomy
    )

    evidence = take(captures, program, 0, Consent(heavy=True, inspector=True), Tier.HEAVY)

    snapshot = json.loads(gzip.decompress((Path(evidence.directory) / "heap.heapsnapshot.gz").read_bytes()))
    assert evidence.missing == ()
    assert "remember" in snapshot["strings"]
    assert program.grow(1) == "grown"
    assert own_port_only(program)


MEMLAB = """#!/bin/sh
for word in "$@"; do [ -s "$word" ] && grep -q '"snapshot"' "$word" && echo "has $word"; done
cat <<'END'

--Similar leaks in this run: 2000--
--Retained size of leaked objects: 9.1MB--
[<synthetic>] (synthetic) @1 [14.2MB]
  --7 (element)--->  [Node / TCPServerWrap] (synthetic) @805607520 [408 bytes]
  --<symbol owner_symbol> (property)--->  [Server] (object) @45415 [4.4KB]
  --request (property)--->  [<closure>] (closure) @69057 [160 bytes]
  --listeners (variable)--->  [Array] (object) @63881 [18.3MB]
  --1999 (element)--->  [<closure>] (closure) @96869 [4.5KB]
END
"""


def test_memlab_is_given_three_snapshots_and_tells_who_holds_what_leaks(
    tmp_path: Path, program: NodeProgram
) -> None:
    tool = tmp_path / "memlab"
    tool.write_text(MEMLAB)
    tool.chmod(0o755)
    source = Memlab(by_signal=True, find=lambda _: str(tool), apart_s=0.0)
    captures = Captures(tmp_path / "c", EvidenceOptions(timeout_s=LONG_S), (source,), look=roomy)

    evidence = take(captures, program, 0, Consent(heavy=True, inspector=True), Tier.HEAVY)

    assert evidence.missing == ()
    assert evidence.gist == ("held: 2,000 alike (9.1MB) by request > listeners",)
    told = (Path(evidence.directory) / "memlab.txt").read_text()
    assert told.count("has ") == len({"baseline", "target", "final"})
    assert sorted(os.listdir(evidence.directory)) == sorted(evidence.files)  # noqa: PTH208 - names alone


def test_a_heap_snapshot_needs_its_own_consent(program: NodeProgram) -> None:
    assert not any(one.suits(program.process, ALLOWED) for one in heavy_node_sources())
    assert any(one.suits(program.process, Consent(heavy=True)) for one in heavy_node_sources())


def test_an_inspector_that_somebody_else_uses_stays_open(program: NodeProgram) -> None:
    """A peer without a word would hold the program as soon as the inspector is to be closed."""
    with HeldProcess(program.process.key) as held:
        with inspected("x", held, timeout_s=LONG_S, by_signal=True) as one:
            other = socket.create_connection((one.place.host, one.place.port))
            other.sendall(
                f"GET /{one.program} HTTP/1.1\r\nHost: {one.place}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert b"101" in other.recv(1000)

        assert program.grow(1) == "grown"
        assert len(open_places(program.pid)) == len({"its own", "the inspector's"})
        other.close()


KILLED = """
import sys
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.node.opening import inspected
from agent.model import ProcessKey
with HeldProcess(ProcessKey.parse(sys.argv[1])) as held:
    with inspected("x", held, timeout_s=60.0, by_signal=True) as one:
        one.evaluate("1")
        print("within", flush=True)
        sys.stdin.readline()
"""


def test_a_killed_capture_leaves_the_program_running_and_the_next_one_tidies_up(
    captures: Captures, program: NodeProgram
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(program.process.key)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as capture:
        assert capture.stdout is not None
        assert capture.stdout.readline() == b"within\n"
        capture.send_signal(signal.SIGKILL)
    assert program.grow(1) == "grown"
    assert not own_port_only(program)

    take(captures, program, 0)

    assert own_port_only(program)
    assert program.end(LONG_S) == 0


def test_a_program_called_node_that_does_not_handle_the_signal_gets_none(tmp_path: Path) -> None:
    false_node = tmp_path / "node"
    shutil.copy(shutil.which("cat") or "/bin/cat", false_node)
    with subprocess.Popen([false_node], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"x\n")
        cat.stdin.flush()
        assert cat.stdout.readline() == b"x\n"
        with HeldProcess(process_of(cat.pid).key) as held:
            with (
                pytest.raises(SourceError, match=r"^x: it does not handle SIGUSR1$"),
                inspected("x", held, timeout_s=LONG_S, by_signal=True),
            ):
                pass
            assert why_closed(held, by_signal=True) == "it does not handle SIGUSR1"
        assert cat.poll() is None
        cat.stdin.close()


def test_a_program_of_another_name_gets_no_signal() -> None:
    with HeldProcess(process_of(os.getpid()).key) as held:
        assert why_closed(held, by_signal=True) == "its program is not called node: no SIGUSR1 is sent to it"


def test_a_program_that_is_closed_to_the_signal_gets_none() -> None:
    with (
        NodeProgram(arguments=("--disable-sigusr1",)) as program,
        HeldProcess(program.process.key) as held,
    ):
        assert why_closed(held, by_signal=True) == "it was started with --disable-sigusr1"


def test_a_stopped_program_gets_no_signal() -> None:
    with NodeProgram() as program, HeldProcess(program.process.key) as held:
        os.kill(program.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)

        assert why_closed(held, by_signal=True) == "it is stopped"


ANOTHER_USER = """
import os, sys
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.node.opening import why_closed
from agent.model import ProcessKey
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with HeldProcess(ProcessKey.parse(sys.argv[1])) as held:
    print(why_closed(held, by_signal=True))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_what_it_needs() -> None:
    with NodeProgram(OPEN) as program:
        said = subprocess.run(
            [
                sys.executable,
                "-c",
                ANOTHER_USER,
                str(program.process.key),
            ],
            check=True,
            capture_output=True,
            text=True,
        )

    assert said.stdout == "needs CAP_SYS_PTRACE, or its user\n"
