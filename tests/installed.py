"""The installed command as a child process, and programs that leak by themselves.

with InstalledDaemon(["--config", path, "--state-dir", directory], environ) as daemon:
    daemon.wait_for("LIMIT", "service=api")
    assert daemon.terminate() == 0
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

COMMAND = Path(sys.executable).parent / "leakwatch"
LEAKS = Path(__file__).parent / "data" / "leaks"
STOP_S = 5.0
"""The daemon's own promise after SIGTERM."""


class InstalledDaemon:
    """`leakwatch run` with these arguments; its lines are kept as they come."""

    def __init__(self, arguments: Sequence[str | Path], environ: Mapping[str, str]) -> None:
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._child = subprocess.Popen(  # the context manager ends it
            [COMMAND, "run", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", **environ},
        )
        self._reader = threading.Thread(target=self._read, name="stderr of leakwatch")
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def lines(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    def all_with(self, *parts: str) -> list[str]:
        """Return the lines that hold all these parts."""
        return [line for line in self.lines if all(part in line for part in parts)]

    def wait_for(self, *parts: str, timeout_s: float = 60.0) -> str:
        """Return the first line with all these parts; fails when it does not come, or the daemon ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or bool(self._found(parts)), timeout_s)
            found = self._found(parts)
            said = "".join(f"\n    {line}" for line in self._lines)
            assert found, f"no line with {parts} after {timeout_s} s{' (it has ended)' * self._ended}:{said}"
            return found[0]

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def terminate(self, timeout_s: float = STOP_S) -> int:
        """Stop it with SIGTERM and return its exit code; fails when it takes longer."""
        self.signal(signal.SIGTERM)
        code = self._child.wait(timeout_s)
        self._reader.join()
        return code

    def kill(self) -> None:
        """End it with SIGKILL: nothing of it runs once this returns."""
        self._child.kill()
        self._child.wait()
        self._reader.join()

    def kill_after(self, seconds: float) -> None:
        """End it with SIGKILL once so long has passed, or it has ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        self.kill()

    def wait_killed(self, timeout_s: float = 60.0) -> None:
        """Wait until another thread has killed it; fails when it ended otherwise or lives on."""
        code = self._child.wait(timeout_s)
        assert code == -signal.SIGKILL, f"it ended by itself: {code}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self._child.stderr is not None
        self._child.stderr.close()

    def _found(self, parts: Sequence[str]) -> list[str]:
        return [line for line in self._lines if all(part in line for part in parts)]

    def _read(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self._keep(line.rstrip("\n"))
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _keep(self, line: str) -> None:
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()


def own_name(script: str) -> str:
    """Return the name under which this test run starts a script: "leaky_4211.js" of "leaky.js"."""
    path = Path(script)
    return f"{path.stem}_{os.getpid()}{path.suffix}"


class LeakingProgram:
    """A program of `data/leaks` that leaks so many bytes a second from its start on.

    It runs from `folder` under a name of this test run's own, which becomes its service: tests that run at
    the same time on one machine find each other's programs as well. `more` only shows in its command line.
    """

    def __init__(self, interpreter: str, script: str, bytes_per_s: float, folder: Path, *more: str) -> None:
        own = shutil.copy(LEAKS / script, folder / own_name(script))
        self._child = subprocess.Popen(  # the context manager ends it
            [interpreter, own, f"{bytes_per_s / 1e6:.3f}", *more], stdin=subprocess.DEVNULL
        )
        self.service = own.stem

    @property
    def pid(self) -> int:
        return self._child.pid

    def kill(self) -> None:
        """End and reap it."""
        self._child.kill()
        self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_before = self._child.poll()
        self.kill()
        if kind is None:
            assert ended_before in (None, -signal.SIGKILL), f"{self.service} ended by itself: {ended_before}"
