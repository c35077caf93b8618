"""Profiles of Go: real ones that were recorded, made-up ones, and bytes that are none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.evidence.go import address, profile, sites
from agent.evidence.go.profile import Frame, Profile, ProfileError, Sample
from agent.evidence.go.protobuf import Reader, WireError, signed

RECORDED = Path(__file__).parents[1] / "data" / "pprof"
REMEMBER = "main.remember (goroutine_leak.go:22)"
LEAK = "main.leak (goroutine_leak.go:17) chan receive"

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
frames = st.builds(Frame, names, names, st.integers(-1, 1 << 40))
stacks = st.lists(frames, max_size=5).map(tuple)
samples = st.lists(
    st.builds(Sample, stacks, st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 40))),
    max_size=8,
)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def number_field(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def bytes_field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def encoded(made_up: Profile) -> bytes:
    """Write a profile as profile.proto has it: each frame a location and a function of its own."""
    strings = [""]
    message = b""

    def text(value: str) -> int:
        strings.append(value)
        return len(strings) - 1

    for kind in made_up.types:
        message += bytes_field(1, number_field(1, text(kind)) + number_field(2, text("bytes")))
    count = 0
    for sample in made_up.samples:
        locations = []
        for frame in sample.stack:
            count += 1
            locations.append(count)
            function = number_field(1, count) + number_field(2, text(frame.function))
            message += bytes_field(5, function + number_field(4, text(frame.file)))
            line = number_field(1, count) + number_field(2, frame.line)
            message += bytes_field(4, number_field(1, count) + bytes_field(4, line))
        packed = bytes_field(1, b"".join(map(varint, locations)))
        message += bytes_field(2, packed + bytes_field(2, b"".join(map(varint, sample.values))))
    return message + b"".join(bytes_field(6, string.encode()) for string in strings)


def recorded(name: str) -> Profile:
    return profile.decode((RECORDED / name).read_bytes())


def test_a_real_heap_names_the_line_that_holds_the_memory() -> None:
    held = sites.held_by_site(recorded("heap-after.pb.gz"), "inuse_space")

    assert held.most_common(1)[0][0] == REMEMBER
    assert 35_000_000 < held[REMEMBER] < 60_000_000


def test_two_real_heaps_differ_by_the_line_that_leaks() -> None:
    before = sites.held_by_site(recorded("heap-before.pb.gz"), "inuse_space")
    after = sites.held_by_site(recorded("heap-after.pb.gz"), "inuse_space")

    most = sites.changes(before, after)[0]

    assert most.site == REMEMBER
    assert 30_000_000 < most.change < 50_000_000


def test_real_goroutines_are_counted_by_line_and_by_what_they_wait_for() -> None:
    assert sites.waiting_by_site(recorded("goroutine.pb.gz")).most_common(1) == [(LEAK, 5000)]


@given(samples)
@settings(max_examples=60, deadline=None)
def test_what_was_encoded_is_decoded(some: list[Sample]) -> None:
    made_up = Profile(("objects", "inuse_space"), tuple(some))

    assert profile.decode(encoded(made_up)) == made_up
    assert profile.decode(gzip.compress(encoded(made_up))) == made_up


@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_damaged_profiles_are_decoded_or_refused(noise: bytes, at: int, byte: int) -> None:
    good = bytearray(gzip.decompress((RECORDED / "goroutine.pb.gz").read_bytes()))
    good[at % len(good)] = byte
    for content in (noise, bytes(good), bytes(good[:at])):
        try:
            sites.waiting_by_site(profile.decode(content))
        except ProfileError:
            continue


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(5_000_000))

    with pytest.raises(ProfileError, match="more than 1MB"):
        profile.decode(bomb, max_bytes=1_000_000)


def test_a_profile_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ProfileError, match="cut off"):
        profile.decode((RECORDED / "heap-after.pb.gz").read_bytes()[:-200])


def test_fields_are_counted_over_nested_messages() -> None:
    nested = bytes_field(1, number_field(1, 7) * 10)
    reader = Reader(max_work=8)
    ((_, inner),) = reader.fields(nested)

    assert isinstance(inner, bytes)
    with pytest.raises(WireError, match="more fields"):
        list(reader.fields(inner))


@pytest.mark.parametrize(
    "message",
    [b"\x08", b"\x08" + b"\xff" * 11, b"\x0a\x7f", b"\x0b", b"\x09\x00"],
    ids=["no value", "endless number", "too long", "group", "short fixed64"],
)
def test_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        list(Reader().fields(message))


def test_long_stacks_that_are_used_over_and_over_are_refused() -> None:
    line = bytes_field(4, number_field(1, 1) + number_field(2, 3))
    message = bytes_field(1, number_field(1, 0)) + bytes_field(6, b"") + bytes_field(5, number_field(1, 1))
    message += bytes_field(4, number_field(1, 1) + line * profile.MAX_STACK_FRAMES)
    message += bytes_field(2, bytes_field(1, b"\x01") + bytes_field(2, b"\x01")) * 10_000

    with pytest.raises(ProfileError, match="more fields"):
        profile.decode(message)


@pytest.mark.parametrize("packed", [b"\x80", b"\xff" * 11, b"\x01\xff"], ids=["cut off", "endless", "second"])
def test_packed_numbers_that_do_not_end_are_refused(packed: bytes) -> None:
    with pytest.raises(WireError, match="does not end"):
        Reader().numbers(packed)


def test_numbers_are_signed_as_int64() -> None:
    assert (signed((1 << 64) - 5), signed(5)) == (-5, 5)


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        (
            ["runtime.mallocgc", "bytes.(*Buffer).grow", "example.com/shop/cache.Set"],
            "example.com/shop/cache.Set",
        ),
        (["runtime.malg", "runtime.newproc1"], "runtime.malg"),
        (["runtime.mallocgc", "encoding/json.Unmarshal"], "encoding/json.Unmarshal"),
        (["runtime/pprof.writeHeap", "main.main"], "main.main"),
    ],
    ids=["the application's", "the runtime's alone", "the library's", "runtime/pprof is no application"],
)
def test_a_site_is_the_innermost_call_of_the_application(stack: list[str], expected: str) -> None:
    found = sites.site([Frame(function, "/x/y.go", 3) for function in stack])

    assert found == f"{expected} (y.go:3)"


def test_a_hostile_name_is_one_short_line() -> None:
    found = sites.site([Frame("main.\n\x1b[31m" + "x" * 300, "/a\n.go", 1)])

    assert "\n" not in found
    assert "\x1b" not in found
    assert len(sites.told(found)) <= sites.MAX_TOLD_CHARS


def test_the_gist_names_a_site_without_the_path_to_its_package() -> None:
    assert sites.told("github.com/acme/shop/cache.(*LRU).Set (lru.go:88)") == "cache.(*LRU).Set (lru.go:88)"


def test_only_sockets_that_listen_on_the_port_count() -> None:
    rows = [
        "   0: 0100007F:17AC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x",
        "   1: 0100007F:17AC 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 x",
        "   2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 x",
        "garbage",
    ]

    assert address.listening(rows, 6060) == {111}


@pytest.mark.parametrize(
    "url", ["", "https://127.0.0.1/debug", "127.0.0.1:6060", "http://x?a=b", "file:///etc"]
)
def test_what_is_no_address_of_pprof_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        address.parse(url)


def test_an_address_is_read_without_the_slash_at_its_end() -> None:
    parsed = address.parse("http://[::1]:6060/debug/pprof/")

    assert parsed == ("http://[::1]:6060/debug/pprof", "::1", 6060)
    assert parsed.is_loopback
