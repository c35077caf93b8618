"""`leakwatch gc`, as a person calls it on a terminal and a script without one."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from agent.cli import gc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from children import LeakyChild

PID_LIMIT = int(Path("/proc/sys/kernel/pid_max").read_text("ascii"))
JAVA, JAVAC = shutil.which("java"), shutil.which("javac")
needs_java = pytest.mark.skipif(not (JAVA and JAVAC), reason="java and javac are not on PATH")
GARBAGE = """
import java.util.Scanner;

public class Garbage {
    static byte[][] kept = new byte[20][1_000_000];
    static byte[][] lost;

    public static void main(String[] arguments) {
        System.out.println("ready");
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            lines.nextLine();
            lost = new byte[20][1_000_000];
            lost = null;
            System.out.println("lost");
        }
    }
}
"""
"""Keeps 20 MB and loses 20 MB a line, with a heap so large that nothing is collected by itself."""


class Jvm:
    """A JVM that has garbage when it is told to."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    @property
    def pid(self) -> str:
        return str(self._child.pid)

    def answer(self) -> str:
        assert self._child.stdout
        return self._child.stdout.readline().strip()

    def lose(self) -> None:
        assert self._child.stdin
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        assert self.answer() == "lost"


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(gc.command, arguments)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    """A JVM for all tests: compiling and starting it takes seconds."""
    folder = tmp_path_factory.mktemp("garbage")
    (folder / "Garbage.java").write_text(GARBAGE)
    subprocess.run([str(JAVAC), "Garbage.java"], cwd=folder, check=True)
    options = ["-Xms256m", "-Xmn128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    command = [str(JAVA), *options, "-cp", str(folder), "Garbage"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        one = Jvm(child)
        assert one.answer() == "ready"
        try:
            yield one
        finally:
            child.kill()


@pytest.fixture
def jvm(running: Jvm) -> Jvm:
    """The same with 20 MB of new garbage."""
    running.lose()
    return running


@needs_java
def test_a_full_collection_of_a_jvm_is_told_with_what_is_left(jvm: Jvm) -> None:
    told = json.loads(ask(jvm.pid, "--yes", "--json").output)
    again = ask(jvm.pid, "--yes")

    assert told["by"] == "GC.run"
    assert told["process"]["runtime"] == "jvm"
    assert told["before_bytes"] - told["after_bytes"] > 15_000_000
    assert told["after_bytes"] > 20_000_000
    assert told["verdict"].endswith("what is left is still referred to")
    assert again.exit_code == 0
    assert "collected by GC.run\n  in use before: 2" in again.output


@needs_java
def test_nobody_to_ask_means_no_collection(jvm: Jvm) -> None:
    result = ask(jvm.pid)

    assert result.exit_code == gc.NOT_COLLECTED
    assert "there is nobody to ask: give --yes" in result.output


@needs_java
@pytest.mark.parametrize(("answer", "code"), [("n", gc.NOT_COLLECTED), ("y", 0)])
def test_on_a_terminal_a_person_is_asked(jvm: Jvm, answer: str, code: int) -> None:
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, f"{answer}\n".encode())
        command = [sys.executable, "-m", "agent", "gc", jvm.pid]
        done = subprocess.run(command, stdin=terminal, capture_output=True, text=True, check=False)
    finally:
        os.close(keyboard)
        os.close(terminal)

    assert "a full collection by GC.run; the process stands still meanwhile" in done.stdout
    assert done.returncode == code, done.stderr
    assert ("in use after" in done.stdout) == (code == 0)


def test_a_runtime_that_cannot_be_asked_is_exit_code_2() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        result = ask(str(child.pid), "--yes")

    assert result.exit_code == gc.MISTAKE
    assert f"cat (pid {child.pid}, native, user " in result.output
    assert "needs --pprof URL" in result.output or "nobody can ask this runtime" in result.output


def test_what_would_have_to_be_allowed_is_told_to_machines_too(child: LeakyChild) -> None:
    result = ask(str(child.pid), "--json")

    assert result.exit_code == gc.MISTAKE
    assert "needs --allow inject: run our own few lines" in json.loads(result.stdout)["why"]


def test_no_such_process_is_exit_code_2() -> None:
    result = ask(str(PID_LIMIT + 1), "--yes")

    assert result.exit_code == gc.MISTAKE
    assert "no such process" in result.output
