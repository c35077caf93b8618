"""The C library's allocator, asked in processes of their own: what it was told holds for good."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")

ARENAS = """
import re, sys, threading
from pathlib import Path
from agent import malloc

if "one" in sys.argv:
    assert malloc.one_arena()
met = threading.Barrier(5)

def allocate():
    kept = [bytes(1000) for _ in range(100)]
    met.wait()
    met.wait()

for _ in range(4):
    threading.Thread(target=allocate).start()
met.wait()
reserved = re.findall(r"^(\\w+)-(\\w+) ---p 0+ 00:00 0", Path("/proc/self/maps").read_text(), re.MULTILINE)
print(sum(int(end, 16) - int(begin, 16) > 50_000_000 for begin, end in reserved))
met.wait()
"""
"""Prints how many arenas there are besides the first: each reserves 64 MB of addresses (malloc/arena.c)."""
FREED = """
from pathlib import Path
from agent import malloc

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

many = [bytes(1000) for _ in range(50_000)]
kept = many[::500]
del many
before = resident()
malloc.give_back()
print(before - resident())
"""


def printed(program: str, *arguments: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return int(ran.stdout)


def test_threads_share_one_arena() -> None:
    assert printed(ARENAS) > 0
    assert printed(ARENAS, "one") == 0


def test_what_is_free_between_what_is_kept_is_given_back() -> None:
    assert printed(FREED) > 30_000_000
