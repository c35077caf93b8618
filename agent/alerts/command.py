"""Command: an alert's JSON document on the standard input of a program of the operator's own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from agent.alerts.base import ChannelOptions, DeliveryError
from agent.alerts.message import delivery_id, document, encoded
from agent.options import Duration, at_least, option
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.tools import Tools
    from agent.model import Alert

MAX_OUTPUT_BYTES = 8192
"""The last of what a program says is kept, the rest is read and forgotten."""
MAX_SAYING_CHARS = 200
KILL_WAIT_S = 2.0
"""A program that is killed and stays (it waits for a disk, say) is left behind after this."""
_PIPE_BYTES = 1 << 20
"""What one read takes: all that a pipe can hold (pipe(7))."""
_PERMANENT = {
    64: "it was called wrongly",
    65: "it does not take the alert",
    77: "it lacks a permission",
    78: "its configuration is wrong",
    126: "it may not be run",
    127: "it was not found",
}
"""EX_USAGE, EX_DATAERR, EX_NOPERM and EX_CONFIG of sysexits.h, and the two that shells use. Any other exit
is tried again, EX_TEMPFAIL (75) like an ordinary 1: most programs know no other word for trouble."""
_UNUSABLE = (FileNotFoundError, PermissionError, NotADirectoryError)
_INHERITED = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/"}
"""All that a program gets of the agent's own environment, and what stands in for it."""
_TOLD = ("incident", "sequence", "transition", "event", "subject", "severity", "service", "host", "title")


def _argv_problem(value: tuple[str, ...]) -> str | None:
    program = value[0] if value else ""
    try:
        usable = program.startswith("/") and os.path.isfile(program) and os.access(program, os.X_OK)  # noqa: PTH113 - a text
    except ValueError:
        usable = False
    return None if usable else "a list that begins with the absolute path of a program that may be run"


@dataclass(frozen=True, slots=True)
class CommandOptions(ChannelOptions):
    """Which program is told, and how long it may take."""

    command: tuple[str, ...] = option(
        describe="the program and its arguments, run without a shell", check=_argv_problem
    )
    timeout_s: Duration = option(
        30.0,
        key="timeout",
        describe="a program that takes longer is killed",
        check=at_least(0.1, "at least 100ms"),
    )

    def build(self, name: str, tools: Tools) -> CommandChannel:  # noqa: ARG002 - it needs none
        """Return the channel."""
        return CommandChannel(name, self)


class CommandChannel:
    """Runs one program an alert."""

    def __init__(self, name: str, options: CommandOptions) -> None:
        self.name = name
        self._argv = options.command
        self._timeout_s = options.timeout_s

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a program is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Run the program until it ends or its time is over. Raises DeliveryError unless it exits with 0."""
        with _input(encoded(alert)) as document_file:
            process = self._start(alert, document_file)
        output, in_time = _finish(process, self._timeout_s)
        if not in_time:
            raise DeliveryError(self._sentence(f"was killed after {self._timeout_s:g} s", output))
        self._judge(process.returncode, output)

    def _start(self, alert: Alert, document_file: BinaryIO) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - the operator's own program, no shell
                self._argv,
                stdin=document_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd="/",
                env=environment(alert),
                start_new_session=True,
            )
        except OSError as error:
            why = (error.strerror or "unknown").lower()
            unusable = isinstance(error, _UNUSABLE) or "format" in why
            raise DeliveryError(f"{self._argv[0]} does not start: {why}", permanent=unusable) from None

    def _judge(self, code: int, output: bytes) -> None:
        if code == 0:
            return
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        sentence = self._sentence(how, output)
        if code in _PERMANENT:
            raise DeliveryError(f"{sentence}: {_PERMANENT[code]}", permanent=True)
        raise DeliveryError(sentence)

    def _sentence(self, how: str, output: bytes) -> str:
        lines = output.decode("utf-8", "replace").strip().splitlines()
        said = f" ({one_line(lines[-1].strip(), MAX_SAYING_CHARS)})" if lines else ""
        return f"{self._argv[0]} {how}{said}"


def environment(alert: Alert) -> dict[str, str]:
    """Return the program's whole environment: three of the agent's variables, and the facts of the alert."""
    told = document(alert)
    kept = {name: os.environ.get(name, default) for name, default in _INHERITED.items()}
    facts = {f"LEAKWATCH_{name.upper()}": str(told[name]) for name in _TOLD}
    return (
        kept
        | facts
        | {
            "LEAKWATCH_DELIVERY": delivery_id(alert),
            "LEAKWATCH_DEDUP_KEY": told["dedup_key"],
            "LEAKWATCH_PID": str(alert.pid),
            "LEAKWATCH_DRILL": "yes" if alert.drill else "",
        }
    )


@contextmanager
def _input(document_bytes: bytes) -> Iterator[BinaryIO]:
    """Yield the document as a file: a program that does not read it holds nobody up, as a pipe would."""
    with os.fdopen(os.memfd_create("leakwatch-alert", os.MFD_CLOEXEC), "w+b") as file:
        file.write(document_bytes)
        file.seek(0)
        yield file


def _finish(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[bytes, bool]:
    """Return the end of what the program said, and whether it ended by itself; reap it."""
    expired = threading.Event()
    timer = threading.Timer(timeout_s, _expire, (process.pid, expired))
    timer.daemon = True
    timer.start()
    assert process.stdout is not None  # noqa: S101 - asked for above
    try:
        with closing(process.stdout):
            said = _read(process.pid, process.stdout.fileno(), timeout_s + KILL_WAIT_S)
    finally:  # before it is reaped: a pid that is free could be somebody else's when the time is over
        timer.cancel()
        timer.join()
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_WAIT_S)
    return said, not expired.is_set() or process.returncode not in (None, -signal.SIGKILL)


def _expire(pid: int, expired: threading.Event) -> None:
    expired.set()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _read(pid: int, output: int, longest_s: float) -> bytes:
    """Return the end of the output when the program has ended, whoever still holds the pipe open."""
    said = b""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    with _ended(pid) as ended:
        poll.register(ended, select.POLLIN)
        while ready := [descriptor for descriptor, _ in poll.poll(longest_s * 1000)]:
            if output in ready:
                chunk = os.read(output, _PIPE_BYTES)
                said = (said + chunk)[-MAX_OUTPUT_BYTES:]
                if not chunk:
                    poll.unregister(output)
            if ended in ready:
                break
    return said


@contextmanager
def _ended(pid: int) -> Iterator[int]:
    """Yield a descriptor that can be read once the process has ended; it is not reaped by that."""
    reader, writer = os.pipe()

    def watch() -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(writer)

    threading.Thread(target=watch, name=f"wait-{pid}", daemon=True).start()
    try:
        yield reader
    finally:
        os.close(reader)
