"""Mappings, names, blocks, symbol tables and memleak's output: values in, values out."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.evidence.native import chunks, maps, memleak
from agent.evidence.native.elf import ElfError, Symbols
from agent.evidence.native.mangled import readable
from agent.evidence.native.maps import Region, Span
from agent.evidence.native.memory import Piece

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data" / "memleak"
MAPS = b"""\
55d0c0000000-55d0c0001000 r--p 00000000 fe:01 77 /usr/local/bin/shop
55d0c0001000-55d0c0002000 r-xp 00001000 fe:01 77 /usr/local/bin/shop
55d0c1000000-55d0c1400000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000200000 rw-p 00000000 00:00 0
7f0000200000-7f0004000000 ---p 00000000 00:00 0
7f0004000000-7f0004100000 rw-p 00000000 00:00 0
7f1000000000-7f1000001000 ---p 00000000 00:00 0
7f1000001000-7f1000801000 rw-p 00000000 00:00 0
7f2000000000-7f2000001000 rw-s 00000000 00:01 9  /memfd:x (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
"""
NO_RIGHTS = "CapEff:\t0000000000000000\n"
BPF_RIGHTS = f"CapEff:\t{1 << 39 | 1 << 38:016x}\n"


def regions() -> list[Region]:
    return maps.parse(MAPS.splitlines(keepends=True))


def test_what_a_program_allocates_lies_in_the_heap_and_in_anonymous_memory_but_not_in_stacks() -> None:
    assert maps.allocated(regions()) == [
        Span(0x55D0C1000000, 0x55D0C1400000),
        Span(0x7F0000000000, 0x7F0000200000),
        Span(0x7F0004000000, 0x7F0004100000),
    ]


def test_blocks_of_malloc_follow_each_other_in_the_heap_and_in_arenas() -> None:
    assert maps.of_malloc(regions()) == maps.allocated(regions())
    assert maps.of_malloc(maps.parse([b"7f0000100000-7f0000200000 rw-p 00000000 00:00 0 \n"])) == []


def test_a_mapping_is_read_with_the_file_behind_it() -> None:
    assert regions()[1] == Region(
        Span(0x55D0C0001000, 0x55D0C0002000), "r-xp", 0x1000, os.makedev(0xFE, 1), 77, b"/usr/local/bin/shop"
    )


def test_no_more_mappings_than_the_limit_are_read() -> None:
    assert len(maps.parse(MAPS.splitlines(keepends=True), limit=2)) == 2


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_what_is_new_is_what_was_not_there(now: set[int], before: set[int]) -> None:
    left = maps.without(spans_of(now), spans_of(before))

    assert {at for span in left for at in range(span.start, span.end)} == now - before


def spans_of(points: set[int]) -> list[Span]:
    return [Span(at, at + 1) for at in sorted(points)]


@pytest.mark.parametrize(
    ("mangled", "expected"),
    [
        ("7Request", "Request"),
        ("N4shop7RequestE", "shop::Request"),
        ("_ZN4shop5Cache3putERKi", "shop::Cache::put"),
        ("_Z10on_timeouti", "on_timeout"),
        ("N12_GLOBAL__N_16HiddenE", "(anonymous namespace)::Hidden"),
        ("St23_Sp_counted_ptr_inplaceI7RequestSaIvELN9__gnu_cxx12_Lock_policyE2EE",
         "std::_Sp_counted_ptr_inplace<Request, ...>"),
        ("N4shop4ListIiEE", "shop::List<int>"),
        ("N4node8ResourceIhcN2v86StringEEE", "node::Resource<unsigned char, ...>"),
        ("4ListIPKN4shop4ItemEE", "List<shop::Item const*>"),
        ("_ZN4shop5CacheC2Ev", "shop::Cache::Cache"),
        ("remember", "remember"),
        ("9Short", "9Short"),
        ("", ""),
        ("N", "N"),
        ("NIiEE", "NIiEE"),
        ("N" * 500, "N" * 500),
        ("4ListI" * 100, None),
    ],
)  # fmt: skip
def test_names_of_cplusplus_are_read_as_far_as_they_can_be(mangled: str, expected: str | None) -> None:
    told = readable(mangled)

    assert expected is None or told == expected


@given(st.text("NEISt_Z0123456789aPKRC", max_size=60))
@settings(max_examples=300)
def test_no_name_breaks_the_reader(mangled: str) -> None:
    assert isinstance(readable(mangled), str)


def heap(*sizes: int) -> bytes:
    """Return blocks in use as glibc lays them out, and a last one for what is left."""
    return b"".join(struct.pack("<QQ", 0, size | 1) + bytes(size - 16) for size in (*sizes, 4096))


def test_blocks_are_counted_by_size() -> None:
    found = chunks.walk([Piece(0x1000, heap(*[128] * 40, *[64] * 10))])

    assert found.counts == {128: 40, 64: 10}
    assert found.largest == (128, 40)


def test_a_freed_block_is_not_counted() -> None:
    raw = bytearray(heap(*[128] * 20))
    raw[5 * 128 + 8] &= 0xFE  # the sixth says that the fifth is free

    found = chunks.walk([Piece(0, bytes(raw))])

    assert (found.counts, found.free_bytes) == ({128: 19}, 128)


def test_a_piece_may_begin_in_the_middle_of_a_block() -> None:
    assert chunks.walk([Piece(0, heap(*[128] * 40)[48:])]).counts == {128: 39}


@given(st.binary(max_size=2000))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_walked_to_their_end(content: bytes) -> None:
    assert chunks.walk([Piece(0, content)]).walked_bytes <= len(content)


def test_memory_of_another_allocator_is_no_walk() -> None:
    assert chunks.walk([Piece(0, b"\xff" * 100_000)]).walked_bytes == 0


def elf(*, symbols: int = 1, name_at: int = 1, symbols_at: int = 600, size: int = 16) -> bytes:
    """Return a file with one segment (offset 0 at address 0x1000) and one function there at 0x1010."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 128, 0, 64, 56, 1, 64, 3, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0x1000, 0x400, 0x400, 0x1000)
    nothing = bytes(64)
    table = struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, symbols_at, 24 * symbols, 2, 0, 8, 24)
    names = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 700, 10, 0, 0, 1, 0)
    head = (header + segment).ljust(128, b"\0") + nothing + table + names
    symbol = struct.pack("<IBBHQQ", name_at, 2, 0, 1, 0x1010, size)
    return head.ljust(600, b"\0") + symbol.ljust(100, b"\0") + b"\0remember\0"


@pytest.fixture
def lookup(tmp_path: Path) -> Callable[[bytes, int], str]:
    def look_up(content: bytes, offset: int) -> str:
        path = tmp_path / "program"
        path.write_bytes(content)
        with path.open("rb") as file:
            return Symbols(file.fileno()).at_offset(offset)

    return look_up


def test_a_place_of_a_file_has_the_name_of_its_symbol(lookup: Callable[[bytes, int], str]) -> None:
    assert lookup(elf(), 0x18) == "remember"
    assert lookup(elf(), 0x20) == ""
    assert lookup(elf(), 0x500) == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh\n",
        elf()[:400],
        elf(symbols=1 << 40),
        elf(symbols_at=(1 << 64) - 8),
        elf()[:40] + struct.pack("<Q", (1 << 64) - 1) + elf()[48:],
    ],
    ids=["empty", "script", "cut off", "endless table", "table far outside", "sections far outside"],
)
def test_a_crafted_file_is_refused(content: bytes, lookup: Callable[[bytes, int], str]) -> None:
    with pytest.raises(ElfError):
        lookup(content, 0x18)


def test_a_name_outside_of_the_table_is_none(lookup: Callable[[bytes, int], str]) -> None:
    assert lookup(elf(name_at=1 << 31), 0x18) == ""


def test_a_symbol_that_is_everywhere_does_not_overflow(lookup: Callable[[bytes, int], str]) -> None:
    assert lookup(elf(size=(1 << 64) - 1), 0x18) == "remember"


@given(st.integers(0, 599), st.binary(min_size=1, max_size=16))
@settings(max_examples=200, deadline=None)
def test_no_damage_to_a_file_breaks_the_reader(at: int, noise: bytes) -> None:
    content = elf()
    file = os.memfd_create("elf")
    try:
        os.write(file, content[:at] + noise + content[at + len(noise) :])
        Symbols(file).at_offset(0x18)
    except ElfError:
        return
    finally:
        os.close(file)


def who(name: str, mapped: list[Region] | None = None) -> str:
    return memleak.label(memleak.parse((DATA / name).read_text())[0], mapped or [])


def test_memleak_names_the_function_and_its_caller() -> None:
    found = memleak.parse((DATA / "frame-pointers.txt").read_text())

    assert (found[0].size_bytes, found[0].blocks) == (1_877_760, 15_648)
    assert who("frame-pointers.txt") == "remember < serve (shop)"


def test_memleak_without_frame_pointers_says_so() -> None:
    assert who("no-frame-pointers.txt") == "a caller without frame pointers, by operator new"


def test_memleak_without_symbols_gives_the_place_in_the_file() -> None:
    code = Region(Span(0x55B5F00B9000, 0x55B5F00BA000), "r-xp", 0x1000, 1, 7, b"/usr/local/bin/shop")

    assert who("no-symbols.txt", [code]) == "shop+0x1187"
    assert who("no-symbols.txt") == "a function without a name (shop)"


def test_what_bcc_prints_is_read_too_and_only_the_last_report() -> None:
    printed = """\
Attaching to pid 5193, Ctrl+C to quit.
[11:16:33] Top 2 stacks with outstanding allocations:
\t999 bytes in 9 allocations from stack
\t\tearlier+0x6d [allocs]
[11:16:34] Top 2 stacks with outstanding allocations:
\t80 bytes in 5 allocations from stack
\t\t[unknown] [libc-2.27.so]
\t\tmain+0x6d [allocs]
\t\t0x00007f1c2d3e4f50 __libc_start_main+0xf0 [libc-2.27.so]
\t160 bytes in 10 allocations from stack
\t\tkeep(int)+0x6d [allocs]
"""
    found = memleak.parse(printed)

    assert [(stack.size_bytes, memleak.label(stack, [])) for stack in found] == [
        (160, "keep(int) (allocs)"),
        (80, "main (allocs)"),
    ]
    nameless = "32768 bytes in 4 allocations from stack\n\t\t[unknown] [app]\n"
    nameless += "\t\tstart_thread+0xdb [libpthread-2.27.so]"
    assert memleak.label(memleak.parse(nameless)[0], []) == "a function without a name (app)"


@given(st.text(max_size=300))
def test_any_output_is_read(printed: str) -> None:
    for stack in memleak.parse("12 bytes in 1 allocations from stack\n" + printed):
        assert "\n" not in memleak.label(stack, [])


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    (tmp_path / "sys/bus/event_source/devices/uprobe").mkdir(parents=True)
    (tmp_path / "sys/kernel/btf").mkdir(parents=True)
    (tmp_path / "sys/kernel/btf/vmlinux").touch()
    (tmp_path / "memleak").write_bytes(b"\x7fELF")
    (tmp_path / "memleak-bpfcc").write_bytes(b"#!/usr/bin/python3\n")
    return tmp_path


def test_what_tracing_lacks_is_said_beforehand(kernel: Path) -> None:
    tool, script = kernel / "memleak", kernel / "memleak-bpfcc"

    assert memleak.refusal(tool, BPF_RIGHTS, kernel) == ""
    assert memleak.refusal(None) == "not installed (package libbpf-tools or bpfcc-tools)"
    assert memleak.refusal(tool, NO_RIGHTS, kernel) == "needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN"
    assert memleak.refusal(script, BPF_RIGHTS, kernel) == "the kernel's headers are not installed"
    (kernel / "sys/kernel/btf/vmlinux").unlink()
    assert "CONFIG_DEBUG_INFO_BTF" in memleak.refusal(tool, BPF_RIGHTS, kernel)
    (kernel / "sys/bus/event_source/devices/uprobe").rmdir()
    assert "CONFIG_UPROBE_EVENTS" in memleak.refusal(tool, BPF_RIGHTS, kernel)
