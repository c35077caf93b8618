"""Smaps and the other files of /proc that a capture reads: text in, values out."""

from __future__ import annotations

import pytest

from agent.evidence.kernel import smaps
from agent.evidence.kernel.descriptors import fd_class
from agent.evidence.kernel.procfs import (
    Stat,
    parse_cgroup,
    parse_counters,
    parse_limits,
    parse_stat,
    parse_status,
)

MIB = 1024 * 1024
GUARD = 4096
AT = 0x7F00_0010_0000


def mapping(
    size: int,
    *,
    path: str = "",
    permissions: str = "rw-p",
    start: int = AT,
    rss_kib: int = 0,
    dirty_kib: int = 0,
) -> list[bytes]:
    head = f"{start:x}-{start + size:x} {permissions} 00000000 00:00 0 {path}".rstrip() + "\n"
    fields = f"Size: {size // 1024} kB\nRss: {rss_kib} kB\nPss: {rss_kib} kB\nPrivate_Dirty: {dirty_kib} kB\n"
    return [
        line.encode()
        for line in (head + fields + "Swap: 8 kB\nVmFlags: rd wr mr\n").splitlines(keepends=True)
    ]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        pytest.param(mapping(MIB, path="[heap]"), smaps.HEAP, id="brk"),
        pytest.param(mapping(MIB - 4096), smaps.SMALL, id="below-1MB"),
        pytest.param(mapping(MIB), smaps.MEDIUM, id="1MB"),
        pytest.param(mapping(4 * MIB), smaps.LARGE, id="4MB"),
        pytest.param(mapping(64 * MIB), smaps.HUGE, id="64MB-unaligned"),
        pytest.param(mapping(20 * MIB, start=0x7F00_0400_0000), smaps.ARENAS, id="aligned-arena"),
        pytest.param(mapping(64 * MIB, start=0xC0_0000_0000), smaps.ARENAS, id="go-arena"),
        pytest.param(mapping(MIB, path="[anon:glibc: malloc]"), smaps.MEDIUM, id="named-anonymous"),
        pytest.param(mapping(MIB, path="[stack]"), smaps.STACKS, id="main-stack"),
        pytest.param(mapping(MIB, path="/usr/lib/libc.so.6"), smaps.FILES, id="file"),
        pytest.param(
            mapping(MIB, path="/dev/shm/x (deleted)", permissions="rw-s"), smaps.SHARED, id="shared"
        ),
        pytest.param(mapping(8192, path="[vdso]"), smaps.OTHER, id="vdso"),
    ],
)
def test_a_mapping_is_of_one_kind(lines: list[bytes], kind: str) -> None:
    assert list(smaps.parse(lines).kinds) == [kind]


def test_memory_above_a_guard_page_is_a_stack() -> None:
    stack = mapping(8 * MIB, start=AT + GUARD, rss_kib=40)

    found = smaps.parse(mapping(GUARD, permissions="---p") + stack)

    assert found.kinds[smaps.STACKS].rss_bytes == 40 * 1024


def test_totals_are_summed_in_bytes() -> None:
    lines = mapping(MIB, rss_kib=100, dirty_kib=60) + mapping(
        2 * MIB, start=AT + 99 * MIB, rss_kib=50, dirty_kib=40
    )

    assert smaps.parse(lines).kinds == {
        smaps.MEDIUM: smaps.Totals(2, 150 * 1024, 150 * 1024, 100 * 1024, 16 * 1024)
    }


def test_files_are_listed_by_what_was_written_to_them() -> None:
    lines = [
        line
        for number in range(30)
        for line in mapping(MIB, path=f"/lib/{number}.so", rss_kib=900 - number, dirty_kib=number)
    ]

    files = smaps.parse(lines).files

    assert len(files) == smaps.TOP_FILES
    assert list(files)[:2] == ["/lib/29.so", "/lib/28.so"]


def test_a_path_with_newline_and_invalid_utf8_stays_on_one_line() -> None:
    lines = [b"7f0000000000-7f0000001000 r--p 00000000 fe:00 7 /tmp/a\\012\xff b\n", b"Rss: 4 kB\n"]

    assert list(smaps.parse(lines).files) == ["/tmp/a\\012\\xff b"]


def test_too_many_mappings_are_cut_and_said_so() -> None:
    found = smaps.parse(mapping(MIB) * 5, limit=3)

    assert found.truncated
    assert found.kinds[smaps.MEDIUM].mappings == 3


def test_growth_names_what_grew_most_and_what_moved() -> None:
    before = smaps.Smaps({smaps.HEAP: held(10), smaps.LARGE: held(60), smaps.FILES: held(1)})
    after = smaps.Smaps(
        {smaps.HEAP: held(68), smaps.HUGE: held(70), smaps.FILES: held(1), smaps.STACKS: held(0.5)}
    )

    assert smaps.growth(before, after) == "grew: anonymous >64MB +70MB, [heap] +58MB, anonymous 4-64MB -60MB"


def test_no_growth_is_said_too() -> None:
    same = smaps.Smaps({smaps.HEAP: held(10)})

    assert smaps.growth(same, same) == "grew: nothing by 1MB or more"


def test_clean_pages_of_files_are_cache_and_not_held() -> None:
    read_only = smaps.Totals(1, rss_bytes=90_000_000, private_dirty_bytes=2_000_000)

    assert smaps.largest(smaps.Smaps({smaps.FILES: read_only})) == "holds: files 2MB (of 2MB)"


def test_json_brings_smaps_back() -> None:
    found = smaps.parse(mapping(MIB, path="/lib/a.so", rss_kib=9, dirty_kib=3) + mapping(MIB, path="[heap]"))

    assert smaps.Smaps.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "name",
    [b"python", b"a) R 1 2 3", b"\n", b"\xff\xfe", b")"],
    ids=["plain", "forged", "newline", "bytes", "paren"],
)
def test_a_hostile_name_does_not_shift_the_fields_of_stat(name: bytes) -> None:
    fields = b"S " + b" ".join(b"%d" % number for number in range(4, 22)) + b" 123456 0 0\n"

    assert parse_stat(b"42 (" + name + b") " + fields) == Stat("S", 123456)


def test_a_stopped_state_is_known() -> None:
    assert [Stat(state, 1).stopped for state in "TtSR"] == [True, True, False, False]


def test_status_is_told_in_bytes() -> None:
    raw = b"Name:\tweb\\nserver\nState:\tS (sleeping)\nUid:\t1\t2\nVmRSS:\t  200 kB\nThreads:\t7\nSigQ:\t0\n"

    assert parse_status(raw) == {
        "Name": "web\\nserver",
        "State": "S (sleeping)",
        "EffectiveUid": 2,
        "VmRSS_bytes": 204800,
        "Threads": 7,
    }


def test_limits_keep_their_names_with_spaces() -> None:
    raw = (
        b"Limit                     Soft Limit           Hard Limit           Units     \n"
        b"Max open files            1024                 524288               files     \n"
        b"Max address space         unlimited            unlimited            bytes     \n"
    )

    assert parse_limits(raw) == {
        "Max open files": ["1024", "524288"],
        "Max address space": ["unlimited", "unlimited"],
    }


def test_both_cgroup_hierarchies_are_found() -> None:
    raw = b"9:name=systemd:/a\n4:cpu,memory:/b:c\n0::/d\n"

    assert parse_cgroup(raw) == {"memory": "/b:c", "unified": "/d"}


def test_counters_skip_what_is_no_number() -> None:
    assert parse_counters(b"anon 4096\nfile 12\nhierarchical max\n\n") == {"anon": 4096, "file": 12}


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("socket:[1]", "socket"),
        ("pipe:[1]", "pipe"),
        ("anon_inode:[eventpoll]", "anon_inode:[eventpoll]"),
        ("anon_inode:inotify", "anon_inode:inotify"),
        ("/memfd:x (deleted)", "memfd"),
        ("/dev/null", "device"),
        ("/dev/shm/x", "file"),
        ("/var/log/a (deleted)", "deleted file"),
        ("/var/log/a", "file"),
        ("net:[4026531840]", "net"),
    ],
)
def test_a_descriptor_has_a_class(target: str, kind: str) -> None:
    assert fd_class(target) == kind


def held(megabytes: float) -> smaps.Totals:
    size = int(megabytes * 1_000_000)
    return smaps.Totals(1, rss_bytes=size, private_dirty_bytes=size)
