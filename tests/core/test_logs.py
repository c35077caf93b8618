from __future__ import annotations

import json
import logging
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import logs

ANY_TEXT = st.text(st.characters(), max_size=60)


def record(word: str = "suspect", level: int = logging.INFO, **pairs: object) -> logging.LogRecord:
    made = logging.LogRecord("agent.test", level, __file__, 1, word, None, None)
    made.pairs = pairs
    made.created = 1_800_000_000.0
    return made


def failed(word: str, message: str) -> logging.LogRecord:
    made = record(word, logging.ERROR, service="api")
    made.exc_info = (OSError, OSError(message), None)
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("api", "key=api"),
        (4211, "key=4211"),
        ("", 'key=""'),
        ("two words", 'key="two words"'),
        ('say "x"', r'key="say \"x\""'),
        ("a=b", 'key="a=b"'),
        ("C:\\x", r'key="C:\\x"'),
        ("a\nb\tc\rd", r'key="a\nb\tc\rd"'),
        ("\x1b[31m", r'key="\x1b[31m"'),
        ("café", "key=café"),
        ("a\u2028b", r'key="a\x2028b"'),
        (None, "key=None"),
    ],
)
def test_pair_quotes_what_needs_it(value: object, expected: str) -> None:
    assert logs.pair("key", value) == expected


def test_keys_are_written_with_hyphens() -> None:
    assert logs.pair("full_in", "2h") == "full-in=2h"


def test_a_line_is_a_word_and_its_pairs() -> None:
    line = logs.KeyValueFormatter(timestamps=False).format(record(service="api", why="floors rose"))

    assert line == 'suspect   service=api why="floors rose"'


def test_from_a_warning_on_the_level_is_told() -> None:
    formatter = logs.KeyValueFormatter(timestamps=False)

    assert formatter.format(record("parked", logging.WARNING)) == "parked    level=warning"
    own = record("parked", logging.WARNING)
    own.pairs = {"level": "own"}
    assert formatter.format(own) == "parked    level=own"


def test_an_error_is_folded_into_its_line() -> None:
    line = logs.KeyValueFormatter(timestamps=False).format(failed("delayed", "no\nroute"))

    assert line == r'delayed   service=api error="OSError: no\nroute" level=error'


def test_timestamps_lead_the_line_where_asked() -> None:
    line = logs.KeyValueFormatter(timestamps=True).format(record(service="api"))

    assert line.endswith(" suspect   service=api")
    assert line.startswith("2027-01-1")


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 3)]
)
def test_journald_is_told_how_urgent_a_line_is(level: str, priority: int) -> None:
    made = record("parked", logging.getLevelNamesMapping()[level.upper()])

    for plain in (logs.KeyValueFormatter(timestamps=False), logs.JsonFormatter()):
        assert logs.PriorityFormatter(plain).format(made) == f"<{priority}>{plain.format(made)}"


def test_only_the_stream_that_systemd_names_is_the_journals() -> None:
    read, write = os.pipe()
    about = os.fstat(write)
    try:
        named = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}

        assert logs.journal_reads(write, named)
        assert not logs.journal_reads(write, {})
        assert not logs.journal_reads(write, {"JOURNAL_STREAM": "0:0"})
    finally:
        os.close(read)
        os.close(write)
    assert not logs.journal_reads(write, named)


@settings(max_examples=40, deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_value_breaks_out_of_its_line(value: str, other: str, message: str) -> None:
    made = failed("delayed", message)
    made.pairs = {"value": value, "other": other}
    for formatter in (logs.KeyValueFormatter(timestamps=False), logs.JsonFormatter()):
        line = formatter.format(made)

        assert line.isprintable()


@given(ANY_TEXT)
def test_json_says_the_same_as_the_pairs(value: str) -> None:
    read = json.loads(logs.JsonFormatter().format(record("LEAK", service=value, pid=7)))

    assert (read["event"], read["level"], read["service"], read["pid"]) == ("leak", "info", value, 7)


def test_json_tells_errors_and_values_that_json_does_not_know() -> None:
    made = failed("delayed", "down")
    made.pairs = {"at": b"x"}
    read = json.loads(logs.JsonFormatter().format(made))

    assert (read["error"], read["at"]) == ("OSError: down", "b'x'")


def test_log_event_leaves_out_what_is_none(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("agent.test_logs")
    with caplog.at_level(logging.INFO, "agent.test_logs"):
        logs.log_event(logger, "resolved", service="api", why=None)

    assert [(r.getMessage(), r.pairs) for r in caplog.records] == [("resolved", {"service": "api"})]


@pytest.mark.parametrize("as_json", [False, True])
def test_configured_lines_go_to_standard_error_and_others_only_from_warnings_on(
    as_json: bool,  # noqa: FBT001 - a parameter
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before, level, own = root.handlers[:], root.level, logging.getLogger("agent").level
    try:
        logs.configure(level="info", as_json=as_json, timestamps=False)
        logs.log_event(logging.getLogger("agent.x"), "started", version="1")
        logging.getLogger("agent.x").debug("hidden")
        logging.getLogger("other").info("hidden")
        logging.getLogger("other").warning("told")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("agent").setLevel(own)
    lines = capsys.readouterr().err.splitlines()

    assert len(lines) == 2
    if as_json:
        assert [json.loads(line)["event"] for line in lines] == ["started", "told"]
    else:
        assert lines == ["started   version=1", "told      level=warning"]
