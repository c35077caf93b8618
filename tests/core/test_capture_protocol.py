"""What the capture helper makes of bytes that anybody may send, and of what may be asked."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture_helper.protocol import (
    LENGTHS_BYTES,
    MAX_HEAD_BYTES,
    MAX_TIMEOUT_S,
    Ask,
    Message,
    ProtocolError,
    Request,
    age_s,
    decode_head,
    encode,
    file_name,
    lengths,
    parse_request,
)
from agent.capture_helper.rules import ALLOWABLE, CONSENTS, LOOKING, NotServedError, RefusedError, Rules
from agent.consent import Consent
from agent.evidence.source import Tier
from agent.evidence.sources import all_sources

GOOD = Request(Ask.TAKE, "smaps", pid=7, start_ticks=12, boot_id="0a1b2c3d", consent=("heavy",)).to_json()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def parsed(raw: bytes) -> Request | None:
    try:
        return parse_request(decode_head(raw))
    except ProtocolError:
        return None


@given(st.binary(max_size=300))
def test_bytes_are_a_request_or_refused(raw: bytes) -> None:
    assert parsed(raw) is None


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), VALUES))
def test_a_value_of_another_kind_is_refused_or_within_its_bounds(wrong: dict[str, Any]) -> None:
    request = parsed(json.dumps(GOOD | wrong).encode("utf-8", "surrogatepass"))

    if request is not None and request.ask is not Ask.ABOUT:
        assert 0 < request.pid <= 2**22
        assert 0 < request.timeout_s <= MAX_TIMEOUT_S
        assert 0 <= request.start_ticks < 2**64
        assert len(request.boot_id) == 8
        assert isinstance(request.locals, bool)
        assert all(isinstance(word, str) for word in request.consent)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("version", None),
        ("ask", "inject"),
        ("ask", ["take"]),
        ("ask", None),
        ("name", "../smaps"),
        ("name", ""),
        ("pid", True),
        ("pid", 0),
        ("pid", -1),
        ("pid", 1.5),
        ("pid", 10**30),
        ("pid", "7"),
        ("start_ticks", None),
        ("boot_id", "0a1b2c3d\n"),
        ("boot_id", "XXXXXXXX"),
        ("timeout_s", 0),
        ("timeout_s", float("nan")),
        ("timeout_s", float("inf")),
        ("timeout_s", 10**400),
        ("consent", "heavy"),
        ("consent", ["heavy"] * 17),
        ("consent", [["heavy"]]),
    ],
)
def test_each_value_is_checked(key: str, value: object) -> None:
    with pytest.raises(ProtocolError):
        parse_request(GOOD | {key: value})


def test_what_the_client_writes_the_helper_reads() -> None:
    request = Request(Ask.TAKE, "py-spy", 7, 12, "0a1b2c3d", 5.0, locals=True, consent=("heavy", "inject"))

    assert parse_request(decode_head(json.dumps(request.to_json()).encode())) == request
    assert str(request.key) == "7-12-0a1b2c3d"


def test_nobody_can_ask_for_an_hour() -> None:
    assert parse_request(GOOD | {"timeout_s": 3600}).timeout_s == MAX_TIMEOUT_S


@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b"\xff", b"[]", b"null", b""]
)
def test_deep_long_and_broken_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_head(raw)


def test_a_length_beyond_the_bounds_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        lengths(struct.pack("!II", MAX_HEAD_BYTES + 1, 0), 0)
    with pytest.raises(ProtocolError, match="too long"):
        lengths(struct.pack("!II", 2, 1), 0)


@given(st.dictionaries(st.text(max_size=9), VALUES, max_size=4), st.binary(max_size=99))
def test_a_message_comes_out_as_it_went_in(head: dict[str, Any], content: bytes) -> None:
    try:
        raw = encode(Message(head, content))
    except UnicodeEncodeError:
        pytest.fail("no text may break a message")

    found = lengths(raw[:LENGTHS_BYTES], max_content_bytes=99)
    end = LENGTHS_BYTES + found.head_bytes
    assert raw[end:] == content
    assert json.dumps(decode_head(raw[LENGTHS_BYTES:end])) == json.dumps(head)


def test_an_answer_that_nobody_could_read_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        encode(Message({"lines": ["x" * MAX_HEAD_BYTES]}))


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", ".hidden", "a/b", "", "x" * 101, "a\0b", None, 7, "a\n"]
)
def test_a_file_lies_in_no_other_folder(name: object) -> None:
    with pytest.raises(ProtocolError):
        file_name({"name": name})


@pytest.mark.parametrize("age", [-1, True, "1", float("nan"), 10**400, [1]])
def test_an_age_is_a_number_of_seconds(age: object) -> None:
    with pytest.raises(ProtocolError):
        age_s({"age_s": age})


def test_what_is_served_unasked_exists() -> None:
    assert set(LOOKING) <= {source.name for source in all_sources()}


def test_without_settings_nothing_is_allowed_but_looking() -> None:
    rules = Rules()

    assert rules.consent(CONSENTS) == Consent()
    with pytest.raises(NotServedError):
        rules.check_served("collection")


def test_what_is_allowed_is_given_only_to_who_asks() -> None:
    rules = Rules(allowed=("heavy", "inject"))

    assert rules.consent(("inject", "trace")) == Consent(inject=True)
    assert rules.refusal(("inject", "trace")) == "does not allow trace"


def test_an_address_can_be_neither_asked_nor_allowed() -> None:
    assert "pprof" not in ALLOWABLE
    with pytest.raises(RefusedError, match="does not know pprof"):
        Rules().consent(("pprof",))


def test_heavy_evidence_needs_the_helpers_own_word() -> None:
    Rules().check_tier(Tier.MEDIUM, Consent())
    Rules().check_tier(Tier.HEAVY, Consent(heavy=True))
    with pytest.raises(RefusedError, match="does not allow heavy"):
        Rules().check_tier(Tier.HEAVY, Consent())


def test_users_are_looked_up_when_they_come() -> None:
    known: dict[str, int] = {}
    rules = Rules(users=("leakwatch", "1234"), uid_of=lambda name: known[name])

    assert [rules.serves(uid) for uid in (0, 1234, 999)] == [True, True, False]
    known["leakwatch"] = 999
    assert rules.serves(999)
