"""Loops that poll processes once a second in one way each: python cost_loops.py KIND PID...

They import nothing but what their way needs, as their memory is compared too. They end with standard input.
"""

# ruff: noqa: PLC0415 - a way whose imports another one pays for would not be compared
from __future__ import annotations

import os
import select
import sys
import time

TYPE_CHECKING = False
"""As `typing` has it, which would be imported for it alone."""
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Poll = Callable[[], None]

PERIOD_S = 1.0


def held(pids: Sequence[int]) -> Poll:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    files = [os.open(f"/proc/{pid}/statm", os.O_RDONLY) for pid in pids]

    def poll() -> None:
        for file in files:
            _pages(os.pread(file, 256, 0))

    return poll


def opened(pids: Sequence[int]) -> Poll:
    paths = [f"/proc/{pid}/statm" for pid in pids]

    def poll() -> None:
        for path in paths:
            file = os.open(path, os.O_RDONLY)
            _pages(os.read(file, 256))
            os.close(file)

    return poll


def _pages(line: bytes) -> int:
    fields = line.split()
    return int(fields[1]) - int(fields[2])


def sampler(pids: Sequence[int]) -> Poll:
    """Return what leakwatch itself does to sample them, with all that its samples tell."""
    from agent.watch.discovery import Discovery
    from agent.watch.processes import Sampler

    wanted = set(pids)
    processes = [one for one in Discovery().processes() if one.key.pid in wanted]
    own = Sampler()
    for process in processes:
        own.open(process)

    def poll() -> None:
        own.poll(time.clock_gettime(time.CLOCK_BOOTTIME))

    return poll


def by_psutil(pids: Sequence[int]) -> Poll:
    import psutil

    processes = [psutil.Process(pid) for pid in pids]

    def poll() -> None:
        for process in processes:
            if process.is_running():
                process.memory_info()

    return poll


def by_process_iter(_: Sequence[int]) -> Poll:
    import psutil

    def poll() -> None:
        for _ in psutil.process_iter(["memory_info"]):
            pass

    return poll


def by_ps(_: Sequence[int]) -> Poll:
    import subprocess

    def poll() -> None:
        subprocess.run(["ps", "-eo", "pid,rss"], stdout=subprocess.DEVNULL, check=True)

    return poll


KINDS = {
    "held": held,
    "open": opened,
    "sampler": sampler,
    "psutil": by_psutil,
    "psutil-iter": by_process_iter,
    "ps": by_ps,
}


def main(kind: str, pids: Sequence[int]) -> None:
    """Poll on the beat, for ever."""
    poll = KINDS[kind](pids)
    due_s = time.clock_gettime(time.CLOCK_MONOTONIC)
    while True:
        poll()
        due_s += PERIOD_S
        rest_s = due_s - time.clock_gettime(time.CLOCK_MONOTONIC)
        if select.select([sys.stdin], [], [], max(0.0, rest_s))[0]:
            return


if __name__ == "__main__":
    main(sys.argv[1], [int(pid) for pid in sys.argv[2:]])
