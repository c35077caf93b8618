"""The probe against real JVMs, and against everything that may lie where the file should be."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of
from perf_memory import MB, SERIAL, perf_memory

from agent.watch.probes.base import Probe, RuntimeFigures
from agent.watch.probes.jvm import JvmProbe, own_pid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.model import Process

CHURN = Path(__file__).parent.parent / "data" / "Churn.java"
JAVA, JAVAC = shutil.which("java"), shutil.which("javac")
needs_java = pytest.mark.skipif(not (JAVA and JAVAC), reason="java and javac are not on PATH")
LIMIT_MB = 134_217_728
"""-Xmx128m."""


class Jvm:
    """A JVM that does what it is told; when `tell` returns, it is done."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.process = process_of(child.pid, runtime="jvm")

    def tell(self, command: str, megabytes: int = 0) -> None:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(f"{command} {megabytes}\n")
        self._child.stdin.flush()
        assert self._child.stdout.readline() == "ok\n"


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("classes")
    subprocess.run([str(JAVAC), "-d", str(directory), str(CHURN)], check=True, timeout=60)
    return directory


@contextmanager
def running(classes: Path, *options: str) -> Iterator[Jvm]:
    """Give a JVM that has started; the variable keeps it from announcing options on stderr."""
    command = [str(JAVA), "-Xmx128m", "-Xshare:auto", *options, "-cp", str(classes), "Churn"]
    environment = {k: v for k, v in os.environ.items() if k != "JAVA_TOOL_OPTIONS"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            yield Jvm(child)
        finally:
            child.kill()


@pytest.fixture
def probe() -> Iterator[JvmProbe]:
    probe = JvmProbe()
    yield probe
    probe.close_all()


def read(probe: Probe, process: Process) -> RuntimeFigures:
    answer = probe.read(process.key)
    assert answer is not None, probe.why(process.key)
    return answer


@needs_java
@pytest.mark.parametrize("collector", ["Serial", "Parallel", "G1"])
def test_a_collection_shows_what_the_program_keeps(probe: JvmProbe, classes: Path, collector: str) -> None:
    with running(classes, f"-XX:+Use{collector}GC") as jvm:
        assert probe.open(jvm.process), probe.why(jvm.process.key)
        fresh = read(probe, jvm.process)
        jvm.tell("keep", 20)
        jvm.tell("collect")
        kept = read(probe, jvm.process)
        jvm.tell("keep", 20)
        jvm.tell("collect")
        grown = read(probe, jvm.process)

    assert fresh.limit_bytes == LIMIT_MB
    assert fresh.collections is not None
    assert kept.collections is not None
    assert kept.heap_bytes is not None
    assert grown.heap_bytes is not None
    assert kept.collections > fresh.collections
    assert 20 * MB < kept.heap_bytes < 25 * MB
    assert 19 * MB < grown.heap_bytes - kept.heap_bytes < 22 * MB


@needs_java
@pytest.mark.parametrize("collector", ["Serial", "Parallel", "G1"])
def test_garbage_since_the_collection_is_no_heap(probe: JvmProbe, classes: Path, collector: str) -> None:
    with running(classes, f"-XX:+Use{collector}GC") as jvm:
        assert probe.open(jvm.process), probe.why(jvm.process.key)
        jvm.tell("keep", 20)
        jvm.tell("collect")
        clean = read(probe, jvm.process)
        jvm.tell("churn", 400)
        churned = read(probe, jvm.process)

    assert clean.collections is not None
    assert clean.heap_bytes is not None
    assert churned.collections is not None
    assert churned.heap_bytes is not None
    assert churned.collections >= clean.collections + 4
    assert abs(churned.heap_bytes - clean.heap_bytes) < 3 * MB


@needs_java
@pytest.mark.parametrize("collector", ["Serial", "Parallel", "G1"])
def test_a_heap_beyond_the_old_generation_is_told_in_full(
    probe: JvmProbe, classes: Path, collector: str
) -> None:
    with running(classes, f"-XX:+Use{collector}GC") as jvm:
        assert probe.open(jvm.process), probe.why(jvm.process.key)
        jvm.tell("keep", 108)
        jvm.tell("collect")
        heap_bytes = read(probe, jvm.process).heap_bytes

    assert heap_bytes is not None
    assert 105 * MB < heap_bytes < 125 * MB


@needs_java
def test_a_jvm_told_not_to_publish_is_refused_with_the_options_that_do_it(
    probe: JvmProbe, classes: Path
) -> None:
    with running(classes, "-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem") as jvm:
        opened = probe.open(jvm.process)
        why = probe.why(jvm.process.key)

    assert not opened
    assert "-XX:+PerfDisableSharedMem" in why


def test_a_process_that_is_no_jvm_is_refused(probe: JvmProbe) -> None:
    with LeakyChild() as child:
        process = process_of(child.pid)

        assert not probe.open(process)
        assert "publishes no hsperfdata file" in probe.why(process.key)
        assert probe.read(process.key) is None


def test_a_process_that_has_gone_is_refused(probe: JvmProbe) -> None:
    with LeakyChild() as child:
        process = process_of(child.pid)

    assert not probe.open(process)
    assert probe.why(process.key) == "the process has exited"


class FakeProc:
    """A /proc of one process with pid 1 in its container, whose /tmp may hold anything."""

    def __init__(self, path: Path) -> None:
        self.root = path / "proc"
        self.process = process_of(os.getpid(), runtime="jvm")
        self.entry = self.root / str(os.getpid())
        self.folder = self.entry / "root" / "tmp" / "hsperfdata_app"
        self.folder.mkdir(parents=True)
        self.file = self.folder / "1"
        self.file.write_bytes(perf_memory(SERIAL))
        shutil.copyfile("/proc/self/stat", self.entry / "stat")
        self.status(uid=os.getuid())
        self.maps("/tmp/hsperfdata_app/1")

    def status(self, uid: int) -> None:
        ids = f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
        (self.entry / "status").write_text(f"Name:\tjava\n{ids}NSpid:\t{os.getpid()}\t1\n")

    def maps(self, path: str, permissions: str = "rw-s") -> None:
        line = f"7f145de18000-7f145de20000 {permissions} 00000000 fe:00 2156317     {path}\n"
        (self.entry / "maps").write_text("7f00-7f10 r--p 00000000 fe:00 21 /usr/lib/libc.so.6\n" + line)


@pytest.fixture
def fake(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@pytest.fixture
def fake_probe(fake: FakeProc) -> Iterator[JvmProbe]:
    probe = JvmProbe(fake.root)
    yield probe
    probe.close_all()


def own_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_the_pid_of_its_own_namespace_names_the_file(fake: FakeProc, fake_probe: JvmProbe) -> None:
    assert fake_probe.open(fake.process), fake_probe.why(fake.process.key)
    assert fake_probe.read(fake.process.key) == RuntimeFigures(21 * MB, 9, 122_880_000)
    assert not fake_probe.why(fake.process.key)


@pytest.mark.parametrize(
    ("status", "pid"),
    [
        (b"Name:\tjava\nPid:\t42\nNSpid:\t42\t7\t1\n", 1),
        (b"Name:\tjava\nPid:\t42\nNSpid:\t42\n", 42),
        (b"Name:\tjava\nPid:\t42\n", 42),
    ],
    ids=["nested", "host", "kernel without namespaces"],
)
def test_the_innermost_pid_is_its_own(status: bytes, pid: int) -> None:
    assert own_pid(status) == pid


def replace_by_fifo(fake: FakeProc) -> None:
    fake.file.unlink()
    os.mkfifo(fake.file)


def replace_by_link(fake: FakeProc) -> None:
    fake.file.rename(fake.folder / "2")
    fake.file.symlink_to(fake.folder / "2")


def replace_folder_by_link(fake: FakeProc) -> None:
    fake.folder.rename(fake.folder.parent / "elsewhere")
    fake.folder.symlink_to(fake.folder.parent / "elsewhere")


def replace_tmp_by_link(fake: FakeProc) -> None:
    """An absolute link of a container would be followed on the host."""
    tmp = fake.folder.parent
    tmp.rename(tmp.parent / "elsewhere")
    tmp.symlink_to(tmp.parent / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (replace_by_fifo, "not a regular file"),
        (replace_by_link, "cannot be read"),
        (replace_folder_by_link, "cannot be read"),
        (replace_tmp_by_link, "cannot be read"),
        (lambda fake: fake.file.unlink(), "cannot be read"),
        (lambda fake: fake.status(uid=os.getuid() + 1), "belongs to uid"),
        (lambda fake: fake.maps("/tmp/hsperfdata_app/1 (deleted)"), "has been deleted"),
        (lambda fake: fake.maps("/tmp/hsperfdata_app/12"), "publishes no hsperfdata file"),
        (lambda fake: fake.maps("/tmp/hsperfdata_app/1", "r--p"), "publishes no hsperfdata file"),
        (lambda fake: fake.file.write_bytes(b""), "makes no sense: not a PerfMemory file"),
        (lambda fake: fake.file.write_bytes(perf_memory(SERIAL, accessible=0)), "not finished starting"),
        (lambda fake: (fake.entry / "stat").write_text("1 (java) S " + "0 " * 49), "used again"),
        (lambda fake: (fake.entry / "stat").write_text("java"), "not a stat line"),
    ],
)  # fmt: skip
def test_what_is_not_the_jvms_own_file_is_refused(
    fake: FakeProc, fake_probe: JvmProbe, spoil: Callable[[FakeProc], object], sentence: str
) -> None:
    spoil(fake)
    before = own_descriptors()

    assert not fake_probe.open(fake.process)
    assert sentence in fake_probe.why(fake.process.key)
    assert own_descriptors() == before


def test_a_refused_jvm_may_be_tried_again(fake: FakeProc, fake_probe: JvmProbe) -> None:
    fake.file.write_bytes(perf_memory(SERIAL, accessible=0))
    assert not fake_probe.open(fake.process)
    fake.file.write_bytes(perf_memory(SERIAL))

    assert fake_probe.open(fake.process)
    assert not fake_probe.why(fake.process.key)


def test_counters_added_later_are_found(fake: FakeProc, fake_probe: JvmProbe) -> None:
    fake.file.write_bytes(perf_memory({"sun.gc.cause": "No GC"}))
    assert fake_probe.open(fake.process)
    assert fake_probe.read(fake.process.key) == RuntimeFigures(None, None, None)
    fake.file.write_bytes(perf_memory({"sun.gc.cause": "No GC"} | SERIAL))

    assert fake_probe.read(fake.process.key) == RuntimeFigures(21 * MB, 9, 122_880_000)


def test_a_file_spoilt_later_is_a_gap_with_a_reason(fake: FakeProc, fake_probe: JvmProbe) -> None:
    assert fake_probe.open(fake.process)
    os.truncate(fake.file, 64)

    assert fake_probe.read(fake.process.key) is None
    assert "makes no sense" in fake_probe.why(fake.process.key)


def test_an_enormous_file_costs_no_more_than_its_beginning(fake: FakeProc, fake_probe: JvmProbe) -> None:
    os.truncate(fake.file, 1 << 40)

    assert fake_probe.open(fake.process)
    assert fake_probe.read(fake.process.key) == RuntimeFigures(21 * MB, 9, 122_880_000)


def test_closing_gives_the_descriptor_back(fake: FakeProc, fake_probe: JvmProbe) -> None:
    before = own_descriptors()
    assert fake_probe.open(fake.process)
    assert fake_probe.open(fake.process)
    assert len(own_descriptors()) == len(before) + 1
    fake_probe.close(fake.process.key)
    fake_probe.close(fake.process.key)

    assert own_descriptors() == before
    assert fake_probe.read(fake.process.key) is None
