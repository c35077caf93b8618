"""JVMs for tests: with a planted leak, or only looking like one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from children import process_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.model import Process

DATA = Path(__file__).parent / "data"
JAVA, JAVAC = shutil.which("java"), shutil.which("javac")
needs_java = pytest.mark.skipif(not (JAVA and JAVAC), reason="java and javac are not on PATH")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
SMALL = ("-Xmx64m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Starts fast beside other tests."""


@contextmanager
def compiled() -> Iterator[Path]:
    """Compile the planted leaks to where every user can read them, and no other /tmp hides them."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    sources = [str(DATA / "Churn.java"), *map(str, (DATA / "planted").glob("*.java"))]
    try:
        subprocess.run([str(JAVAC), "-d", str(folder), *sources], check=True, timeout=60)
        yield folder
    finally:
        shutil.rmtree(folder)


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
            for left in (".java_pid", ".attach_pid"):
                Path(f"/tmp/{left}{child.pid}").unlink(missing_ok=True)


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
            for left in (".java_pid", ".attach_pid"):
                Path(f"/tmp/{left}{child.pid}").unlink(missing_ok=True)
