"""What hsperfdata files say, and that no bytes make the parser fall."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perf_memory import MB, SERIAL, perf_memory

from agent.watch.probes.base import RuntimeFigures
from agent.watch.probes.hsperfdata import MAX_BYTES, MAX_ENTRIES, figures, layout_of, parse

USED = "sun.gc.generation.{}.space.{}.used"
G1 = SERIAL | {
    "sun.gc.policy.name": "GarbageFirst",
    "sun.gc.collector.2.invocations": 12,
    "sun.gc.generation.0.maxCapacity": 134_217_728 + 24,
    "sun.gc.generation.1.maxCapacity": 134_217_728 + 8,
}
ZGC = {
    "sun.gc.collector.2.invocations": 12,
    "sun.gc.generation.1.maxCapacity": 134_217_728,
    "sun.gc.generation.1.space.0.name": "space",
    "sun.gc.generation.1.space.0.used": 44 * MB,
}


def figures_of(counters: dict[str, int | str]) -> RuntimeFigures:
    data = perf_memory(counters)
    return figures(data, layout_of(data))


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_counter_is_told_in_either_byte_order(order: str) -> None:
    assert parse(perf_memory(SERIAL, order=order)) == SERIAL


def test_the_heap_is_what_is_used_outside_eden() -> None:
    assert figures_of(SERIAL) == RuntimeFigures(21 * MB, 9, 122_880_000)


def test_the_heap_is_unknown_before_the_first_collection() -> None:
    fresh = SERIAL | {"sun.gc.collector.0.invocations": 0, "sun.gc.collector.1.invocations": 0}

    assert figures_of(fresh) == RuntimeFigures(None, 0, 122_880_000)


def test_eden_counts_where_the_old_generation_is_full() -> None:
    full = SERIAL | {USED.format(1, 0): 81 * MB}

    assert figures_of(full).heap_bytes == (81 + 1 + 9) * MB


def test_generations_of_g1_share_one_heap_and_its_cycles_are_no_collections() -> None:
    assert figures_of(G1) == RuntimeFigures(21 * MB, 9, 134_217_728)


def test_a_collector_without_eden_tells_what_is_used_and_no_collections() -> None:
    assert figures_of(ZGC) == RuntimeFigures(44 * MB, None, 134_217_728)


def test_a_jvm_without_a_collector_tells_nothing() -> None:
    assert figures_of({"java.rt.vmArgs": "-XX:+UseEpsilonGC"}) == RuntimeFigures(None, None, None)


@pytest.mark.parametrize("value", [-1, MAX_BYTES], ids=["negative", "beyond every machine"])
def test_impossible_figures_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="impossible figures"):
        figures_of(SERIAL | {USED.format(1, 0): value})


def test_many_spaces_cannot_add_up_to_what_cannot_be() -> None:
    crowd = {USED.format(1, space): MAX_BYTES - 1 for space in range(2, 100)}

    with pytest.raises(ValueError, match="impossible figures"):
        figures_of(SERIAL | crowd)


def test_a_limit_of_a_few_bytes_is_none() -> None:
    tiny = {f"sun.gc.generation.{n}.maxCapacity": 100 for n in (0, 1)}

    assert figures_of(SERIAL | tiny).limit_bytes is None


def test_a_limit_beyond_every_machine_is_none() -> None:
    huge = {f"sun.gc.generation.{n}.maxCapacity": MAX_BYTES for n in (0, 1)}

    assert figures_of(SERIAL | huge).limit_bytes is None


def test_a_file_cut_off_later_is_refused() -> None:
    layout = layout_of(perf_memory(SERIAL))

    with pytest.raises(ValueError, match="cut off: 100 of"):
        figures(perf_memory(SERIAL)[:100], layout)


def with_entry_field(index: int, value: int) -> bytes:
    """Return a file whose first entry lies about its length (0), name (1) or value (7)."""
    data = bytearray(perf_memory(SERIAL))
    struct.pack_into("<i", data, 32 + {0: 0, 1: 4, 7: 16}[index], value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a PerfMemory file"),
        (b"\x7fELF" + bytes(100), "not a PerfMemory file"),
        (perf_memory(SERIAL, major=3), "version 3, byte order 1"),
        (perf_memory(SERIAL, accessible=0), "has not finished starting"),
        (perf_memory(SERIAL, count=-1), "impossible: -1 entries"),
        (perf_memory(SERIAL, count=MAX_ENTRIES + 1), "impossible: 10001 entries"),
        (perf_memory(SERIAL, count=99), "has an impossible length 0"),
        (perf_memory(SERIAL)[:200], "impossible length|cut off"),
        (with_entry_field(0, 0), "entry at 32 has an impossible length 0"),
        (with_entry_field(0, -64), "impossible length -64"),
        (with_entry_field(0, 2**31 - 1), "impossible length 2147483647"),
        (with_entry_field(1, -5), "entry at 32 points out of itself"),
        (with_entry_field(7, 30_000), "entry at 32 points out of itself"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_a_reason(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(data)


def swallow(data: bytes) -> None:
    """Read it as the probe does; only a ValueError may come out."""
    with suppress(ValueError):
        parse(data)
    with suppress(ValueError):
        figures(data, layout_of(data))


@given(st.binary(max_size=2_000))
@settings(max_examples=200, deadline=1_000)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    swallow(body)
    swallow(perf_memory({})[:32] + body)


@given(st.lists(st.tuples(st.integers(4, 900), st.integers(0, 255)), min_size=1, max_size=12))
@settings(max_examples=300, deadline=1_000)
def test_a_damaged_file_is_read_or_refused(damages: list[tuple[int, int]]) -> None:
    data = bytearray(perf_memory(G1, size_bytes=2_048))
    for at, byte in damages:
        data[at] = byte
    swallow(bytes(data))


def test_the_longest_file_of_the_smallest_entries_is_read_in_bounded_steps() -> None:
    entry = struct.pack("<iiicBBBi", 21, 20, 0, b"J", 0, 0, 0, 20) + b"\0"
    prologue = perf_memory({}, count=MAX_ENTRIES)[:32]

    assert parse(prologue + entry * 47_000) == {}
