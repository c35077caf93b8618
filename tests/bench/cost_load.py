"""Cheap processes to be watched: compiles the forker and keeps its children alive.

with Compiled() as programs, Load(programs.forker, 1000) as load:
    load.pids
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
PREFIX = f"lw{os.getpid()}-"
"""What the children are called, followed by the number of their group; no other run's are."""


class Compiled:
    """The C programs of the bench, in a folder that goes with it. Raises OSError without a C compiler."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="leakwatch-bench-")
        self.folder = Path(self._folder.name)
        self.forker = self._compile("forker")
        self.poller = self._compile("poller")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def _compile(self, name: str) -> Path:
        program = self.folder / name
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise OSError("there is no C compiler (cc or gcc)")
        source = HERE / f"{name}.c"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
        return program


@dataclass(frozen=True, slots=True)
class Manners:
    """What the processes do; by default nothing at all."""

    groups: int = 10
    """So many names, which become services."""
    busy: int = 0
    """So many of them touch pages every second."""
    growing: int = 0
    """So many keep another page every second."""
    churn: int = 0
    """So many are replaced every second."""

    @property
    def names(self) -> list[str]:
        """Return what the processes are called."""
        return [f"{PREFIX}{group}" for group in range(self.groups)]


IDLE = Manners()


class Load:
    """So many processes that exist until it is left."""

    def __init__(self, forker: Path, count: int, manners: Manners = IDLE) -> None:
        numbers = (count, manners.groups, manners.busy, manners.growing, manners.churn)
        self.count = count
        self.manners = manners
        self._child = subprocess.Popen(
            [forker, *map(str, numbers), PREFIX], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._answer() != "ready":
            self.__exit__()
            raise OSError(f"cannot start {count} processes")

    @property
    def pids(self) -> Sequence[int]:
        """Return who runs now, oldest first."""
        return children_of(self._child.pid)

    def replace(self, count: int) -> None:
        """End the oldest ones, and start as many."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"replace {count}\n")
        self._child.stdin.flush()
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate()

    def _answer(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()


def children_of(pid: int) -> list[int]:
    """Return the children of a process; none of one that has gone."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - one of the files of thousands
            found += Path(f"/proc/{pid}/task/{task}/children").read_text("ascii").split()
    except OSError:  # it has ended meanwhile
        return []
    return [int(child) for child in found]
