from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.text import one_line


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"nginx: worker", "nginx: worker"),
        (b"a\nb", r"a\x0ab"),
        (b"a\xffb", r"a\xffb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("café é", "café é"),
        (b"", ""),
    ],
)
def test_text_from_outside_is_made_safe(raw: bytes | str, expected: str) -> None:
    assert one_line(raw) == expected


def test_long_text_is_cut_and_says_so() -> None:
    assert one_line("x" * 20, 10) == "xxxxxxx..."
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("\n" * 10, 10) == r"\x0a\x0..."


@given(st.binary(max_size=400) | st.text(st.characters(), max_size=400), st.integers(3, 80))
def test_any_text_becomes_one_bounded_printable_line(raw: bytes | str, limit: int) -> None:
    line = one_line(raw, limit)

    assert len(line) <= limit
    assert line == "" or line.isprintable()
    line.encode("utf-8")
