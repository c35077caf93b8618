"""Reads what a heap dump says about classes, and single objects of it, without keeping the rest.

The format: https://hg.openjdk.org/jdk8/jdk8/jdk/raw-file/tip/src/share/demo/jvmti/hprof/manual.html
Everything is big-endian. A dump may be as large as the heap, and comes from a program that nobody trusts:
all sizes are checked, and whatever does not fit is a ValueError.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from agent.evidence.jvm.histogram import readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

MAGIC = b"JAVA PROFILE 1.0."
ID_BYTES = 8
MAX_HEADER_BYTES = 64
MAX_ITEMS = 5_000_000
"""Names, fields, constants and records before the first object; 50,000 classes have some 2 million."""
MAX_NAMES_BYTES = 200_000_000
MAX_NAME_BYTES = 65_536
MAX_ANCESTORS = 100
MAX_INSTANCE_BYTES = 8192
MAX_HITS = 100_000
"""Places looked at in one pass."""
CHUNK_BYTES = 4 << 20
OBJECT, INT, LONG = 2, 10, 11
"""Types of fields."""
INSTANCE, OBJECT_ARRAY = 0x21, 0x22

_TYPE_BYTES = {OBJECT: ID_BYTES, 4: 1, 5: 2, 6: 4, 7: 8, 8: 1, 9: 2, INT: 4, LONG: 8}
_RECORD = struct.Struct(">BII")
_STRING, _LOAD_CLASS, _HEAP, _HEAP_SEGMENT = 0x01, 0x02, 0x0C, 0x1C
_CLASS = 0x20
_ROOT_BYTES = {0xFF: 8, 0x01: 16, 0x02: 16, 0x03: 16, 0x04: 12, 0x05: 8, 0x06: 12, 0x07: 8, 0x08: 16}
"""Sub-records of roots and what follows their tag; they hold nothing that is looked for."""
_INSTANCE_HEAD = struct.Struct(">BQIQI")
_ARRAY_HEAD = struct.Struct(">BQIIQ")
_HEAD_BYTES = 25


class Field(NamedTuple):
    """A field of the objects of a class."""

    name: str
    type: int


@dataclass(slots=True)
class Class:
    """A loaded class."""

    name: str
    super_id: int
    statics: dict[str, int]
    """Objects by the name of the static field that refers to them."""
    fields: list[Field]


@dataclass(slots=True)
class Classes:
    """What stands before the objects."""

    by_id: dict[int, Class] = field(default_factory=dict)
    objects_at: int = 0
    """Where the objects begin."""


class Found(NamedTuple):
    """One object."""

    class_name: str
    length: int | None
    """Of an array; None for an instance."""
    numbers: dict[str, int]
    references: dict[str, int]


def read_classes(dump: BinaryIO, most_items: int = MAX_ITEMS) -> Classes:
    """Return all classes. Raises ValueError for what is no dump of a 64-bit HotSpot, OSError."""
    return _ClassReader(dump, most_items).read()


def find(dump: BinaryIO, size_bytes: int, classes: Classes, wanted: Iterable[int]) -> dict[int, Found]:
    """Return instances and arrays by their ids, in one pass of some hundred MB a second. Raises OSError.

    A record begins with its tag and its id: where these nine bytes stand, it is, if class and size fit too.
    What a dump holds beyond `size_bytes` is not read.
    """
    ids = np.unique(np.fromiter(wanted, np.uint64))
    found: dict[int, Found] = {}
    hits = 0
    for at in range(classes.objects_at, size_bytes if len(ids) else 0, CHUNK_BYTES):
        chunk = np.frombuffer(os.pread(dump.fileno(), CHUNK_BYTES + ID_BYTES, at), np.uint8)
        for place in _hits(chunk, ids)[: MAX_HITS - hits]:
            hits += 1
            raw = os.pread(dump.fileno(), _HEAD_BYTES + MAX_INSTANCE_BYTES, at + place)
            read = _read_object(raw, classes)
            if read is not None:
                found.setdefault(*read)
    return found


def _hits(chunk: NDArray[np.uint8], ids: NDArray[np.uint64]) -> list[int]:
    """Return where in a chunk a tag is followed by one of the sorted ids."""
    last = max(0, len(chunk) - ID_BYTES)
    places = np.flatnonzero((chunk[:last] == INSTANCE) | (chunk[:last] == OBJECT_ARRAY))
    values = np.zeros(len(places), np.uint64)
    for byte in range(1, ID_BYTES + 1):
        values = (values << np.uint64(8)) | chunk[places + byte]
    nearest = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    return [int(place) for place in places[ids[nearest] == values]]


def _read_object(raw: bytes, classes: Classes) -> tuple[int, Found] | None:
    """Return id and content of the record that begins here; None where none does."""
    if len(raw) < _HEAD_BYTES:
        return None
    if raw[0] == OBJECT_ARRAY:
        _, number, _, length, class_id = _ARRAY_HEAD.unpack_from(raw)
        known = classes.by_id.get(class_id)
        return None if known is None else (number, Found(known.name, length, {}, {}))
    _, number, _, class_id, size = _INSTANCE_HEAD.unpack_from(raw)
    fields = _all_fields(class_id, classes)
    if not fields or size != sum(_TYPE_BYTES[one.type] for one in fields) or len(raw) < _HEAD_BYTES + size:
        return None
    return number, _instance(classes.by_id[class_id].name, fields, raw[_HEAD_BYTES : _HEAD_BYTES + size])


def _all_fields(class_id: int, classes: Classes) -> list[Field]:
    """Return the fields of a class and of those it extends, in the order in which an instance has them."""
    fields: list[Field] = []
    for _ in range(MAX_ANCESTORS):
        known = classes.by_id.get(class_id)
        if known is None:
            break
        fields += known.fields
        class_id = known.super_id
    return fields


def _instance(class_name: str, fields: list[Field], raw: bytes) -> Found:
    numbers: dict[str, int] = {}
    references: dict[str, int] = {}
    at = 0
    for name, kind in fields:
        end = at + _TYPE_BYTES[kind]
        if kind == OBJECT and any(raw[at:end]):
            references.setdefault(name, int.from_bytes(raw[at:end]))
        elif kind in (INT, LONG):
            numbers.setdefault(name, int.from_bytes(raw[at:end], signed=True))
        at = end
    return Found(class_name, None, numbers, references)


class _ClassReader:
    """Reads the beginning of a dump, up to the first object."""

    def __init__(self, dump: BinaryIO, most_items: int) -> None:
        self._dump = dump
        self._most_items = most_items
        self._strings: dict[int, str] = {}
        self._class_names: dict[int, str] = {}
        self._classes = Classes()
        self._items = 0
        self._names_bytes = 0

    def read(self) -> Classes:
        self._dump.seek(0)
        begin = self._take(MAX_HEADER_BYTES)
        end = begin.find(b"\0")
        if not begin.startswith(MAGIC) or begin[end + 1 : end + 5] != ID_BYTES.to_bytes(4):
            raise ValueError("not a heap dump of a 64-bit JVM")
        self._dump.seek(end + 1 + 4 + 8)
        while not self._classes.objects_at:
            self._count()
            tag, _, length = _RECORD.unpack(self._take(_RECORD.size))
            if tag in (_HEAP, _HEAP_SEGMENT):
                self._read_heap(self._dump.tell() + length)
            else:
                self._read_record(tag, length)
        return self._classes

    def _read_record(self, tag: int, length: int) -> None:
        end = self._dump.tell() + length
        if tag == _STRING and ID_BYTES <= length <= MAX_NAME_BYTES:
            number, text = self._id(), self._take(length - ID_BYTES)
            self._count(len(text))
            self._strings[number] = text.decode("utf-8", "backslashreplace")
        elif tag == _LOAD_CLASS:
            self._take(4)
            number = self._id()
            self._take(4)
            self._class_names[number] = self._name(self._id())
        self._dump.seek(end)

    def _read_heap(self, end: int) -> None:
        while (at := self._dump.tell()) < end:
            self._count()
            tag = self._take(1)[0]
            if tag == _CLASS:
                self._read_class()
            elif tag in _ROOT_BYTES:
                self._take(_ROOT_BYTES[tag])
            else:
                self._classes.objects_at = at
                return

    def _read_class(self) -> None:
        number = self._id()
        self._take(4)
        super_id = self._id()
        self._take(5 * ID_BYTES + 4)
        for _ in range(self._number(2)):
            self._take(2)
            self._value()
        statics = {}
        for _ in range(self._number(2)):
            name, (kind, value) = self._name(self._id()), self._value()
            if kind == OBJECT and value:
                statics[name] = value
        fields = [Field(self._name(self._id()), self._type()) for _ in range(self._number(2))]
        name = readable(self._class_names.get(number, "?").replace("/", "."))
        self._classes.by_id[number] = Class(name, super_id, statics, fields)

    def _value(self) -> tuple[int, int]:
        kind = self._type()
        return kind, self._number(_TYPE_BYTES[kind])

    def _type(self) -> int:
        self._count()
        kind = self._number(1)
        if kind not in _TYPE_BYTES:
            raise ValueError(f"a field of unknown type {kind}")
        return kind

    def _count(self, name_bytes: int = 0) -> None:
        self._items += 1
        self._names_bytes += name_bytes
        if self._items > self._most_items or self._names_bytes > MAX_NAMES_BYTES:
            raise ValueError("more classes than any program has")

    def _name(self, number: int) -> str:
        return self._strings.get(number, "?")

    def _id(self) -> int:
        return self._number(ID_BYTES)

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _take(self, size: int) -> bytes:
        raw = self._dump.read(size)
        if len(raw) < size:
            raise ValueError("the heap dump is cut off")
        return raw
