"""Who holds most in a heap dump, on a tiny one made here, and on all that can be wrong with one."""

from __future__ import annotations

import io
import os
import struct
from typing import TYPE_CHECKING, BinaryIO

import pytest

from agent.evidence.jvm import holders, hprof
from agent.evidence.jvm.holders import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OBJECT, INT = 2, 10
STRINGS = ["shop/Registry", "INSTANCE", "sessions", "java/util/HashMap", "size", "table", "java/lang/Object",
           "[Ljava/util/HashMap$Node;", "<resolved_references>", "java/lang/Big", "HUGE"]  # fmt: skip


def name(text: str) -> int:
    return 100 + STRINGS.index(text)


def class_id(text: str) -> int:
    return 0x7000 + STRINGS.index(text)


def record(tag: int, body: bytes) -> bytes:
    return struct.pack(">BII", tag, 0, len(body)) + body


def class_dump(
    text: str, fields: list[tuple[str, int]], statics: dict[str, int] | None = None, parent: str = ""
) -> bytes:
    super_id = class_id(parent) if parent else 0
    begin = struct.pack(">BQIQ5QIH", 0x20, class_id(text), 0, super_id, 0, 0, 0, 0, 0, 16, 1)
    constants = struct.pack(">HBI", 1, INT, 7)
    static = struct.pack(">H", len(statics or {})) + b"".join(
        struct.pack(">QBQ", name(field), OBJECT, target) for field, target in (statics or {}).items()
    )
    own = struct.pack(">H", len(fields)) + b"".join(struct.pack(">QB", name(f), kind) for f, kind in fields)
    return begin + constants + static + own


def instance(number: int, text: str, body: bytes) -> bytes:
    return struct.pack(">BQIQI", 0x21, number, 0, class_id(text), len(body)) + body


def array(number: int, text: str, length: int) -> bytes:
    return struct.pack(">BQIIQ", 0x22, number, 0, length, class_id(text)) + bytes(8 * 4)


def dump(size: int = 5000) -> bytes:
    """Return a dump of Registry.INSTANCE, whose map `sessions` has so many entries."""
    strings = b"".join(record(1, struct.pack(">Q", name(text)) + text.encode()) for text in STRINGS)
    loaded = [text for text in STRINGS if "/" in text]
    loads = b"".join(record(2, struct.pack(">IQIQ", 1, class_id(text), 0, name(text))) for text in loaded)
    heap = b"".join((
        class_dump("java/lang/Object", []),
        class_dump("shop/Registry", [("sessions", OBJECT)],
                   {"INSTANCE": 0xAA01, "<resolved_references>": 0xAA09}, "java/lang/Object"),
        class_dump("java/util/HashMap", [("size", INT), ("table", OBJECT)], parent="java/lang/Object"),
        class_dump("[Ljava/util/HashMap$Node;", []),
        class_dump("java/lang/Big", [], {"HUGE": 0xAA08}),
        b"\x05" + struct.pack(">Q", 0xAA01),
        instance(0xAA01, "shop/Registry", struct.pack(">Q", 0xAA02)),
        instance(0xAA02, "java/util/HashMap", struct.pack(">iQ", size, 0xAA03)),
        array(0xAA03, "[Ljava/util/HashMap$Node;", 8192),
        array(0xAA08, "[Ljava/util/HashMap$Node;", 99_999),
        array(0xAA09, "[Ljava/util/HashMap$Node;", 88_888),
    ))  # fmt: skip
    return b"JAVA PROFILE 1.0.2\0" + struct.pack(">IQ", 8, 0) + strings + loads + record(0x1C, heap)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    with (tmp_path / "heap.hprof").open("w+b") as opened:
        yield opened


def largest(file: BinaryIO, content: bytes) -> Holder | None:
    file.seek(0)
    file.truncate()
    file.write(content)
    file.flush()
    return holders.largest(file, len(content))


def test_the_largest_collection_is_named_by_its_static_field_and_the_way_there(file: BinaryIO) -> None:
    holder = largest(file, dump())

    assert holder == Holder(5000, "shop.Registry.INSTANCE.sessions", "java.util.HashMap")
    assert str(holder) == (
        "largest static: shop.Registry.INSTANCE.sessions, java.util.HashMap with 5,000 elements"
    )


def test_small_collections_are_no_finding(file: BinaryIO) -> None:
    assert largest(file, dump(size=999)) is None


def test_an_object_across_two_chunks_is_found(file: BinaryIO) -> None:
    content = dump()
    before = content.index(struct.pack(">BQ", 0x21, 0xAA02)) - content.index(struct.pack(">BQ", 0x21, 0xAA01))
    filler = instance(0xBB, "java/lang/Object", b"")
    begin = content.index(struct.pack(">BQ", 0x21, 0xAA01))
    gap = bytes(hprof.CHUNK_BYTES - before - len(filler) - 4)

    holder = largest(file, content[:begin] + filler + gap + content[begin:])

    assert holder is not None
    assert holder.elements == 5000


def test_what_lies_beyond_the_size_is_not_read(file: BinaryIO) -> None:
    content = dump()
    file.write(content)
    os.ftruncate(file.fileno(), 1 << 40)

    assert holders.largest(file, len(content)) == Holder(
        5000, "shop.Registry.INSTANCE.sessions", "java.util.HashMap"
    )


@pytest.mark.parametrize("content", [b"", b"JAVA PROFILE 1.0.2", b"MZ" * 50, dump()[:200], dump()[:23]])
def test_what_is_no_dump_is_an_error(file: BinaryIO, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a heap dump|cut off"):
        largest(file, content)


def test_a_dump_spoilt_anywhere_is_read_or_refused(file: BinaryIO) -> None:
    content = dump()
    for at in range(len(content)):
        spoilt = bytearray(content)
        spoilt[at] ^= 0xFF
        try:
            told = largest(file, bytes(spoilt))
        except ValueError:
            continue
        assert told is None or len(str(told)) <= 140


def test_endless_classes_are_refused() -> None:
    begin = b"JAVA PROFILE 1.0.2\0" + struct.pack(">IQ", 8, 0)
    roots = b"\x05" + struct.pack(">Q", 1)
    content = begin + struct.pack(">BII", 0x1C, 0, 0xFFFFFFFF) + roots * 1010

    with pytest.raises(ValueError, match="more classes than any program has"):
        hprof.read_classes(io.BytesIO(content), most_items=1000)
