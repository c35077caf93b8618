"""DogStatsD lines against Datadog's documentation, byte for byte, and their limits.

The documented examples are those of https://docs.datadoghq.com/extend/dogstatsd/datagram_shell/.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.dogstatsd import (
    MAX_EVENT_BYTES,
    MAX_TAGS_BYTES,
    Event,
    ServiceCheck,
    check_line,
    event_line,
    gauge,
    packed,
    tag_list,
)

BARE = Event("", "", None, host="", key="", priority="", source="", alert_type="")
DOCUMENTED = {
    "a gauge": (gauge("fuel.level", 0.5, ""), b"fuel.level:0.5|g"),
    "a gauge with a tag": (
        gauge("users.online", 1, tag_list([("country", "china")])),
        b"users.online:1|g|#country:china",
    ),
    "an exception": (
        event_line(
            replace(
                BARE,
                title="An exception occurred",
                text="Cannot parse CSV file from 10.0.0.17",
                alert_type="warning",
                tags=tag_list([("err_type", "bad_file")]),
            )
        ),
        b"_e{21,36}:An exception occurred|Cannot parse CSV file from 10.0.0.17|t:warning|#err_type:bad_file",
    ),
    # The page writes the line break as in a shell's quotes, with two backslashes; on the wire it is one.
    "an event of two lines": (
        event_line(
            replace(
                BARE,
                title="An exception occurred",
                text='Cannot parse JSON request:\n{"foo: "bar"}',
                priority="low",
                tags=tag_list([("err_type", "bad")]),
            )
        ),
        b'_e{21,41}:An exception occurred|Cannot parse JSON request:\\n{"foo: "bar"}|p:low|#err_type:bad',
    ),
    "every field of an event": (
        event_line(Event("t", "x", 1.8e9, "web-3", "k1", "normal", "leakwatch", "error", "service:api")),
        b"_e{1,1}:t|x|d:1800000000|h:web-3|k:k1|p:normal|s:leakwatch|t:error|#service:api",
    ),
    "a service check": (
        check_line(
            ServiceCheck(
                "redis.up", 2, 1.8e9, "web-3", "Redis timed out after 10s", tag_list([("env", "dev")])
            )
        ),
        b"_sc|redis.up|2|d:1800000000|h:web-3|#env:dev|m:Redis timed out after 10s",
    ),
    "a check's message": (
        check_line(ServiceCheck("leak", 1, 1.8e9, "h", "for 5m: high|#a\nsee web")),
        b"_sc|leak|1|d:1800000000|h:h|m:for 5m\\: high/#a\\nsee web",
    ),
    "bytes, not characters": (event_line(replace(BARE, title="é", text="😀")), "_e{2,4}:é|😀".encode()),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_lines_are_as_datadog_documents_them(name: str) -> None:
    made, documented = DOCUMENTED[name]

    assert made == documented


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (71.25, "71.25"), (1 / 3, "0.3333"), (4.48e8, "448000000"), (2**63, "9223372036854775808")],
)
def test_gauges_are_plain_numbers(value: float, written: str) -> None:
    assert gauge("a", value, "").decode() == f"a:{written}|g"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_gauge_is_a_number(value: float) -> None:
    with pytest.raises(ValueError, match="a is "):
        gauge("a", value, "")


@pytest.mark.parametrize(
    ("pairs", "written"),
    [
        ([("team", "shop|a,b\n#c")], "team:shop_a_b__c"),
        ([("env:x", "a:b")], "env_x:a:b"),
        ([("service", "api"), ("service", "label's")], "service:api"),
        ([("kind", ""), ("", "x"), ("a", "ü/1.2-3")], "a:ü/1.2-3"),
    ],
)
def test_tags_cannot_end_a_line_and_the_first_of_a_key_holds(
    pairs: list[tuple[str, str]], written: str
) -> None:
    assert tag_list(pairs) == written


def test_a_field_cannot_begin_another_one() -> None:
    line = event_line(replace(BARE, title="t", text="x", host="a|t:success\nb", key="k|#x"))

    assert line == b"_e{1,1}:t|x|h:a_t:success_b|k:k_#x"


EVENTS = st.builds(
    Event,
    title=st.text(st.characters(), max_size=500),
    text=st.text(st.characters(), max_size=3000) | st.text(st.sampled_from("\n😀\\"), max_size=9000),
    at_wall_s=st.none() | st.just(1.8e9),
    host=st.text(max_size=64),
    key=st.just("leakwatch-7f3a9c21"),
    priority=st.just("normal"),
    source=st.just("leakwatch"),
    alert_type=st.just("error"),
    tags=st.lists(st.tuples(st.text(max_size=50), st.text(max_size=300)), max_size=40).map(tag_list),
)


def parsed(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Read an event as the Agent does: by the two lengths."""
    head = re.match(rb"_e\{(\d+),(\d+)\}:", line)
    assert head
    title, text = int(head[1]), int(head[2])
    rest = line[head.end() :]
    assert rest[title : title + 1] == b"|"
    return rest[:title], rest[title + 1 : title + 1 + text], rest[title + 1 + text :]


@given(event=EVENTS)
def test_any_event_fits_into_one_datagram_and_its_lengths_hold(event: Event) -> None:
    line = event_line(event)
    title, text, rest = parsed(line)

    assert len(line) <= MAX_EVENT_BYTES
    assert b"\n" not in line
    assert title.decode()[:100] == event.title.encode(errors="replace").decode().replace("\n", "\\n")[:100]
    assert not text.removesuffix(b"...").endswith(b"\\") or text.endswith(b"\\")
    assert b"|k:leakwatch-7f3a9c21|p:normal|s:leakwatch|t:error" in rest


def test_the_end_of_a_text_that_is_too_long_is_left_out_between_characters() -> None:
    line = event_line(replace(BARE, title="t", text="😀" * 3000))
    _, text, _ = parsed(line)

    assert MAX_EVENT_BYTES - 5 < len(line) <= MAX_EVENT_BYTES
    assert set(text.decode()) == {"😀", "."}


@given(pairs=st.lists(st.tuples(st.text(max_size=80), st.text(max_size=300)), max_size=60))
def test_tags_stay_within_their_bound(pairs: list[tuple[str, str]]) -> None:
    made = tag_list(pairs)

    assert len(made.encode()) <= MAX_TAGS_BYTES
    assert not re.search(r"[|#\n]", made)


@given(
    lines=st.lists(st.binary(min_size=1, max_size=60).filter(lambda line: b"\n" not in line)),
    most=st.integers(10, 100),
)
def test_packing_keeps_every_line_in_order_and_within_the_datagram(lines: list[bytes], most: int) -> None:
    datagrams = list(packed(lines, most))

    assert [line for datagram in datagrams for line in datagram.split(b"\n")] == lines
    assert all(len(datagram) <= most or b"\n" not in datagram for datagram in datagrams)


def test_packing_wastes_no_room() -> None:
    assert list(packed([b"aaaa", b"bbbb", b"cc"], 9)) == [b"aaaa\nbbbb", b"cc"]
