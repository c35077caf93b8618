"""Evidence of real JVMs with planted leaks."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from planted_jvms import Jvm, false_jvm, needs_java, needs_root, running

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.jvm.collector import JvmCollector
from agent.evidence.jvm.dump import HeapDump
from agent.evidence.jvm.sources import ClassHistogram, JvmMemory, ThreadStacks
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import SourceError, Tier
from agent.model import Instant

if TYPE_CHECKING:
    from agent.model import Evidence, Process

NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
OPTIONS = EvidenceOptions(cooldown_s=0.0, timeout_s=20.0)


def twice(jvm: Jvm, folder: Path, *, first: int, more: int) -> Evidence:
    """Return the second of two captures between which a JVM has grown."""
    captures = Captures(folder, OPTIONS, [ClassHistogram(), JvmMemory(), ThreadStacks()])
    jvm.grow(first)
    before = captures.capture(jvm.process, "x", NOW)
    jvm.grow(more)
    after = captures.capture(jvm.process, "x", LATER)
    assert (before.missing, after.missing) == ((), ())
    return after


def dumped(process: Process, folder: Path) -> Evidence:
    captures = Captures(folder, OPTIONS, [HeapDump()])
    return captures.capture(process, "x", NOW, consent=Consent(heavy=True), tier=Tier.HEAVY)


@needs_java
def test_a_static_map_is_named_by_what_it_holds(static_map: Jvm, tmp_path: Path) -> None:
    evidence = twice(static_map, tmp_path, first=100, more=5000)

    assert evidence.gist[0].startswith("grew: StaticMap$Session +5,000 (+80kB) in 12m, as many HashMap$Node")
    assert evidence.gist[1].startswith("kept in: a HashMap or HashSet (java.util.HashMap$Node +")
    assert evidence.gist[2].startswith("grew most: byte[] +")
    assert "StaticMap$Session\n" in (Path(evidence.directory) / "jvm-growth.txt").read_text()


@needs_java
def test_a_thread_local_is_named_by_what_it_holds(jvm_classes: Path, tmp_path: Path) -> None:
    with running(jvm_classes, "ThreadLocalLeak") as jvm:
        gist = twice(jvm, tmp_path, first=100, more=5000).gist

    assert gist[0].startswith("grew: ThreadLocalLeak$RequestContext +5,000 (+120kB) in 12m")
    assert gist[1] == "kept in: ThreadLocals (java.lang.ThreadLocal$ThreadLocalMap$Entry +5,000 (+160kB))"


@needs_java
def test_direct_buffers_are_named_by_their_holder_and_their_memory(jvm_classes: Path, tmp_path: Path) -> None:
    with running(jvm_classes, "DirectBufferLeak", "-XX:NativeMemoryTracking=summary") as jvm:
        gist = twice(jvm, tmp_path, first=10, more=300).gist

    assert gist[0].startswith("grew: DirectBufferLeak$Frame +300")
    assert gist[1] == "kept in: direct buffers, outside the heap (java.nio.DirectByteBuffer +300 (+19.2kB))"
    (outside,) = (line for line in gist if line.startswith("outside the heap: +3"))
    assert outside.endswith("MB in 12m, +30MB in Other (direct buffers and Unsafe)")


@needs_java
def test_without_tracking_memory_outside_the_heap_is_told(jvm_classes: Path, tmp_path: Path) -> None:
    with running(jvm_classes, "DirectBufferLeak") as jvm:
        gist = twice(jvm, tmp_path, first=10, more=300).gist

    (outside,) = (line for line in gist if line.startswith("outside the heap: +3"))
    assert outside.endswith("(-XX:NativeMemoryTracking=summary would say of what)")


@needs_java
def test_leaking_threads_are_named_by_the_line_they_wait_in(jvm_classes: Path, tmp_path: Path) -> None:
    with running(jvm_classes, "ThreadLeak", "-Xss256k") as jvm:
        gist = twice(jvm, tmp_path, first=10, more=60).gist

    assert "kept in: threads (java.lang.Thread +60" in "\n".join(gist)
    (told,) = (line for line in gist if line.startswith("threads:"))
    assert told.startswith("threads: +60 in 12m, 70 of ")
    assert told.endswith(" in ThreadLeak.listen (ThreadLeak.java:32), named subscriber-*")


@needs_java
def test_a_collection_tells_garbage_from_what_is_kept(jvm_classes: Path) -> None:
    with running(jvm_classes, "Churn") as jvm:
        jvm.tell("keep 10")
        jvm.tell("collect 0")
        jvm.tell("churn 8")
        with HeldProcess(jvm.process.key) as held:
            assert JvmCollector().why_not(jvm.process, held) == ""
            collected = JvmCollector().collect(held, 20.0)

    assert collected.taken_bytes > 7_000_000
    assert 10_000_000 < collected.after_bytes < 13_000_000


@needs_java
def test_a_heap_dump_is_moved_into_the_capture_and_names_the_static_field(
    static_map: Jvm, tmp_path: Path
) -> None:
    static_map.grow(2000)
    evidence = dumped(static_map.process, tmp_path)

    assert evidence.missing == ()
    assert evidence.gist == ("largest static: StaticMap.SESSIONS, java.util.HashMap with 2,000 elements",)
    with gzip.open(Path(evidence.directory) / "heap.hprof.gz") as dump:
        content = dump.read()
    assert content.startswith(b"JAVA PROFILE 1.0.")
    assert b"StaticMap$Session" in content
    assert list(Path("/tmp").glob(f".leakwatch-heap-{static_map.process.key.pid}*")) == []


@needs_java
def test_no_heap_dump_without_consent(static_map: Jvm) -> None:
    assert not HeapDump().suits(static_map.process, Consent())
    assert HeapDump().suits(static_map.process, Consent(heavy=True))


@needs_java
def test_a_link_in_the_place_of_the_dumps_folder_is_not_followed(static_map: Jvm, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "heap.hprof").write_text("precious")
    planted = Path(f"/tmp/.leakwatch-heap-{static_map.process.key.pid}")
    planted.symlink_to(victim)
    try:
        evidence = dumped(static_map.process, tmp_path / "c")
    finally:
        planted.unlink(missing_ok=True)

    assert (victim / "heap.hprof").read_text() == "precious"
    assert evidence.files == ()
    assert evidence.missing[0].startswith("heap dump: ")


@needs_java
@needs_root
def test_a_jvm_in_its_own_namespaces_is_asked_there(jvm_classes: Path, tmp_path: Path) -> None:
    within = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
              'mount -t tmpfs none /tmp && exec "$@"', "sh")  # fmt: skip
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces may be made here")
    with running(jvm_classes, "StaticMap", within=within) as jvm:
        pid = jvm.process.key.pid
        evidence = twice(jvm, tmp_path, first=10, more=3000)
        with HeldProcess(jvm.process.key) as held:
            why = HeapDump().why_not(jvm.process, held)
        left = os.listdir(f"/proc/{pid}/root/tmp")  # noqa: PTH208 - another mount namespace's

    assert evidence.gist[0].startswith("grew: StaticMap$Session +3,000")
    assert why == "its /tmp, where it would write, lies in memory"
    assert sorted(left) == [".java_pid1", "hsperfdata_root"]


def test_a_jvm_that_may_not_collect_is_said_to(tmp_path: Path) -> None:
    with (
        false_jvm("unwilling", tmp_path) as jvm,
        HeldProcess(jvm.process.key) as held,
        pytest.raises(SourceError, match=r"GC.run: it runs with -XX:\+DisableExplicitGC"),
    ):
        JvmCollector().collect(held, 20.0)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("linked dump", "Too many levels of symbolic links"),
        ("second name of a dump", "what lies in the place of the dump is not the JVM's file"),
        ("fifo for a dump", "what lies in the place of the dump is not the JVM's file"),
        ("sparse dump", r"its 4\.4TB are more than there was to write"),
        ("no dump", "the JVM has written none"),
    ],
)
def test_a_dump_that_is_none_of_the_jvms_is_not_kept(how: str, why: str, tmp_path: Path) -> None:
    with false_jvm(how, tmp_path) as lying:
        evidence = dumped(lying.process, tmp_path / "c")
        Path(f"/tmp/.java_secret{lying.process.key.pid}").unlink(missing_ok=True)

        assert evidence.files == ()
        (missing,) = evidence.missing
        assert re.search(rf"^heap dump: .*{why}", missing)
        assert list(Path("/tmp").glob(f".leakwatch-heap-{lying.process.key.pid}*")) == []


def test_a_spoilt_dump_is_kept_without_a_finding(tmp_path: Path) -> None:
    with false_jvm("spoilt dump", tmp_path) as lying:
        evidence = dumped(lying.process, tmp_path / "c")

    assert evidence.gist == ()
    assert "heap.hprof.gz" in evidence.files
    assert evidence.missing == ("heap dump: not a heap dump of a 64-bit JVM",)


def test_garbage_in_place_of_an_answer_is_a_sentence_in_the_evidence(tmp_path: Path) -> None:
    with false_jvm("garbage", tmp_path) as lying:
        evidence = Captures(tmp_path / "c", OPTIONS, [ClassHistogram(), JvmMemory(), ThreadStacks()]).capture(
            lying.process, "x", NOW
        )

    assert evidence.gist == ()
    assert [line.partition(":")[0] for line in evidence.missing] == [
        "class histogram", "jvm memory", "jvm threads",
    ]  # fmt: skip
