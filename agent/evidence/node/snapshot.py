"""A heap snapshot of a Node program, written as it comes: it is never held here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from agent import gz
from agent.evidence.files import check_room
from agent.evidence.node.channel import Inspected
from agent.evidence.source import Cost, SourceError, Tier

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.taking import Taking
    from agent.model import Process

TIMEOUT_S = 120.0
"""Of which three fifths are for the snapshot itself; the program goes on afterwards in any case."""
FILE = "heap.heapsnapshot.gz"
CHUNK = "HeapProfiler.addHeapSnapshotChunk"
COMPRESSION = 1


class HeapSnapshot(Inspected):
    """All live objects, for Chrome's DevTools; it holds whatever secrets the heap holds."""

    name = "heap snapshot"
    cost = Cost(Tier.HEAVY, memory_per_heap=2.0, pause_s_per_gb=20.0, disk_per_heap=0.2)
    """Measured on 200 MB of small arrays and strings, Node 20: 17 s of CPU and 1.05 GB for each GB; a heap of
    many small objects needs more (github.com/nodejs/node/issues/56207). The file has 0.3, compressed 0.06."""

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a Node process, and its entry allows heavy evidence."""
        return consent.heavy and super().suits(process, consent)

    def take(self, taking: Taking) -> None:
        """Have V8 write it. Takes up to `TIMEOUT_S`, during which the program stands still."""
        with self.speak(taking, TIMEOUT_S) as session, taking.open_raw(FILE) as file:
            kept = _Kept(file, taking.options.disk_budget_bytes)
            session.call("HeapProfiler.takeHeapSnapshot", kept.add, reportProgress=False)
            kept.end()


class _Kept:
    """Compresses the chunks into a file."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._packer = gz.packer(COMPRESSION)
        self._chunks = 0

    def add(self, message: dict[str, Any]) -> None:
        """Keep what a message brings, if it is a chunk. Raises SourceError where it is too much."""
        if message.get("method") != CHUNK:
            return
        self._chunks += 1
        self._file.write(self._packer.compress(str(message["params"]["chunk"]).encode("utf-8", "replace")))
        check_room(HeapSnapshot.name, self._file, self._file.tell(), self._most_bytes)

    def end(self) -> None:
        """Write what is left. Raises SourceError where nothing came."""
        if not self._chunks:
            raise SourceError(f"{HeapSnapshot.name}: the inspector has sent nothing")
        self._file.write(self._packer.flush())
