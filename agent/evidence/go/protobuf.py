"""Reads the wire form of protocol buffers of untrusted bytes: no recursion, a bounded number of fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev/programming-guides/encoding)."""
MAX_VARINT_BYTES = 10
MAX_FIELDS = 2_000_000
"""Some seconds of reading here; a heap profile with 20,000 stacks has about 300,000."""

_CONTINUES = 0x80
_64_BITS = (1 << 64) - 1


class WireError(ValueError):
    """The bytes are no message of protocol buffers, or hold more than is read."""


class Reader:
    """Counts the fields read over all messages of one document, nested ones included."""

    def __init__(self, max_fields: int = MAX_FIELDS) -> None:
        self._left = max_fields

    def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Yield number and value of each field: an int for numbers, a part of the message for bytes.

        Raises WireError.
        """
        at, end = 0, len(message)
        while at < end:
            self._spend()
            tag, at = _varint(message, at)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            if kind == BYTES:
                length, at = _varint(message, at)
            elif kind in (FIXED64, FIXED32):
                length = 8 if kind == FIXED64 else 4
            else:
                raise WireError(f"wire type {kind}")
            if length > end - at:
                raise WireError("a field that is longer than its message")
            yield number, message[at : at + length]
            at += length

    def numbers(self, value: int | memoryview) -> Iterator[int]:
        """Yield the unsigned numbers of a repeated field, packed or single. Raises WireError."""
        if isinstance(value, int):
            yield value
            return
        at = 0
        while at < len(value):
            self._spend()
            number, at = _varint(value, at)
            yield number

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WireError("more fields than are read")


def signed(number: int) -> int:
    """Return the int64 of an unsigned 64-bit number."""
    return number - (1 << 64) if number >> 63 else number


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of up to 64 bits and where it ends. Raises WireError."""
    value = 0
    for index, byte in enumerate(message[at : at + MAX_VARINT_BYTES]):
        value |= (byte & ~_CONTINUES) << (7 * index)
        if byte < _CONTINUES:
            return value & _64_BITS, at + index + 1
    raise WireError("a number that does not end")
