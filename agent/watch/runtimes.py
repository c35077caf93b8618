"""Tells which language runtime a process is, from its executable, its mapped libraries or its command."""

from __future__ import annotations

import re

ELF_HEAD_BYTES = 32 * 1024
"""How far the Go tool itself reads to find the note (cmd/internal/buildid)."""
_BY_NAME = (
    (re.compile(r"(python|pypy)[\d.]*([a-z]+|-dbg)?"), "python"),
    (re.compile(r"node(js)?"), "node"),
    (re.compile(r"java|jsvc"), "jvm"),
)
_BY_LIBRARY = (
    (re.compile(rb"/libpython\d[^/\n]*\.so"), "python"),
    (re.compile(rb"/libpypy\d[^/\n]*\.so"), "python"),
    (re.compile(rb"/libjvm\.so"), "jvm"),
    (re.compile(rb"/libnode\.so"), "node"),
)
_GO_BUILD_ID_NOTE = b"\x04\x00\x00\x00Go\x00\x00"
"""Type 4 and name "Go" of an ELF note (cmd/internal/buildid/note.go, little-endian)."""


def runtime_of_name(path: str) -> str | None:
    """Return the runtime that an executable's name promises: "/usr/bin/python3.11" is "python"."""
    name = path.rpartition("/")[2]
    return next((runtime for pattern, runtime in _BY_NAME if pattern.fullmatch(name)), None)


def runtime_of_maps(maps: bytes) -> str | None:
    """Return the runtime that a program embeds (uwsgi, jsvc, a frozen application), by /proc/PID/maps."""
    return next((runtime for pattern, runtime in _BY_LIBRARY if pattern.search(maps)), None)


def is_go(elf_head: bytes) -> bool:
    """Whether an executable was linked by Go, by the first `ELF_HEAD_BYTES` of it."""
    return elf_head.startswith(b"\x7fELF") and _GO_BUILD_ID_NOTE in elf_head
