"""The leaking child of a drill, from its parent's side: grows by handshake, and never outlives it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from agent.drill.steps import DrillError

PROGRAM = Path(__file__).with_name("leak.py")
END_WAIT_S = 5.0
"""It ends in milliseconds when its input does; what does not is killed after this."""


class LeakingChild:
    """A real process that leaks; a context manager, whose end is the child's end.

    Raises DrillError where the child does not start.
    """

    def __init__(self) -> None:
        try:
            # -I: no variable of the environment and no file of the folder changes what it runs.
            self._process = subprocess.Popen(  # noqa: S603 - our own program, by our own interpreter
                [sys.executable, "-I", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise DrillError(f"{sys.executable or 'python'} does not start: {error.strerror}") from None
        try:
            self._expect("ready")
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its process number, as this process sees it."""
        return self._process.pid

    def grow(self, size_bytes: int) -> None:
        """Let it leak so many bytes; they are resident when this returns. Raises DrillError."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe, as asked for above
        try:
            self._process.stdin.write(b"%d\n" % size_bytes)
            self._process.stdin.flush()
        except OSError:
            raise DrillError(self._died()) from None
        self._expect("ok")

    def end(self) -> int:
        """Close its input, which ends it, reap it, and return its exit code; killed, it is negative."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what could not be written to a dead child is flushed once more
                    pipe.close()
        try:
            return self._process.wait(END_WAIT_S)
        except BaseException as error:
            self._process.kill()
            code = self._process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                return code
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as asked for above
        if self._process.stdout.readline().strip() != word.encode():
            raise DrillError(self._died())

    def _died(self) -> str:
        return f"the child (pid {self.pid}) does not answer; it ended with code {self.end()}"
