"""Real processes for everybody's tests: they do what they are told, and answer when it is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.model import Process, ProcessKey

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAKY_SCRIPT = Path(__file__).parent / "data" / "leaky_child.py"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class LeakyChild:
    """A child that grows by handshake: when `grow` returns, the memory is there.

    `arguments` only show in its command line; `pass_fds` are inherited.
    """

    def __init__(
        self, *arguments: str | bytes, pass_fds: Sequence[int] = (), script: Path = LEAKY_SCRIPT
    ) -> None:
        self._child = subprocess.Popen(  # the context manager ends it
            [sys.executable, "-u", str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=pass_fds,
        )
        if self._answer() != "ready":
            self.kill()
            raise RuntimeError("the child did not start")

    @property
    def pid(self) -> int:
        return self._child.pid

    def grow(self, size_bytes: int) -> None:
        """Allocate and touch so many bytes of anonymous memory, exact to a page, and keep them."""
        self._tell(f"grow {size_bytes}")

    def share(self, size_bytes: int) -> None:
        """Allocate and touch so many bytes of shared memory, and keep them."""
        self._tell(f"share {size_bytes}")

    def free(self) -> None:
        """Give everything that was grown back to the kernel: the resident size really falls."""
        self._tell("free")

    def circle(self, size_bytes: int) -> None:
        """Lose so many bytes of garbage that only a full collection finds; none comes by itself any more."""
        self._tell(f"circle {size_bytes}")

    def threads(self, count: int) -> None:
        """Start so many more threads."""
        self._tell(f"threads {count}")

    def fds(self, count: int) -> None:
        """Open so many more descriptors."""
        self._tell(f"fds {count}")

    def rename(self, name: bytes) -> None:
        """Set the kernel's name of the process (15 bytes count, none may be NUL)."""
        self._tell(f"rename {name.hex()}")

    def fork(self) -> int:
        """Let it have a child of its own, which ends with it; return its pid."""
        return int(self._tell("fork"))

    def kill(self) -> None:
        """Kill it and reap it."""
        self._child.kill()
        self._end()

    def quit(self) -> int:
        """Let it exit by itself, reap it, and return its exit code."""
        self._send("quit")
        return self._end()

    def become_zombie(self) -> None:
        """Let it exit, and leave it unreaped until the context ends."""
        self._send("quit")
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def wait(self) -> int:
        """Reap it once it has exited by itself, and return its exit code."""
        return self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _tell(self, command: str) -> str:
        self._send(command)
        answer = self._answer()
        if not answer:
            raise RuntimeError(f"the child has died of: {command}")
        return answer

    def _send(self, command: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(command.encode() + b"\n")
        self._child.stdin.flush()

    def _answer(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode().strip()

    def _end(self) -> int:
        code = self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        return code


def start_ticks(pid: int) -> int:
    """Return when a live process has started, in clock ticks since boot."""
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def process_of(pid: int, *, runtime: str = "python", service_cgroup: str = "/") -> Process:
    """Return the value that discovery would make of a live process, as far as tests need it."""
    key = ProcessKey(pid, start_ticks(pid), BOOT_ID)
    return Process(
        key=key,
        name=Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip(),
        command=f"child {pid}",
        exe=sys.executable,
        user="tester",
        parent_pid=os.getppid() if pid == os.getpid() else os.getpid(),
        cgroup=service_cgroup,
        started_t_s=key.start_ticks / TICKS_PER_S,
        runtime=runtime,
    )
