"""Names of C++ classes and functions for people, out of mangled ones that may hold anything."""

from __future__ import annotations

import re

MAX_DEPTH = 8
MAX_MANGLED_CHARS = 1000

_LENGTH = re.compile(r"[1-9]\d{0,3}")
_ANONYMOUS = "_GLOBAL__N"
_BUILTIN = {
    "v": "void", "b": "bool", "c": "char", "a": "signed char", "h": "unsigned char", "s": "short",
    "t": "unsigned short", "i": "int", "j": "unsigned", "l": "long", "m": "unsigned long", "x": "long long",
    "y": "unsigned long long", "f": "float", "d": "double", "e": "long double",
}  # fmt: skip
_STANDARD = {"t": "std", "a": "std::allocator", "b": "std::basic_string", "s": "std::string"}
"""itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling-compression"""


class _UnknownError(Exception):
    """A part of the grammar that is not read here; the name up to it."""


def readable(mangled: str) -> str:
    """Return "shop::Request" of "N4shop7RequestE"; "<...>" for template arguments that are not read.

    What cannot be read at all is returned as it is. Functions lose their arguments: "shop::serve".
    """
    text = mangled.removeprefix("_Z")[:MAX_MANGLED_CHARS]
    try:
        return _Reader(text).name(0)
    except (_UnknownError, IndexError):
        return mangled


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def name(self, depth: int) -> str:
        """Read a name at the current place. Raises _UnknownError, IndexError."""
        if depth > MAX_DEPTH:
            raise _UnknownError
        if self._took("N"):
            return self._nested(depth)
        if self._took("S"):
            return self._standard(depth)
        return self._unqualified() + self._arguments(depth)

    def _nested(self, depth: int) -> str:
        while self._text[self._at] in "rVKRO":
            self._at += 1
        parts: list[str] = []
        while self._at < len(self._text) and not self._took("E"):
            if self._text[self._at] == "I" and parts:
                parts[-1:] = [parts[-1] + self._arguments(depth)]
                continue
            try:
                parts.append(self._standard(depth) if self._took("S") else self._member(parts))
            except (_UnknownError, IndexError):
                if not parts:
                    raise
                break  # what was read so far says enough
        return "::".join(parts)

    def _member(self, parts: list[str]) -> str:
        if parts and self._took("C"):
            self._at += 1
            return parts[-1].partition("<")[0]
        if parts and self._took("D"):
            self._at += 1
            return "~" + parts[-1].partition("<")[0]
        return self._unqualified()

    def _standard(self, depth: int) -> str:
        letter = self._text[self._at]
        if letter not in _STANDARD:
            raise _UnknownError  # a substitution: needs all that was read before
        self._at += 1
        if letter == "t" and self._text[self._at : self._at + 1].isdigit():
            return f"std::{self._unqualified()}{self._arguments(depth)}"
        return _STANDARD[letter]

    def _unqualified(self) -> str:
        length = _LENGTH.match(self._text, self._at)
        if length is None:
            raise _UnknownError
        self._at = length.end() + int(length[0])
        if self._at > len(self._text):
            raise IndexError
        found = self._text[length.end() : self._at]
        return "(anonymous namespace)" if found.startswith(_ANONYMOUS) else found

    def _arguments(self, depth: int) -> str:
        """Read the arguments of a template, if there are any; what follows unread ones is left out."""
        if not self._took("I"):
            return ""
        try:
            first = self._type(depth + 1)
        except (_UnknownError, IndexError):
            self._at = len(self._text)
            return "<...>"
        if self._took("E"):
            return f"<{first}>"
        self._at = len(self._text)
        return f"<{first}, ...>"

    def _type(self, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise _UnknownError
        letter = self._text[self._at]
        if letter in _BUILTIN:
            self._at += 1
            return _BUILTIN[letter]
        for qualifier, sign in (("P", "*"), ("R", "&"), ("K", " const")):
            if self._took(qualifier):
                return self._type(depth + 1) + sign
        return self.name(depth)

    def _took(self, letter: str) -> bool:
        found = self._text[self._at : self._at + 1] == letter
        self._at += found
        return found
