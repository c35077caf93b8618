"""What grew between two looks at descriptors, threads and a cgroup, in a line."""

from __future__ import annotations

from typing import Any

from agent.evidence.kernel import descriptors, sockets, standing
from agent.evidence.kernel.counts import by_family

TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2475 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101
   1: 0100007F:9C40 0700000A:1538 08 00000000:00000000 00:00000000 00000000     0        0 102
   2: garbage
"""
TCP6 = b"""\
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 201 1
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:D431 01 0:0 00:0 0 0 0 202 1
"""
UNIX = b"""\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000003 00000000 00000000 0001 03 301 /run/bad\x07 name.sock
0000000000000000: 00000002 00000000 00010000 0001 01 302 @hidden
0000000000000000: 00000003 00000000 00000000 0001 03 303
"""


def test_sockets_are_told_by_state_and_peer() -> None:
    assert dict(sockets.internet(TCP.splitlines(), "tcp")) == {
        "101": "LISTEN on 127.0.0.1:9333",
        "102": "CLOSE_WAIT to 10.0.0.7:5432",
    }
    assert dict(sockets.internet(TCP6.splitlines(), "tcp6")) == {
        "201": "LISTEN on [::1]:8080",
        "202": "ESTABLISHED to 127.0.0.1:54321",
    }


def test_hostile_names_of_unix_sockets_stay_on_one_line() -> None:
    assert dict(sockets.unix(UNIX.splitlines(keepends=True))) == {
        "301": "unix /run/bad\\x07 name.sock",
        "302": "unix @hidden not connected",
        "303": "unix",
    }


def fds(classes: dict[str, int], targets: dict[str, dict[str, int]], **folders: dict[str, int]) -> Any:
    return {"open": sum(classes.values()), "classes": classes, "targets": targets, "folders": folders}


def test_growth_of_descriptors_names_class_and_peer() -> None:
    before = fds({"socket": 10, "file": 5}, {"socket": {"ESTABLISHED to 10.0.0.7:5432": 10}})
    after = fds(
        {"socket": 1214, "file": 12},
        {"socket": {"ESTABLISHED to 10.0.0.7:5432": 12, "CLOSE_WAIT to 10.0.0.7:5432": 1202}},
    )

    assert descriptors.growth(before, after, 720.0) == (
        "descriptors: +1,204 socket (CLOSE_WAIT to 10.0.0.7:5432) in 12m; +7 file"
    )


def test_files_of_many_names_are_told_by_their_folder() -> None:
    names = {f"/var/cache/x{chr(97 + i)}": 1 for i in range(20)}
    after = fds({"file": 320}, {"file": names}, file={"/var/cache": 320})

    assert descriptors.growth(fds({}, {}), after, 60.0) == "descriptors: +320 file (in /var/cache) in 1m"
    assert descriptors.most(after) == "descriptors: 320 file (in /var/cache) of 320"


def test_a_few_more_descriptors_are_not_told() -> None:
    assert descriptors.growth(fds({"file": 5}, {}), fds({"file": 9}, {"file": {}}), 60.0) == ""


def test_threads_of_a_pool_count_together() -> None:
    before = {"threads": {"main": 1, "pool-1-thread-1": 1}, "children": {}, "cgroup": {"path": "/"}}
    after = before | {
        "threads": {"main": 1} | {f"pool-1-thread-{i}": 1 for i in range(1, 31)},
        "children": {"convert": 6, "convert (zombie)": 20},
    }

    assert list(standing.growth(before, after, 720.0)) == [
        "threads: +29 pool-*-thread-* (of 31) in 12m",
        "children: +20 convert (zombie), +6 convert (of 26) in 12m",
    ]
    assert by_family({"a1": 2, "b": 1}) == {"a1": 2, "b": 1}


def test_growth_of_the_cgroup_tells_kernel_memory_and_the_limit_that_was_met() -> None:
    before = {"cgroup": {"memory_stat": {"anon": 100_000_000, "slab": 1, "pgfault": 5}, "events": {"max": 1}}}
    after = {
        "cgroup": {
            "memory_stat": {"anon": 400_000_000, "slab": 40_000_001, "pgfault": 9_000_000},
            "events": {"max": 13, "oom_kill": 1},
        }
    }

    assert standing.cgroup_growth(before, after, 720.0) == (
        "cgroup: anon +300MB, slab +40MB, 12 max more, 1 oom_kill more in 12m"
    )
    assert standing.cgroup_growth(before, before, 720.0) == ""
    assert standing.cgroup_growth({"cgroup": {"path": "/"}}, after, 720.0) == ""
