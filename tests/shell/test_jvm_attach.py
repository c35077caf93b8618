"""Attaching to JVMs: as whom, to what, and what a program that only looks like one can do about it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of
from planted_jvms import FalseJvm, Jvm, false_jvm, needs_java, needs_root, running

from agent.evidence.jvm import attach
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.evidence.jvm.hotspot import Hotspot
    from agent.model import Process

NOBODY = 65534
IN_TIME = "(no whole answer in time: the JVM is busy, or stopped|stopped after 2s without an answer)"
"""By itself, or, on a machine as busy as that, because it was killed."""


def ask(process: Process, command: str = "VM.version", timeout_s: float = 20.0, most: int = 1_000_000) -> str:
    with HeldProcess(process.key) as held:
        return attach.ask("jvm", held, command, timeout_s=timeout_s, max_bytes=most)


def why_not(process: Process) -> str:
    with HeldProcess(process.key) as held:
        return attach.why_not(held)


@needs_java
@needs_root
def test_another_users_jvm_is_asked_as_that_user(jvm_classes: Path) -> None:
    within = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    with running(jvm_classes, "StaticMap", within=within) as jvm:
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
def test_a_speaker_killed_at_any_moment_leaves_the_jvm_running(static_map: Jvm) -> None:
    for after_ms in (1, 3, 5, 8, 12, 16, 20, 25, 30, 40, 50, 60, 80, 100, 130):
        with suppress(SourceError):  # a late one may have had its answer
            ask(static_map.process, "GC.class_histogram -all", timeout_s=after_ms / 1000)

    static_map.grow(10)
    assert "StaticMap$Session" in ask(static_map.process, "GC.class_histogram -all")
    assert not attach_file(static_map).exists()


@needs_java
def test_a_jvm_that_stands_still_for_longer_than_we_wait_prints_no_thread_dump(
    static_map: Jvm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full collection, a frozen cgroup, a suspended host: SIGQUIT is served long after we gave up."""
    pid = static_map.process.key.pid
    with monkeypatch.context() as frozen:
        frozen.setattr(attach.hotspot, "prove", stopping_after(attach.hotspot.prove))
        for _ in range(2):
            with pytest.raises(SourceError, match=IN_TIME):
                ask(static_map.process, timeout_s=2.0)
            os.kill(pid, signal.SIGCONT)
            static_map.grow(1)

    assert "OpenJDK" in ask(static_map.process)
    static_map.grow(1)  # no thread dump lies before the answer
    assert not attach_file(static_map).exists()


def stopping_after(prove: Callable[[HeldProcess], Hotspot]) -> Callable[[HeldProcess], Hotspot]:
    """Stop a JVM in the moment between the last look at its state and the signal."""

    def proved(held: HeldProcess) -> Hotspot:
        jvm = prove(held)
        os.kill(held.key.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, held.key.pid, os.WSTOPPED | os.WNOWAIT)
        return jvm

    return proved


@needs_java
@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("-Xrs", "it does not catch SIGQUIT: no JVM, or one that starts up or runs with -Xrs"),
        ("-XX:+DisableAttachMechanism", "it runs with -XX:+DisableAttachMechanism"),
    ],
)
def test_a_jvm_that_cannot_be_attached_to_is_left_alone(jvm_classes: Path, option: str, why: str) -> None:
    with running(jvm_classes, "StaticMap", option) as jvm:
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
        ("silent", IN_TIME),
        ("dripping", IN_TIME),
        ("endless", "its answer is longer than 1MB"),
        ("unlucky", r"the JVM refused VM\.version \(rm -rf /\\x1b\[31m\)"),
        ("nothing", IN_TIME),
    ],
)
def test_a_false_jvm_costs_a_sentence(how: str, why: str, tmp_path: Path) -> None:
    with false_jvm(how, tmp_path) as lying:
        with pytest.raises(SourceError, match=f"^jvm: {why}$"):
            ask(lying.process, timeout_s=2.0)

        assert lying.signals() == (1 if how == "nothing" else 0)
        assert attach_file(lying).exists() == (how == "nothing")


def test_a_jvm_that_has_not_answered_is_signalled_once(tmp_path: Path) -> None:
    with false_jvm("nothing", tmp_path) as lying:
        for _ in range(2):
            with pytest.raises(SourceError, match=IN_TIME):
                ask(lying.process, timeout_s=1.5)

        assert lying.signals() == 1


@pytest.mark.parametrize("content", ["", "?{start}", "!0", "!{start}0"])
def test_a_file_left_by_another_tool_or_an_earlier_run_is_no_request_of_ours(
    content: str, tmp_path: Path
) -> None:
    with false_jvm("nothing", tmp_path) as lying:
        attach_file(lying).write_text(content.format(start=lying.process.key.start_ticks))
        with pytest.raises(SourceError, match=IN_TIME):
            ask(lying.process, timeout_s=1.5)

        assert lying.signals() == 1
        assert attach_file(lying).read_text() == f"!{lying.process.key.start_ticks}"


def attach_file(jvm: Jvm | FalseJvm) -> Path:
    return Path(f"/tmp/.attach_pid{jvm.process.key.pid}")


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
        planted = attach_file(lying)
        planted.symlink_to(victim)
        with pytest.raises(SourceError, match=IN_TIME):
            ask(lying.process, timeout_s=2.0)

    assert not victim.exists()
    assert not planted.is_symlink()


def test_a_folder_in_the_place_of_the_attach_file_is_a_sentence(tmp_path: Path) -> None:
    with false_jvm("nothing", tmp_path) as lying:
        planted = attach_file(lying)
        planted.mkdir()
        try:
            with pytest.raises(SourceError, match=r"\.attach_pid\d+ cannot be put into its /tmp"):
                ask(lying.process, timeout_s=2.0)

            assert lying.signals() == 0
        finally:
            planted.rmdir()
