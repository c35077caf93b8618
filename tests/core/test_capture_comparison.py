"""What two captures measure, and what changed between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from capture_samples import fds

from agent.report import readings
from agent.report import readings_of_runtimes as runtimes
from agent.report.comparison import Change, difference
from agent.report.files import reader
from agent.report.readings import BYTES, Measured


def content(data: Any) -> bytes:
    return json.dumps(data).encode()


def test_growth_comes_first_and_what_stayed_is_left_out() -> None:
    before = Measured("descriptors by class", "descriptors", {"file": 3, "socket": 10, "pipe": 4, "memfd": 9})
    after = Measured("descriptors by class", "descriptors", {"file": 3, "socket": 210, "timerfd": 5})

    assert difference(before, after).changes == (
        Change("socket", 10, 210),
        Change("timerfd", 0, 5),
        Change("pipe", 4, 0),
        Change("memfd", 9, 0),
    )


def test_memory_is_what_the_process_itself_holds() -> None:
    totals = {"mappings": 1, "rss_bytes": 50, "pss_bytes": 0, "private_dirty_bytes": 20, "swap_bytes": 5}
    smaps = {
        "kinds": {"[heap]": totals, "files": totals},
        "files": {"/usr/lib/x.so": totals},
        "truncated": False,
    }

    by_kind, by_file = readings.smaps(content(smaps))
    assert by_kind == Measured("memory by kind of mapping", BYTES, {"[heap]": 55, "files": 25})
    assert by_file.values == {"/usr/lib/x.so": 25}


def test_of_a_cgroup_the_sizes_of_the_whole_subtree_are_compared() -> None:
    stat = {"rss": 10, "total_rss": 30, "anon": 5, "pgfault": 7, "total_pgfault": 9, "thp_fault_alloc": 3}
    status = {
        "status": {"VmRSS_bytes": 100, "VmHWM_bytes": 900, "Threads": 4, "Name": "x", "State": "S"},
        "limits": {},
        "threads": {"worker-1": 1, "worker-2": 1, "main": 1},
        "children": {"convert": 9},
        "cgroup": {"path": "/", "memory_stat": stat},
    }

    threads, children, process, cgroup = readings.status(content(status))
    assert threads.values == {"worker-*": 2, "main": 1}
    assert children.values == {"convert": 9}
    assert process.values == {"VmRSS": 100}
    assert cgroup.values == {"total_rss": 30, "anon": 5}


def test_stacks_are_told_by_the_calls_of_the_application() -> None:
    def frame(name: str, file: str) -> dict[str, Any]:
        return {"name": name, "filename": file, "short_filename": file, "line": 7, "locals": None}

    frames = [frame("wait", "/usr/lib/python3.12/threading.py"), frame("remember", "/srv/handlers.py")]
    thread = {
        "thread_name": "a",
        "os_thread_id": 1,
        "active": True,
        "owns_gil": False,
        "frames": frames,
    }

    (found,) = runtimes.python_stacks(content([thread, thread, thread | {"frames": []}]))
    assert found.values == {"remember (/srv/handlers.py:7)": 2, "no call": 1}


def test_files_of_runtimes_are_compared_by_class_by_site_and_by_line() -> None:
    classes = {"classes": {"Request": {"number": 5, "size_bytes": 900, "origin": 0}}}
    holders = {"holders": [{"name": "Cart.kept", "kind": "list", "entries": 7}]}
    sites = {"since_ms": 1, "age_s": 2.0, "sites": [["remember", "/srv/a.js", 7, 50], ["", "", 0, 1]]}
    seen = {"whole": False, "found": [{"name": "shop::Request", "number": 9, "every_bytes": 256}]}

    tables = [
        *runtimes.python_objects(content(classes | holders)),
        *runtimes.jvm_classes(content({"byte[]": [3, 4000]})),
        *runtimes.node_sites(content(sites)),
        *runtimes.heap_contents(content(seen)),
        *readings.counts("goroutines by line")(content({"main.leak (a.go:17)": 10})),
    ]
    assert [(one.title, one.unit, one.values) for one in tables] == [
        ("entries of containers", "entries", {"Cart.kept (list)": 7}),
        ("bytes by class", "bytes", {"Request": 900}),
        ("objects by class", "objects", {"Request": 5}),
        ("bytes by class", "bytes", {"byte[]": 4000}),
        ("objects by class", "objects", {"byte[]": 3}),
        ("heap by function", "bytes", {"remember (/srv/a.js:7)": 50, " (:0)": 1}),
        ("native objects in what grew", "objects", {"shop::Request": 9}),
        ("goroutines by line", "goroutines", {"main.leak (a.go:17)": 10}),
    ]


def test_json_that_is_not_known_is_compared_by_its_numbers() -> None:
    read = reader("heap-spaces.json")
    assert read is not None

    sizes, counts = read(content({"old": {"used_bytes": 5, "pages": 2}, "on": True, "name": "x"}))
    assert sizes == Measured("heap-spaces.json", BYTES, {"old used_bytes": 5})
    assert counts == Measured("heap-spaces.json", "", {"old pages": 2})


def test_a_packed_file_is_the_same_kind_of_file() -> None:
    assert reader("fds.json.gz") is reader("fds.json") is readings.descriptors
    assert reader("heap.hprof") is None
    assert reader("pyspy.txt") is None


def test_names_are_made_printable() -> None:
    by_class, by_target = readings.descriptors(content(fds({"file": 1}, {"file": {"/tmp/a\x1b[31m": 1}})))

    assert list(by_target.values) == ["file /tmp/a\\x1b[31m"]
    assert by_class.values == {"file": 1}


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"kinds": 3}', b'{"classes": {"a": "x"}}', b"\xff"])
def test_damaged_content_is_an_error_that_a_comparison_expects(damaged: bytes) -> None:
    for read in (readings.smaps, readings.status, readings.descriptors, runtimes.collection):
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            read(damaged)
