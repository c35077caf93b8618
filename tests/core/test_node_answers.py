"""What a Node program answers, well meant or not, turned into sites, figures and lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from peaks import peak_bytes

from agent.evidence.node import memory, sites
from agent.evidence.node.opening import handles
from agent.evidence.node.sites import Site
from agent.inspector.places import parse_address, read_hints

FIGURES = {
    "version": "v20.20.2",
    "memory": {"external": 3_000_000, "arrayBuffers": 1_000_000},
    "heap": {"used_heap_size": 5},
    "spaces": [{"space_name": "old_space", "space_used_size": 10_000_000}],
    "resources": {"Timeout": 5},
}


def node(name: str, url: str, size: int, *children: dict[str, Any], line: int = 0) -> dict[str, Any]:
    frame = {"functionName": name, "url": url, "lineNumber": line}
    return {"callFrame": frame, "selfSize": size, "children": list(children)}


def test_memory_belongs_to_the_innermost_function_of_the_application() -> None:
    push = node("push", "", 100)
    library = node("route", "file:///app/node_modules/express/router.js", 10, push)
    handler = node("handle", "file:///app/src/handlers%20two.js", 7, library, line=87)
    head = node("(root)", "", 1, node("emit", "node:events", 5, handler))

    found = sites.read(head)

    assert found == {
        Site("handle", "/app/src/handlers two.js", 88): 117,
        Site("emit", "node:events", 1): 5,
        Site("(root)", "", 1): 1,
    }
    assert str(next(iter(found))) == "handle (handlers two.js:88)"


def test_without_the_application_the_library_is_told() -> None:
    head = node("(root)", "", 0, node("cache", "/app/node_modules/lru/index.js", 0, node("set", "", 9)))

    assert sites.read(head) == {Site("cache", "/app/node_modules/lru/index.js", 1): 9}


def test_the_site_that_has_grown_most_comes_first_and_chance_is_not_told() -> None:
    old, new = Site("cache", "/a.js", 1), Site("remember", "/b.js", 2)
    growths = sites.compare({old: 300_000_000, new: 212_000_000}, {old: 299_900_000, new: 32_000_000})

    assert sites.lines(growths, 720.0) == ["top: remember (b.js:2) holds 212MB, +180MB in 12m"]


def test_what_the_runtime_holds_is_told_only_where_it_holds_the_most() -> None:
    own, stream = Site("handle", "/app.js", 2), Site("Readable.on", "node:internal/streams/readable", 1127)

    assert sites.lines(sites.compare({own: 5_000_000, stream: 4_000_000}, {}), 60.0) == [
        "top: handle (app.js:2) holds 5MB, +5MB in 1m"
    ]
    assert sites.lines(sites.compare({own: 5_000_000, stream: 6_000_000}, {}), 60.0) == [
        "top: Readable.on (node:internal/streams/readable:1127) holds 6MB, +6MB in 1m",
        "also: handle (app.js:2) holds 5MB, +5MB in 1m",
    ]


def test_no_line_of_the_gist_is_longer_than_a_phone_shows() -> None:
    long = next(iter(sites.read(node("f" * 500, "/" + "x" * 500, 1, line=10**6))))

    words = [*sites.lines(sites.compare({long: 10**12}, {}), 1e6)]

    assert all(len(word) <= 140 for word in words)


def test_what_was_stored_comes_back() -> None:
    found = {Site("a", "/x.js", 1): 5}

    assert sites.restored(json.loads(json.dumps(sites.stored(found)))) == found


@pytest.mark.parametrize(
    "head",
    [
        None,
        [],
        {"callFrame": {}},
        node("x", "", 1e999),  # type: ignore[arg-type]
        node("x", "", "1"),  # type: ignore[arg-type]
        node("x", "", 1, line=10**400),
        {**node("x", "", 1), "children": 7},
    ],
)
def test_a_profile_that_is_none_is_a_reason_and_no_failure(head: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        sites.read(head)


def test_a_url_of_percent_signs_takes_little_memory() -> None:
    profile = node("f", "%41" * 500_000, 1)

    assert peak_bytes(lambda: sites.read(profile)) < 2_000_000


def test_a_name_with_control_characters_stays_on_one_line() -> None:
    (site,) = sites.read(node("a\nb\x1b[2J" * 50, "/x\n.js", 1))

    assert str(site).isprintable()


def test_what_node_counts_is_told_with_its_growth() -> None:
    before = memory.read(FIGURES)
    now = memory.read(
        {
            **FIGURES,
            "memory": {"external": 9_000_000, "arrayBuffers": 6_000_000},
            "spaces": [{"space_name": "old_space", "space_used_size": 50_000_000}],
            "resources": {"Timeout": 125, "TCPSocketWrap": 2},
        }
    )

    assert memory.grown(now, json.dumps(before).encode(), 600.0) == [
        "V8: old_space +40MB, Buffers +5MB, other external memory +1MB in 10m",
        "loop: Timeout +120 in 10m",
    ]


@pytest.mark.parametrize("earlier", [b"", b"{", b"[]", b'{"spaces": {"old_space": "x"}}', b'{"spaces": 1}'])
def test_an_earlier_file_that_is_cut_off_is_absent(earlier: bytes) -> None:
    assert memory.grown(memory.read(FIGURES), earlier, 600.0) == []


@pytest.mark.parametrize(
    "told", [None, 5, [], {}, {**FIGURES, "memory": []}, {**FIGURES, "resources": {"a": 1e999}}]
)
def test_figures_that_are_none_are_a_reason_and_no_failure(told: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        memory.read(told)


def test_a_signal_is_handled_only_when_its_bit_is_set() -> None:
    assert handles(b"SigIgn:\t0\nSigCgt:\t0000000100004602\n", 10)
    assert not handles(b"SigCgt:\t0000000100004402\n", 10)
    assert not handles(b"", 10)


def test_hints_are_the_ports_of_the_command_line_and_node_options() -> None:
    hints = read_hints(
        ["node", "--inspect=[::1]:9300", "--inspect-port=9301", "--inspect-brk", "--inspect=x"]
    )

    assert hints.ports == {9229, 9300, 9301}
    assert not hints.signal_off
    assert read_hints(["--disable-sigusr1"]).signal_off


def test_addresses_are_those_of_the_kernel() -> None:
    assert parse_address("00000000000000000000000001000000:240D") == ("::1", 9229)
    assert parse_address("00000000:0050") == ("0.0.0.0", 80)  # noqa: S104 - compared
    with pytest.raises(ValueError, match="length"):
        parse_address("01:1")
