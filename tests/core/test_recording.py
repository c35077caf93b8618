from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.recording import Recording, RecordingError, decode, parse

AMOUNTS = st.one_of(st.none(), st.integers(0, 10**18), st.floats(0, 1e18))
MISTAKES = {
    "": '1: expected a header such as "t,rss,anon", found an empty file',
    "\n1,2\n": '1: expected a header such as "t,rss,anon", found an empty line',
    "t,rss\n": "1: expected samples below the header, found none",
    "time,rss\n1,2\n": '1: expected a column "t" (seconds), found "time", "rss"',
    "t;rss\n1;2\n": '1: expected a column "t" (seconds), found "t;rss"',
    "t,pss\n1,2\n": '1: expected one of heap, anon, uss, rss, file, shmem, threads, fds, found "t", "pss"',
    "t,cpu\n1,2\n": '1: expected one of heap, anon, uss, rss, file, shmem, threads, fds, found "t", "cpu"',
    "t,rss,RSS\n1,2,3\n": '1: expected each column once, found "rss" 2 times',
    "t,rss\n1,\n2,\n": "1: expected values, found only empty cells in rss",
    "t,rss\n1,2\n2,abc\n": '3: expected a number, or nothing where it was not seen, found "abc"',
    "t,rss\n1,1_000\n": '2: expected a number, or nothing where it was not seen, found "1_000"',
    "t,rss\n1,NaN\n": '2: expected a number, or nothing where it was not seen, found "NaN"',
    "t,rss\n1,-inf\n": '2: expected a number, or nothing where it was not seen, found "-inf"',
    "t,rss\n1,1e400\n": '2: expected a number from 0 to 1e+18, found "1e400"',
    "t,rss\n1,-5\n": '2: expected a number from 0 to 1e+18, found "-5"',
    "t,rss\n,5\n": "2: expected a time in seconds, found an empty cell",
    "t,rss\nnan,5\n": '2: expected a time in seconds, found "nan"',
    "t,rss\n1e400,5\n": "2: expected a time in seconds, found inf (milliseconds?)",
    "t,rss\n1700000000000,5\n": "2: expected a time in seconds, found 1.7e+12 (milliseconds?)",
    "t,rss\n5,1\n\n4,1\n": "4: expected t not to go back, found 4 after 5",
    "t,rss\n1\n": "2: expected 2 cells as in the header, found 1",
    "t,rss\n1,2,3\n": "2: expected 2 cells as in the header, found 3",
}


def read(text: str) -> Recording:
    return parse("f.csv", decode("f.csv", text.encode()))


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items())
def test_a_mistake_is_told_with_its_line(text: str, sentence: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read(text)

    assert str(caught.value) == f"f.csv:{sentence}"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"t,rss\n1,\xff\n", "2: expected text in UTF-8, found other bytes"),
        (b"t,rss\n1,\x00\n", "2: expected text, found a NUL byte"),
    ],
)
def test_binary_data_is_told_with_its_line(data: bytes, sentence: str) -> None:
    with pytest.raises(RecordingError) as caught:
        decode("f.csv", data)

    assert str(caught.value) == f"f.csv:{sentence}"


def test_a_mistake_in_a_file_with_a_newline_in_its_name_is_one_line() -> None:
    with pytest.raises(RecordingError) as caught:
        parse("a\nb", [])

    assert "\n" not in str(caught.value)


def test_unknown_columns_are_ignored_and_empty_cells_were_not_seen() -> None:
    recording = read("host,t,rss,threads\nweb,1,10,\nweb,2.5,,4\n")

    assert recording.t_s.tolist() == [1.0, 2.5]
    assert sorted(recording.columns) == ["rss", "threads"]
    np.testing.assert_array_equal(recording.columns["rss"], [10.0, np.nan])
    np.testing.assert_array_equal(recording.columns["threads"], [np.nan, 4.0])


def test_a_column_without_a_value_is_as_if_it_were_not_there() -> None:
    assert list(read("t,rss,heap\n1,10,\n").columns) == ["rss"]


def test_a_byte_order_mark_spaces_capitals_and_windows_lines_are_read() -> None:
    recording = read("\ufeffT, RSS\r\n1, 10\r\n2, 11\r\n")

    assert recording.columns["rss"].tolist() == [10.0, 11.0]


def test_rows_of_the_same_t_become_one() -> None:
    recording = read("t,rss,fds\n1,10,3\n1,,4\n1.0,12,\n2,13,5\n")

    assert recording.t_s.tolist() == [1.0, 2.0]
    assert recording.columns["rss"].tolist() == [12.0, 13.0]
    assert recording.columns["fds"].tolist() == [4.0, 5.0]


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1))
def test_what_was_written_is_read_back(rows: list[tuple[float | None, float | None]]) -> None:
    cells = [["" if cell is None else repr(cell) for cell in row] for row in rows]
    text = "t,rss,anon\n0,1,1\n" + "".join(f"{i + 1},{a},{b}\n" for i, (a, b) in enumerate(cells))

    recording = read(text)

    for k, name in enumerate(("rss", "anon")):
        expected = [np.nan if row[k] is None else float(row[k]) for row in rows]  # type: ignore[arg-type]
        np.testing.assert_array_equal(recording.columns[name][1:], expected)


CELLS = st.one_of(st.sampled_from(["", "0", "7", "1.5", ".5", "2.", ".", "1.2.3", "9" * 30]), st.just("12"))
STEPS = st.sampled_from(["0", "1", "2", "0.5", ""])


@given(st.lists(st.tuples(STEPS, CELLS, CELLS), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_plain_numbers_are_read_as_any_others(rows: list[tuple[str, str, str]], end: str) -> None:
    """A space anywhere makes them go the other way."""
    clock, lines = 0.0, []
    for step, *cells in rows:
        clock += float(step or 0)
        lines.append(",".join([f"{clock:g}" if step else "", *cells]) + end)
    read: list[Recording | str] = []
    for first in ("", " "):
        try:
            read.append(parse("a.csv", ["t,rss,anon" + end, first + lines[0], *lines[1:]]))
        except RecordingError as error:
            read.append(str(error))

    plain, spaced = read
    if isinstance(plain, str) or isinstance(spaced, str):
        assert plain == spaced
    else:
        assert plain.columns.keys() == spaced.columns.keys()
        np.testing.assert_array_equal(plain.t_s, spaced.t_s)
        for name, values in plain.columns.items():
            np.testing.assert_array_equal(values, spaced.columns[name])


@given(st.text(alphabet="t,rsanofi\n\r\"'0123456789.e+- \x00\u00e9", max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        recording = read("t,rss\n0,1\n" + text)
    except RecordingError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert (np.diff(recording.t_s) > 0).all()
