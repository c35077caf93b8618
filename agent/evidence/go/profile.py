"""Decodes the profiles that net/http/pprof serves, into stacks and values."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.go.protobuf import Reader, WireError, signed
from agent.gz import WINDOW_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_PROFILE_BYTES = 12_000_000
"""After unpacking; the profile of a program with 20,000 stacks takes about 4 MB."""
MAX_STACK_FRAMES = 512
"""Go itself cuts stacks at 128 program counters, each of them may hold inlined frames."""
MAX_NAME_CHARS = 300

_PART_WORK = 10
"""What a sample, a location, a function or a string costs beside its fields: each becomes an object here."""
_GZIP_MAGIC = b"\x1f\x8b"


class ProfileError(Exception):
    """Why there is no profile in what was served, in words for people."""


class Frame(NamedTuple):
    """One call of a stack; all text as it was served."""

    function: str
    file: str
    line: int


class Sample(NamedTuple):
    """One stack, the innermost call first, and what was counted there, in the order of `Profile.types`."""

    stack: tuple[Frame, ...]
    values: tuple[int, ...]


class Profile(NamedTuple):
    """What profile.proto describes (github.com/google/pprof/blob/main/proto/profile.proto)."""

    types: tuple[str, ...]
    """What the values of a sample are, e.g. "inuse_space"."""
    samples: tuple[Sample, ...]

    def column(self, name: str) -> int:
        """Return where a type stands in the values. Raises ProfileError."""
        try:
            return self.types.index(name)
        except ValueError:
            raise ProfileError(f"a profile without {name}") from None


class _Location(NamedTuple):
    number: int
    lines: tuple[tuple[int, int], ...]
    """Number of the function, and line."""


class _Function(NamedTuple):
    number: int
    name: int
    file: int


def decode(raw: bytes, max_bytes: int = MAX_PROFILE_BYTES) -> Profile:
    """Return a profile, compressed or not. Raises ProfileError for anything else, and for too much of it."""
    try:
        return _profile(_unpacked(raw, max_bytes))
    except (WireError, zlib.error, IndexError) as error:
        raise ProfileError(f"not a profile ({error})") from None


def _unpacked(raw: bytes, max_bytes: int) -> bytes:
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    unpacking = zlib.decompressobj(WINDOW_BITS)
    content = unpacking.decompress(raw, max_bytes + 1)
    if len(content) > max_bytes:
        raise ProfileError(f"a profile of more than {max_bytes // 1_000_000}MB")
    if not unpacking.eof:
        raise ProfileError("a profile that is cut off")
    return content


def _profile(message: bytes) -> Profile:
    reader = Reader()
    parts: dict[int, list[bytes]] = {1: [], 2: [], 4: [], 5: [], 6: []}
    for number, value in reader.fields(message):
        if number in parts and isinstance(value, bytes):
            reader.spend(_PART_WORK)
            parts[number].append(value)
    strings = parts[6]
    functions = {f.number: f for f in (_function(reader, part) for part in parts[5])}
    frames = {
        number: _frames(lines, functions, strings)
        for number, lines in (_location(reader, part) for part in parts[4])
    }
    types = tuple(_text(strings, _first(reader, part)) for part in parts[1])
    return Profile(types, tuple(_sample(reader, part, frames, len(types)) for part in parts[2]))


def _first(reader: Reader, message: bytes) -> int:
    """Return the first field of a ValueType: what is counted."""
    return next(
        (value for number, value in reader.fields(message) if number == 1 and isinstance(value, int)), 0
    )


def _function(reader: Reader, message: bytes) -> _Function:
    found = {number: value for number, value in reader.fields(message) if isinstance(value, int)}
    return _Function(found.get(1, 0), found.get(2, 0), found.get(4, 0))


def _location(reader: Reader, message: bytes) -> _Location:
    identity, lines = 0, []
    for number, value in reader.fields(message):
        if number == 1 and isinstance(value, int):
            identity = value
        elif number == 4 and isinstance(value, bytes):  # noqa: PLR2004 - Location.line
            found = {field: at for field, at in reader.fields(value) if isinstance(at, int)}
            lines.append((found.get(1, 0), found.get(2, 0)))
    return _Location(identity, tuple(lines[:MAX_STACK_FRAMES]))


def _frames(
    lines: Iterable[tuple[int, int]], functions: Mapping[int, _Function], strings: list[bytes]
) -> tuple[Frame, ...]:
    """Return the calls of a location: several where the inner ones were inlined, the innermost first."""
    known = ((functions[number], line) for number, line in lines if number in functions)
    return tuple(Frame(_text(strings, f.name), _text(strings, f.file), signed(line)) for f, line in known)


def _sample(reader: Reader, message: bytes, frames: Mapping[int, tuple[Frame, ...]], columns: int) -> Sample:
    stack: list[Frame] = []
    values: list[int] = []
    for number, value in reader.fields(message):
        if number == 1:
            for location in reader.numbers(value):
                stack += frames.get(location, ())[: MAX_STACK_FRAMES - len(stack)]
            reader.spend(len(stack))
        elif number == 2:  # noqa: PLR2004 - Sample.value
            values += map(signed, reader.numbers(value))
    if len(values) != columns:
        raise WireError("a sample with other values than it should have")
    return Sample(tuple(stack), tuple(values))


def _text(strings: list[bytes], index: int) -> str:
    """Return a string of the table. Raises IndexError."""
    return strings[index][: 4 * MAX_NAME_CHARS].decode("utf-8", "replace")[:MAX_NAME_CHARS]
