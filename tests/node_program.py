"""A Node program with a planted leak, for everybody's tests: it grows when told, and by each request."""

from __future__ import annotations

import shutil
import subprocess
import threading
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from children import process_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Process

NODE = shutil.which("node")
PLANTED = Path(__file__).parent / "data" / "planted" / "node_closures.js"
SIGNALLED = "--inspect-port=0"
"""SIGUSR1 opens the inspector at a port that is free, whoever else runs tests."""
OPEN = "--inspect=0"

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


class NodeProgram:
    """It answers when what it was told is done."""

    def __init__(self, *flags: str, script: Path = PLANTED, arguments: tuple[str, ...] = ()) -> None:
        self._child = subprocess.Popen(
            [NODE or "node", *flags, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.port = int(self._line().split()[1])

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def process(self) -> Process:
        return replace(process_of(self.pid, runtime="node"), exe=str(NODE))

    def grow(self, count: int) -> str:
        """Have it keep so many closures; each holds some 5 kB."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"grow {count}\n".encode())
        self._child.stdin.flush()
        return self._line()

    def end(self, timeout_s: float) -> int:
        """Let it end by itself, and return its exit code."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        return self._child.wait(timeout_s)

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Send it one request after the other meanwhile."""
        over = threading.Event()

        def load() -> None:
            while not over.is_set():
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/") as answer:
                    answer.read()

        thread = threading.Thread(target=load)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode().strip()
