"""Evidence of real JVMs with planted leaks, and of everything that only looks like a JVM."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from children import LeakyChild, process_of

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.jvm import attach
from agent.evidence.jvm.collector import JvmCollector
from agent.evidence.jvm.dump import HeapDump
from agent.evidence.jvm.sources import ClassHistogram, JvmMemory, ThreadStacks
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import SourceError, Tier
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.model import Evidence, Process

DATA = Path(__file__).parent.parent / "data"
JAVA, JAVAC = shutil.which("java"), shutil.which("javac")
needs_java = pytest.mark.skipif(not (JAVA and JAVAC), reason="java and javac are not on PATH")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
OPTIONS = EvidenceOptions(cooldown_s=0.0, timeout_s=20.0)
SMALL = ("-Xmx64m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Starts fast beside other tests."""
NOBODY = 65534


class Jvm:
    """A JVM with a planted leak; when `grow` returns, it has grown."""

    def __init__(self, child: subprocess.Popen[str], process: Process) -> None:
        self.child = child
        self.process = process

    def grow(self, count: int) -> None:
        assert self.tell(f"grow {count}") == "grown"

    def tell(self, command: str) -> str:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(f"{command}\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()


@pytest.fixture(scope="module")
def classes() -> Iterator[Path]:
    """Compile the planted leaks to where every user can read them, and no other /tmp hides them."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    sources = [str(DATA / "Churn.java"), *map(str, (DATA / "planted").glob("*.java"))]
    subprocess.run([str(JAVAC), "-d", str(folder), *sources], check=True, timeout=60)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def running(classes: Path, program: str, *options: str, within: Sequence[str] = ()) -> Iterator[Jvm]:
    """Give a JVM that has started; `within` runs it, and may fork for it."""
    command = [*within, str(JAVA), *SMALL, *options, "-cp", str(classes), program]
    environment = {k: v for k, v in os.environ.items() if k != "JAVA_TOOL_OPTIONS"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
    ) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            yield Jvm(child, process_of(int(children[0]) if children else child.pid, runtime="jvm"))
        finally:
            child.kill()
            Path(f"/tmp/.java_pid{child.pid}").unlink(missing_ok=True)


@pytest.fixture
def static_map(classes: Path) -> Iterator[Jvm]:
    with running(classes, "StaticMap") as jvm:
        yield jvm


def twice(jvm: Jvm, folder: Path, *, first: int, more: int) -> Evidence:
    """Return the second of two captures between which a JVM has grown."""
    captures = Captures(folder, OPTIONS, [ClassHistogram(), JvmMemory(), ThreadStacks()])
    jvm.grow(first)
    before = captures.capture(jvm.process, "x", NOW)
    jvm.grow(more)
    after = captures.capture(jvm.process, "x", LATER)
    assert (before.missing, after.missing) == ((), ())
    return after


def ask(process: Process, command: str = "VM.version", timeout_s: float = 20.0, most: int = 1_000_000) -> str:
    with HeldProcess(process.key) as held:
        return attach.ask("jvm", held, command, timeout_s=timeout_s, max_bytes=most)


def why_not(process: Process) -> str:
    with HeldProcess(process.key) as held:
        return attach.why_not(held)


@needs_java
def test_a_static_map_is_named_by_what_it_holds(static_map: Jvm, tmp_path: Path) -> None:
    evidence = twice(static_map, tmp_path, first=100, more=5000)

    assert evidence.gist[0].startswith("grew: StaticMap$Session +5,000 (+80kB) in 12m, as many HashMap$Node")
    assert evidence.gist[1].startswith("kept in: a HashMap or HashSet (java.util.HashMap$Node +")
    assert evidence.gist[2].startswith("grew most: byte[] +")
    assert "StaticMap$Session\n" in (Path(evidence.directory) / "jvm-growth.txt").read_text()


@needs_java
def test_a_thread_local_is_named_by_what_it_holds(classes: Path, tmp_path: Path) -> None:
    with running(classes, "ThreadLocalLeak") as jvm:
        gist = twice(jvm, tmp_path, first=100, more=5000).gist

    assert gist[0].startswith("grew: ThreadLocalLeak$RequestContext +5,000 (+120kB) in 12m")
    assert gist[1] == "kept in: ThreadLocals (java.lang.ThreadLocal$ThreadLocalMap$Entry +5,000 (+160kB))"


@needs_java
def test_direct_buffers_are_named_by_their_holder_and_their_memory(classes: Path, tmp_path: Path) -> None:
    with running(classes, "DirectBufferLeak", "-XX:NativeMemoryTracking=summary") as jvm:
        gist = twice(jvm, tmp_path, first=10, more=300).gist

    assert gist[0].startswith("grew: DirectBufferLeak$Frame +300")
    assert gist[1] == "kept in: direct buffers, outside the heap (java.nio.DirectByteBuffer +300 (+19.2kB))"
    (outside,) = (line for line in gist if line.startswith("outside the heap: +3"))
    assert outside.endswith("MB in 12m, +30MB in Other (direct buffers and Unsafe)")


@needs_java
def test_without_tracking_memory_outside_the_heap_is_told_all_the_same(classes: Path, tmp_path: Path) -> None:
    with running(classes, "DirectBufferLeak") as jvm:
        gist = twice(jvm, tmp_path, first=10, more=300).gist

    (outside,) = (line for line in gist if line.startswith("outside the heap: +3"))
    assert outside.endswith("(-XX:NativeMemoryTracking=summary would say of what)")


@needs_java
def test_leaking_threads_are_named_by_the_line_they_wait_in(classes: Path, tmp_path: Path) -> None:
    with running(classes, "ThreadLeak", "-Xss256k") as jvm:
        gist = twice(jvm, tmp_path, first=10, more=60).gist

    assert "kept in: threads (java.lang.Thread +60" in "\n".join(gist)
    (told,) = (line for line in gist if line.startswith("threads:"))
    assert told.startswith("threads: +60 in 12m, 70 of ")
    assert told.endswith(" in ThreadLeak.listen (ThreadLeak.java:32), named subscriber-*")


@needs_java
def test_a_collection_tells_garbage_from_what_is_kept(classes: Path) -> None:
    with running(classes, "Churn") as jvm:
        jvm.tell("keep 10")
        jvm.tell("collect 0")
        jvm.tell("churn 8")
        with HeldProcess(jvm.process.key) as held:
            assert JvmCollector().why_not(jvm.process, held) == ""
            collected = JvmCollector().collect(held, 20.0)

    assert collected.taken_bytes > 7_000_000
    assert 10_000_000 < collected.after_bytes < 13_000_000


@needs_java
def test_a_heap_dump_is_moved_into_the_capture(static_map: Jvm, tmp_path: Path) -> None:
    captures = Captures(tmp_path, OPTIONS, [HeapDump()])
    static_map.grow(10)
    evidence = captures.capture(static_map.process, "x", NOW, consent=Consent(heavy=True), tier=Tier.HEAVY)

    assert evidence.missing == ()
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
        evidence = Captures(tmp_path / "c", OPTIONS, [HeapDump()]).capture(
            static_map.process, "x", NOW, consent=Consent(heavy=True), tier=Tier.HEAVY
        )
    finally:
        planted.unlink(missing_ok=True)

    assert (victim / "heap.hprof").read_text() == "precious"
    assert evidence.files == ()
    assert evidence.missing[0].startswith("heap dump: ")


@needs_java
@needs_root
def test_another_users_jvm_is_asked_as_that_user(classes: Path) -> None:
    within = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    with running(classes, "StaticMap", within=within) as jvm:
        assert "OpenJDK" in ask(jvm.process)

        about = Path(f"/tmp/.java_pid{jvm.process.key.pid}").stat()
        assert about.st_uid == NOBODY


STRANGER = f"""
import os, sys
from agent.evidence.jvm import attach
from agent.evidence.kernel.procfs import HeldProcess
from agent.model import ProcessKey
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
with HeldProcess(ProcessKey.parse(sys.argv[1])) as held:
    print(attach.why_not(held))
"""


@needs_java
@needs_root
def test_a_stranger_without_rights_is_refused_beforehand(static_map: Jvm) -> None:
    command = [sys.executable, "-c", STRANGER, str(static_map.process.key)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    assert told == "needs CAP_SYS_PTRACE, or its user\n"


@needs_java
@needs_root
def test_a_jvm_in_its_own_namespaces_is_asked_there(classes: Path, tmp_path: Path) -> None:
    within = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
              'mount -t tmpfs none /tmp && exec "$@"', "sh")  # fmt: skip
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces may be made here")
    with running(classes, "StaticMap", within=within) as jvm:
        pid = jvm.process.key.pid
        evidence = twice(jvm, tmp_path, first=10, more=3000)
        with HeldProcess(jvm.process.key) as held:
            why = HeapDump().why_not(jvm.process, held)
        left = os.listdir(f"/proc/{pid}/root/tmp")  # noqa: PTH208 - another mount namespace's

    assert evidence.gist[0].startswith("grew: StaticMap$Session +3,000")
    assert why == "its /tmp, where it would write, lies in memory"
    assert sorted(left) == [".java_pid1", "hsperfdata_root"]


@needs_java
def test_a_speaker_killed_at_any_moment_leaves_the_jvm_running(static_map: Jvm) -> None:
    for after_ms in (1, 3, 5, 8, 12, 16, 20, 25, 30, 40, 50, 60, 80, 100, 130):
        with suppress(SourceError):  # a late one may have had its answer
            ask(static_map.process, "GC.class_histogram -all", timeout_s=after_ms / 1000)

    static_map.grow(10)
    assert "StaticMap$Session" in ask(static_map.process, "GC.class_histogram -all")
    assert not Path(f"/tmp/.attach_pid{static_map.process.key.pid}").exists()


@needs_java
@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("-Xrs", "it does not catch SIGQUIT: no JVM, or one that starts up or runs with -Xrs"),
        ("-XX:+DisableAttachMechanism", "it runs with -XX:+DisableAttachMechanism"),
    ],
)
def test_a_jvm_that_cannot_be_attached_to_is_left_alone(classes: Path, option: str, why: str) -> None:
    with running(classes, "StaticMap", option) as jvm:
        assert why_not(jvm.process) == why
        with pytest.raises(SourceError) as refused:
            ask(jvm.process)
        jvm.grow(1)  # no thread dump lies before the answer

    assert str(refused.value) == f"jvm: {why}"


@needs_java
def test_a_stopped_jvm_is_not_waited_for(static_map: Jvm) -> None:
    os.kill(static_map.process.key.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, static_map.process.key.pid, os.WSTOPPED | os.WNOWAIT)

    assert why_not(static_map.process) == "it is stopped, by a signal or a debugger"


@needs_java
def test_an_unknown_command_is_refused_in_the_jvms_words(static_map: Jvm) -> None:
    with pytest.raises(SourceError, match=r"^jvm: the JVM refused GC.magic \(.*Unknown diagnostic command\)"):
        ask(static_map.process, "GC.magic")


def test_a_process_called_java_that_is_none_is_never_signalled(child: LeakyChild) -> None:
    with LeakyChild("java", "-XX:+UseG1GC") as impostor:
        process = process_of(impostor.pid, runtime="jvm")
        with pytest.raises(SourceError, match=r"it is no JVM: it has neither libjvm\.so"):
            ask(process)
        impostor.grow(4096)  # SIGQUIT would have ended it
    del child


class FalseJvm(NamedTuple):
    """A program that looks like a JVM."""

    process: Process
    child: subprocess.Popen[str]

    def signals(self) -> int:
        """Return how often it had SIGQUIT; that it answers shows that it lives."""
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write("?\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline())


@contextmanager
def false_jvm(how: str, folder: Path) -> Iterator[FalseJvm]:
    script = DATA / "planted" / "false_jvm.py"
    with subprocess.Popen(
        [sys.executable, str(script), how, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            yield FalseJvm(process_of(child.pid, runtime="jvm"), child)
        finally:
            child.kill()
            Path(f"/tmp/.java_pid{child.pid}").unlink(missing_ok=True)


def test_a_process_with_libjvm_that_does_not_catch_the_signal_is_never_signalled(tmp_path: Path) -> None:
    with false_jvm("careless", tmp_path) as careless:
        with pytest.raises(SourceError, match="it does not catch SIGQUIT"):
            ask(careless.process)

        assert careless.signals() == 0


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("link", r"\.java_pid\d+ in its /tmp is not its socket"),
        ("fifo", r"\.java_pid\d+ in its /tmp is not its socket"),
        ("file", r"\.java_pid\d+ in its /tmp is not its socket"),
        ("silent", "no whole answer in time: the JVM is busy, or stopped"),
        ("dripping", "no whole answer in time: the JVM is busy, or stopped"),
        ("endless", "its answer is longer than 1MB"),
        ("unlucky", r"the JVM refused VM\.version \(rm -rf /\\x1b\[31m\)"),
        ("nothing", "no whole answer in time: the JVM is busy, or stopped"),
    ],
)
def test_a_false_jvm_costs_a_sentence(how: str, why: str, tmp_path: Path) -> None:
    with false_jvm(how, tmp_path) as lying:
        with pytest.raises(SourceError, match=f"^jvm: {why}$"):
            ask(lying.process, timeout_s=2.0)

        assert lying.signals() == (1 if how == "nothing" else 0)
        assert not Path(f"/tmp/.attach_pid{lying.process.key.pid}").exists()


def test_garbage_in_place_of_an_answer_is_a_sentence_in_the_evidence(tmp_path: Path) -> None:
    with false_jvm("garbage", tmp_path) as lying:
        evidence = Captures(tmp_path / "c", OPTIONS, [ClassHistogram(), JvmMemory(), ThreadStacks()]).capture(
            lying.process, "x", NOW
        )

    assert evidence.gist == ()
    assert [line.partition(":")[0] for line in evidence.missing] == [
        "class histogram", "jvm memory", "jvm threads",
    ]  # fmt: skip


def test_a_jvm_that_may_not_collect_is_said_to(tmp_path: Path) -> None:
    with (
        false_jvm("unwilling", tmp_path) as jvm,
        HeldProcess(jvm.process.key) as held,
        pytest.raises(SourceError, match=r"GC.run: it runs with -XX:\+DisableExplicitGC"),
    ):
        JvmCollector().collect(held, 20.0)


def test_another_process_that_listens_in_the_jvms_place_is_told_nothing(tmp_path: Path) -> None:
    with false_jvm("nothing", tmp_path) as lying, socket.socket(socket.AF_UNIX) as ours:
        ours.bind(f"/tmp/.java_pid{lying.process.key.pid}")
        ours.listen()
        ours.settimeout(10.0)
        with pytest.raises(SourceError, match="belongs to another process"):
            ask(lying.process)
        line, _ = ours.accept()
        with line:
            assert line.recv(100) == b""


def test_a_link_in_the_place_of_the_attach_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    with false_jvm("nothing", tmp_path) as lying:
        planted = Path(f"/tmp/.attach_pid{lying.process.key.pid}")
        planted.symlink_to(victim)
        with pytest.raises(SourceError, match="no whole answer in time"):
            ask(lying.process, timeout_s=1.0)

    assert not victim.exists()
    assert not planted.is_symlink()


def test_a_folder_in_the_place_of_the_attach_file_is_a_sentence(tmp_path: Path) -> None:
    with false_jvm("nothing", tmp_path) as lying:
        planted = Path(f"/tmp/.attach_pid{lying.process.key.pid}")
        planted.mkdir()
        try:
            with pytest.raises(SourceError, match=r"\.attach_pid\d+ cannot be put into its /tmp"):
                ask(lying.process, timeout_s=1.0)

            assert lying.signals() == 0
        finally:
            planted.rmdir()
