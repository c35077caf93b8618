"""Who holds what has leaked: three heap snapshots, handed to memlab where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from agent.evidence.files import check_room
from agent.evidence.node.channel import Inspected
from agent.evidence.node.snapshot import CHUNK
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE
from agent.evidence.tool import run
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.inspector.client import Session
    from agent.model import Process

NAME = "memlab"
SNAPSHOTS = ("baseline", "target", "final")
SNAPSHOT_TIMEOUT_S = 300.0
"""For the three of them, with the pauses in between."""
APART_S = 10.0
"""Between two snapshots the program goes on: what is new in the second and still there in the third leaks."""
TIMEOUT_S = 180.0
"""For memlab itself, a Node program that needs several times a snapshot's size of memory."""
NODE_FLAGS = ("--expose-gc", "--max-old-space-size=4096")
"""Those of memlab's own first line."""
MAX_OUTPUT_BYTES = 16_000_000
TOLD = 2
MAX_STEPS = 4
_TRACE = re.compile(
    r"--Similar leaks in this run: (?P<count>\d{1,9})--\n"
    r"--Retained size of leaked objects: (?P<size>[^\n-]{1,20})--\n"
    r"(?P<steps>(?:[^\n]+\n?)+)"
)
_STEP = re.compile(r"^  --(?P<name>[^<>\n]{1,100}?) \((?:variable|property)\)--->", re.MULTILINE)


class Trace(NamedTuple):
    """One cluster of memlab's: objects alike, and the names on the way to the first of them."""

    objects: int
    size: str
    names: tuple[str, ...]


class Memlab(Inspected):
    """The retainer traces of `memlab find-leaks`."""

    name = NAME
    cost = Cost(Tier.HEAVY, memory_per_heap=2.0, pause_s_per_gb=60.0, disk_per_heap=1.0)
    """Three heap snapshots, see there; not compressed, and gone afterwards."""

    def __init__(
        self,
        *,
        by_signal: bool,
        find: Callable[[str], str | None] = shutil.which,
        apart_s: float = APART_S,
    ) -> None:
        super().__init__(by_signal=by_signal)
        self._find = find
        self._apart_s = apart_s

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a Node process, its entry allows heavy evidence, and memlab is installed."""
        return consent.heavy and super().suits(process, consent) and self._find(NAME) is not None

    def why_not(self, process: Process, held: HeldProcess) -> str:
        """Return why it cannot be had."""
        if self._find(NAME) is None:
            return "not installed (npm install -g memlab)"
        return super().why_not(process, held)

    def take(self, taking: Taking) -> None:
        """Write what memlab prints, and tell who holds the most. Takes up to eight minutes."""
        tool = self._find(NAME)
        if tool is None:
            raise SourceError(f"{NAME}: not installed (npm install -g memlab)")
        with tempfile.TemporaryDirectory(prefix="leakwatch-memlab-", dir=taking.folder.path) as name:
            folder = Path(name)
            with self.speak(taking, SNAPSHOT_TIMEOUT_S) as session:
                self._snapshots(session, folder, taking.options.disk_budget_bytes)
            output = _find_leaks(tool, folder)
        taking.write_raw("memlab.txt", output)
        for trace in read(output.decode("utf-8", "replace"))[:TOLD]:
            names = " > ".join(one_line(name, 24) for name in trace.names[-MAX_STEPS:])
            taking.tell(CODE, f"held: {trace.objects:,} alike ({one_line(trace.size, 20)}) by {names}")

    def _snapshots(self, session: Session, folder: Path, most_bytes: int) -> None:
        written = 0
        for number, name in enumerate(SNAPSHOTS):
            if number:
                threading.Event().wait(self._apart_s)
            with _path(folder, name).open("xb") as file:
                add = _writer(file, written, most_bytes)
                session.call("HeapProfiler.takeHeapSnapshot", add, reportProgress=False)
                written += file.tell()


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.heapsnapshot"


def _writer(file: BinaryIO, before_bytes: int, most_bytes: int) -> Callable[[dict[str, Any]], None]:
    """Return what writes chunks into a file; those before it count too."""

    def add(message: dict[str, Any]) -> None:
        if message.get("method") != CHUNK:
            return
        file.write(str(message["params"]["chunk"]).encode("utf-8", "replace"))
        check_room(NAME, file, before_bytes + file.tell(), most_bytes)

    return add


def read(output: str) -> list[Trace]:
    """Return the traces that name a variable or a property, as memlab orders them: the largest first."""
    traces = []
    for found in _TRACE.finditer(output):
        names = tuple(_STEP.findall(found["steps"]))
        if names:
            traces.append(Trace(int(found["count"]), found["size"].strip(), names))
    return traces


def _program(tool: str) -> list[str]:
    """Return how to start it: its first line names node with flags, on which Linux's env runs for ever."""
    script, node = Path(tool).resolve(), shutil.which("node")
    return [node, *NODE_FLAGS, str(script)] if script.suffix == ".js" and node else [tool]


def _find_leaks(tool: str, folder: Path) -> bytes:
    paths = [(f"--{name}", str(_path(folder, name))) for name in SNAPSHOTS]
    command = [*_program(tool), "find-leaks", "--trace-all-objects", "--work-dir", str(folder / "work")]
    outcome = run(
        NAME,
        [*command, *(word for pair in paths for word in pair)],
        timeout_s=TIMEOUT_S,
        max_bytes=MAX_OUTPUT_BYTES,
        environment={"PATH": f"{Path(tool).parent}:{os.defpath}", "HOME": str(folder), "TERM": "dumb"},
    )
    if outcome.code != 0:
        lines = [line for line in outcome.errors.splitlines() if line.strip()] or ["it failed without a word"]
        raise SourceError(f"{NAME}: {one_line(lines[0], 200)}")
    return outcome.output + outcome.errors.encode()  # the traces go to standard error
