"""Tells of which C++ class an object is, by its first word: it leads to the name of the class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.evidence.native.mangled import readable
from agent.evidence.native.memory import WORD_BYTES

if TYPE_CHECKING:
    from agent.evidence.native.memory import Memory
    from agent.evidence.native.places import Places

MAX_NAME_BYTES = 512
_NAME = re.compile(rb"\*?((?:N|St|[1-9])[A-Za-z0-9_.$]{1,500})\0")
"""A name that begins with a star belongs to a type that is not unique (libstdc++, std::type_info::name)."""


def class_of(memory: Memory, places: Places, pointer: int) -> str:
    """Return the class whose table of virtual functions a pointer points to; empty for any other pointer.

    The words before the table are the offset to the top of the object and its std::type_info, which holds
    a pointer to the name (itanium-cxx-abi.github.io/cxx-abi/abi.html#vtable). Names are taken from files
    that are mapped read-only alone: nothing that a program has written at run time is shown.
    """
    table = memory.read(pointer - 2 * WORD_BYTES, 2 * WORD_BYTES)
    offset_to_top, type_info = _word(table, 0), _word(table, 1)
    if offset_to_top or not places.in_file(type_info):
        return ""
    name = memory.word(type_info + WORD_BYTES)
    if not places.in_constant_file(name):
        return ""
    mangled = _NAME.match(memory.read(name, MAX_NAME_BYTES))
    if mangled is None:
        return ""
    found = readable(mangled[1].decode("ascii"))
    return "" if found == mangled[1].decode("ascii") else found


def _word(raw: bytes, index: int) -> int:
    return int.from_bytes(raw[index * WORD_BYTES : (index + 1) * WORD_BYTES], "little")
