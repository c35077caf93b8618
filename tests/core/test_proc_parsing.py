"""Files of /proc are read right whatever bytes a process has put into them."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.watch.procfs import (
    Pages,
    Uids,
    parse_arguments,
    parse_cgroup,
    parse_listening,
    parse_stat,
    parse_statm,
    parse_swap_bytes,
    parse_swaps_used,
    parse_uids,
    telling_cgroup,
)
from agent.watch.runtimes import is_go, runtime_of_maps, runtime_of_name

AFTER_COMM = (
    b" S 42 4211 4211 0 -1 4194304 99 0 0 0 123 45 6 7 20 0 17 0 141101 3133440 381 18446744073709551615"
    b" 94082153107456 94082153127337 140720958194192 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 7 0\n"
)


@given(comm=st.binary(max_size=64))
def test_any_bytes_may_be_a_name(comm: bytes) -> None:
    stat = parse_stat(b"4211 (" + comm + b")" + AFTER_COMM)

    assert (stat.comm, stat.state, stat.parent_pid) == (comm, b"S", 42)
    assert (stat.cpu_ticks, stat.threads, stat.start_ticks, stat.rss_pages) == (168, 17, 141101, 381)


@given(raw=st.binary(max_size=200))
def test_what_is_no_stat_line_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_stat(raw.replace(b")", b""))


@pytest.mark.parametrize(
    ("state", "dead"), [(b"R", False), (b"D", False), (b"T", False), (b"Z", True), (b"X", True), (b"x", True)]
)
def test_a_zombie_is_dead(state: bytes, *, dead: bool) -> None:
    assert parse_stat(b"1 (sh)" + AFTER_COMM.replace(b" S ", b" " + state + b" ")).dead is dead


def test_a_kernel_thread_is_told_by_its_flag() -> None:
    kthreadd = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 5 0 0 20 0 1 0 30 0 0 18446744073709551615 0\n"

    assert parse_stat(kthreadd).kernel_thread
    assert not parse_stat(b"4211 (sh)" + AFTER_COMM).kernel_thread


def test_statm_gives_pages() -> None:
    assert parse_statm(b"765 400 372 5 0 123 0\n") == Pages(765, 400, 372)
    assert parse_statm(b"0 0 0 0 0 0 0\n") == Pages(0, 0, 0)


@pytest.mark.parametrize("raw", [b"", b"1 2", b"a b c d"])
def test_what_is_no_statm_line_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_statm(raw)


def test_swap_and_users_are_found_in_status() -> None:
    name = rb"Name:\tx\nVmSwap: 9 kB"
    status = name + b"\nUid:\t1000\t1001\t1000\t1000\nVmRSS:\t  4 kB\nVmSwap:\t    12 kB\nThreads:\t1\n"

    assert parse_swap_bytes(status) == 12 * 1024
    assert parse_uids(status) == Uids(1000, 1001)
    assert parse_swap_bytes(b"Name:\tkthreadd\n") == 0


@pytest.mark.parametrize(
    ("rows", "used"),
    [
        ("", False),
        ("/dev/sda2   partition\t2097148\t\t0\t\t-2\n", False),
        ("/dev/sda2   partition\t2097148\t\t0\t\t-2\n/swap\\040file  file\t1024\t\t12\t\t-3\n", True),
    ],
    ids=["none", "configured", "in use"],
)
def test_swap_counts_once_it_is_in_use(rows: str, *, used: bool) -> None:
    assert parse_swaps_used("Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + rows) is used


@pytest.mark.parametrize(
    ("cmdline", "arguments"),
    [
        (b"", ()),
        (b"\0\0", ()),
        (b"python3\0-m\0app\0", (b"python3", b"-m", b"app")),
        (b"sh\0\0x\0", (b"sh", b"", b"x")),
        (b"gunicorn: worker [api]\0\0\0\0", (b"gunicorn: worker [api]",)),
    ],
    ids=["kernel thread", "emptied", "usual", "an empty argument", "setproctitle"],
)
def test_arguments_are_split_at_nul(cmdline: bytes, arguments: tuple[bytes, ...]) -> None:
    assert parse_arguments(cmdline) == arguments


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/api.service\n", "/system.slice/api.service"),
        ("0::/\n", "/"),
        ("4:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n", "/docker/abc"),
        ("5:cpu,memory:/m\n1:name=systemd:/system.slice/api.service\n", "/system.slice/api.service"),
        ("5:cpu,memory:/m\n1:name=systemd:/\n0::/\n", "/m"),
        ("0::/a:b/c\n", "/a:b/c"),
        ("", "/"),
    ],
    ids=["v2", "root", "hybrid", "v1", "v1 memory", "colon", "unreadable"],
)
def test_the_cgroup_that_says_most_is_told(text: str, path: str) -> None:
    assert telling_cgroup(parse_cgroup(text)) == path


def test_only_listening_sockets_count() -> None:
    row = "  {n}: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 0  0  0 {inode} 1 0\n"
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        + row.format(n=0, port="1F90", state="0A", inode=111)
        + row.format(n=1, port="1F91", state="01", inode=222)
    )

    assert parse_listening(table.splitlines()) == {"111": 8080}


def test_behind_the_listening_sockets_no_line_is_asked_for() -> None:
    row = "  0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 0  0  0 {inode} 1 0\n"
    others = (row.format(port="1F91", state="01", inode=number) for number in range(1000))
    lines = chain(["sl\n", row.format(port="1F90", state="0A", inode=111)], others)

    assert parse_listening(lines) == {"111": 8080}
    assert sum(1 for _ in lines) == 999


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        ("/usr/bin/python3.11", "python"),
        ("/opt/pypy3.10/bin/pypy3.10", "python"),
        ("python3.13t", "python"),
        ("/usr/bin/node", "node"),
        ("/usr/lib/jvm/java-21/bin/java", "jvm"),
        ("/usr/bin/python-config-reader", None),
        ("/usr/sbin/nginx", None),
        ("", None),
    ],
)
def test_the_runtime_is_read_from_the_executable(path: str, runtime: str | None) -> None:
    assert runtime_of_name(path) == runtime


@pytest.mark.parametrize(
    ("mapped", "runtime"),
    [
        (b"/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", "python"),
        (b"/opt/jdk/lib/server/libjvm.so", "jvm"),
        (b"/usr/lib/libnode.so.108", "node"),
        (b"/usr/lib/libc.so.6", None),
    ],
)
def test_an_embedded_runtime_is_read_from_the_maps(mapped: bytes, runtime: str | None) -> None:
    maps = (
        b"7f00-7f01 r-xp 00000000 08:01 12 /usr/sbin/thing\n7f02-7f03 r-xp 00000000 08:01 13 "
        + mapped
        + b"\n"
    )

    assert runtime_of_maps(maps) == runtime


def test_a_go_program_is_told_by_its_build_note() -> None:
    note = b"\x04\x00\x00\x00\x53\x00\x00\x00\x04\x00\x00\x00Go\x00\x00AbCd"

    assert is_go(b"\x7fELF" + bytes(400) + note)
    assert not is_go(b"\x7fELF" + bytes(400))
    assert not is_go(b"#!/bin/sh\n" + note)
