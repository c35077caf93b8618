"""Reads the wire form of protocol buffers out of untrusted bytes: no recursion, a bounded amount of work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev/programming-guides/encoding)."""
MAX_WORK = 2_000_000
"""Some seconds of CPU and 150 MB at most; a heap profile with 10,000 stacks takes half of it."""

_CONTINUES = 0x80
_64_BITS = (1 << 64) - 1
_MAX_SHIFT = 63


class WireError(ValueError):
    """The bytes are no message of protocol buffers, or hold more than is read."""


class Reader:
    """Keeps count of the work over all messages of one document, nested ones included."""

    def __init__(self, max_work: int = MAX_WORK) -> None:
        self._left = max_work

    def spend(self, work: int) -> None:
        """Take so much off what is left. Raises WireError."""
        self._left -= work
        if self._left < 0:
            raise WireError("more fields than are read")

    def fields(self, message: bytes) -> Iterator[tuple[int, int | bytes]]:
        """Yield number and value of each field: an int for numbers, a part of the message for bytes.

        Raises WireError.
        """
        at, end = 0, len(message)
        while at < end:
            self._left -= 1  # `spend` takes as long again as all the rest
            if self._left < 0:
                raise WireError("more fields than are read")
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

    def numbers(self, value: int | bytes) -> list[int]:
        """Return the unsigned numbers of a repeated field, packed or single. Raises WireError."""
        if isinstance(value, int):
            return [value]
        self.spend(len(value))
        found = []
        number = shift = 0
        for byte in value:
            number |= (byte & 0x7F) << shift
            if byte < _CONTINUES:
                found.append(number & _64_BITS)
                number = shift = 0
            elif (shift := shift + 7) > _MAX_SHIFT:
                break
        if shift:
            raise WireError("a number that does not end")
        return found


def signed(number: int) -> int:
    """Return the int64 of an unsigned 64-bit number."""
    return number - (1 << 64) if number >> 63 else number


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 64 bits and where it ends. Raises WireError."""
    if at < len(message) and message[at] < _CONTINUES:
        return message[at], at + 1  # nearly all of them
    number = shift = 0
    for place in range(at, min(len(message), at + _MAX_SHIFT // 7 + 1)):
        byte = message[place]
        number |= (byte & 0x7F) << shift
        if byte < _CONTINUES:
            return number & _64_BITS, place + 1
        shift += 7
    raise WireError("a number that does not end")
