"""What a JVM tells of itself, as sources of evidence: classes, memory, threads and a heap dump."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.evidence.jvm import attach, histogram, memory, threads
from agent.evidence.jvm.histogram import Count
from agent.evidence.jvm.memory import Memory
from agent.evidence.source import Cost, Tier
from agent.evidence.taking import CODE, COUNTS, PLACE, SETTING
from agent.units import format_duration

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Before, Taking
    from agent.model import Process

MAX_ANSWER_BYTES = 16_000_000
"""A histogram has some 70 bytes for each of 50,000 classes, a thread of 60 calls some 5 kB."""
MAX_SHORT_BYTES = 1_000_000
"""Of an answer about the heap, the flags or native memory, which have some kilobytes."""
MAX_KEPT_CLASSES = 3000
"""Those that take most are compared later; the rest of a large application has a few objects each."""


class _OfJvm:
    """What is asked of a JVM through its attach socket."""

    name: str

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's; this needs none
        """Whether it is a JVM."""
        return process.runtime == "jvm"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why it cannot be attached to."""
        return attach.why_not(held)

    def ask(self, taking: Taking, command: str, timeout_s: float, max_bytes: int = MAX_ANSWER_BYTES) -> str:
        """Return the JVM's answer. Raises SourceError, ProcessGoneError, OSError."""
        return attach.ask(self.name, taking.held, command, timeout_s=timeout_s, max_bytes=max_bytes)


class ClassHistogram(_OfJvm):
    """Objects by class, unreachable ones included, so that no collection is caused."""

    name = "class histogram"
    cost = Cost(Tier.CHEAP, pause_s_per_gb=0.7, baseline=True)
    """Measured on 1.2 GB in 24 million small objects, JDK 17: Serial 0.53 s/GB, Parallel 0.76, G1 0.61."""

    def take(self, taking: Taking) -> None:
        """Count, and compare with the first look."""
        text = self.ask(taking, "GC.class_histogram -all", taking.options.timeout_s)
        counts = histogram.parse(text)
        before = taking.before("jvm-classes.json")
        earlier = _earlier_counts(before)
        taking.write("jvm-classes.json", _largest(counts))
        taking.write_raw("jvm-classes.txt", text.encode())
        if before is None or earlier is None:
            lines = histogram.tell_top(counts)
        else:
            span = format_duration(before.age_s)
            grown = histogram.changes(earlier, counts)
            taking.write_raw("jvm-growth.txt", histogram.table(grown, span).encode())
            lines = histogram.tell_growth(grown, span)
        for line in lines:
            taking.tell(CODE, line)


class JvmMemory(_OfJvm):
    """Heap, flags and native memory: the JVM answers without stopping its threads."""

    name = "jvm memory"
    cost = Cost(Tier.CHEAP, baseline=True)

    def take(self, taking: Taking) -> None:
        """Ask for them, and tell what has grown outside the heap."""
        each_s = taking.options.timeout_s / 3
        info, flags, native_text = (
            self.ask(taking, command, each_s, MAX_SHORT_BYTES)
            for command in ("GC.heap_info", "VM.flags", "VM.native_memory summary")
        )
        heap, native = memory.parse_heap(info), memory.parse_native(native_text)
        with taking.held.lines("smaps") as lines:
            inside, outside = memory.split_anonymous(lines, heap)
        now = Memory(heap.used_bytes, outside, inside, native or {})
        before = taking.before("jvm-memory.json")
        earlier = _earlier_memory(before)
        taking.write("jvm-memory.json", now._asdict())
        taking.write_raw("jvm-memory.txt", f"{info}\n{flags}\n{native_text}".encode())
        taking.tell(SETTING, memory.tell_standing(now, heap, memory.max_heap_bytes(flags)))
        if before is not None and earlier is not None:
            span = format_duration(before.age_s)
            line = memory.tell_outside(earlier, now, span, tracked=native is not None)
            if line:
                taking.tell(PLACE, line)


class ThreadStacks(_OfJvm):
    """The threads by what they do."""

    name = "jvm threads"
    cost = Cost(Tier.MEDIUM)
    """Measured on JDK 17: all threads stand still for 60 ms where 1,000 of them are 33 calls deep."""

    def take(self, taking: Taking) -> None:
        """Group them, and tell of many and of more than before."""
        found = threads.parse(self.ask(taking, "Thread.print", taking.options.timeout_s))
        before = taking.before("jvm-threads.json")
        earlier = _earlier_places(before)
        taking.write("jvm-threads.json", threads.places(found))
        taking.write_raw("jvm-threads.txt", threads.readable(found).encode())
        line = threads.tell(found, earlier, "" if before is None else format_duration(before.age_s))
        if line:
            taking.tell(CODE if earlier else COUNTS, line)


def _largest(counts: dict[str, Count]) -> dict[str, Count]:
    order = sorted(counts, key=lambda name: -counts[name].bytes)
    return {name: counts[name] for name in order[:MAX_KEPT_CLASSES]}


def _earlier_counts(before: Before | None) -> dict[str, Count] | None:
    try:
        told = None if before is None else json.loads(before.content)
        return told and {str(name): Count(int(pair[0]), int(pair[1])) for name, pair in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None  # cut off by a full disk, or written by another version


def _earlier_memory(before: Before | None) -> Memory | None:
    try:
        return None if before is None else Memory.from_json(json.loads(before.content))
    except (ValueError, KeyError, TypeError):
        return None


def _earlier_places(before: Before | None) -> dict[str, int] | None:
    try:
        told = None if before is None else json.loads(before.content)
        return told and {str(place): int(count) for place, count in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
