"""The format of gzip (RFC 1952) by zlib alone: the module gzip loads more than it does."""

from __future__ import annotations

import zlib

WINDOW_BITS = 31
"""16 for the header of gzip, 15 for the largest window (zlib.h)."""
_TIME = slice(4, 8)
"""Where the header tells when the content was made."""


def packer(level: int) -> zlib._Compress:
    """Return what compresses piece by piece."""
    return zlib.compressobj(level, zlib.DEFLATED, WINDOW_BITS)


def gzipped(content: bytes, *, level: int, made_s: int = 0) -> bytes:
    """Return it compressed, with the second at which it was made, where that is told."""
    packing = packer(level)
    packed = bytearray(packing.compress(content) + packing.flush())
    packed[_TIME] = made_s.to_bytes(4, "little")
    return bytes(packed)
