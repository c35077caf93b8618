"""The journal channel against a datagram socket, and against systemd's own reader where it is installed."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from alert_samples import alert, later
from channel_cases import failure_of, huge_alert
from journals import entries_of, fields_of, listening_journal

from agent.alerts.journal import MESSAGE_ID, JournalChannel, JournalOptions, fields, serialized
from agent.alerts.message import document
from agent.model import Alert, Evidence, State, Transition

WMEM_DEFAULT = int(Path("/proc/sys/net/core/wmem_default").read_text())
"""What a socket takes in one datagram, and less."""
IMPORTER = Path("/lib/systemd/systemd-journal-remote")


def sent(told: Alert, folder: Path) -> bytes:
    with listening_journal(folder / "socket") as listener:
        JournalChannel("journal", JournalOptions(str(folder / "socket"))).send(told)
        (entry,) = entries_of(listener)
        return entry


def test_a_field_is_a_line_and_a_text_of_several_lines_carries_its_length() -> None:
    entry = serialized([("MESSAGE", "Foobar"), ("TEXT", "a\nbé"), ("EMPTY", ""), ("SIGNS", "a=b")])

    assert entry == b"MESSAGE=Foobar\nTEXT\n\x05\0\0\0\0\0\0\0a\nb\xc3\xa9\nEMPTY=\nSIGNS=a=b\n"


def test_an_alert_is_an_entry_with_fields_to_search_by(tmp_path: Path) -> None:
    found = dict(fields_of(sent(alert(), tmp_path)))

    told = document(alert())
    assert json.loads(found.pop("LEAKWATCH_ALERT")) == told
    assert found.pop("LEAKWATCH_TEXT") == told["text"]
    assert found == {
        "MESSAGE": told["title"],
        "MESSAGE_ID": MESSAGE_ID,
        "PRIORITY": "2",
        "SYSLOG_IDENTIFIER": "leakwatch",
        "LEAKWATCH_DELIVERY": "7f3a9c21/1",
        "LEAKWATCH_INCIDENT": "7f3a9c21",
        "LEAKWATCH_SEQUENCE": "1",
        "LEAKWATCH_TRANSITION": "opened",
        "LEAKWATCH_EVENT": "leak",
        "LEAKWATCH_SUBJECT": "heap",
        "LEAKWATCH_SEVERITY": "critical",
        "LEAKWATCH_SERVICE": "api",
        "LEAKWATCH_HOST": "web-3",
        "LEAKWATCH_PID": "4211",
    }


@pytest.mark.parametrize(
    ("told", "priority"),
    [
        (alert(), "2"),
        (alert(severity=State.WARNING), "4"),
        (alert(severity=State.SOUND), "6"),
        (later(2, Transition.RESOLVED), "5"),
        (later(2, Transition.REMINDED), "2"),
    ],
    ids=["critical", "warning", "change", "resolved", "reminded"],
)
def test_the_priority_is_that_of_the_severity(told: Alert, priority: str) -> None:
    assert dict(fields(told))["PRIORITY"] == priority


def test_a_rehearsal_is_marked() -> None:
    assert ("LEAKWATCH_DRILL", "yes") in fields(alert(drill=True))


def test_every_name_of_a_field_is_one_that_journald_keeps() -> None:
    for name, _ in fields(alert(drill=True)):
        assert name.replace("_", "").isalnum()
        assert name == name.upper()
        assert not name.startswith("_")
        assert len(name) <= 64


def test_an_entry_too_long_for_a_datagram_comes_as_a_sealed_file(tmp_path: Path) -> None:
    wide = tuple(f"{number} {'😀' * 200}" for number in range(100))
    told = alert(items=wide, labels=dict.fromkeys(wide, wide[0]), evidence=Evidence("", wide, wide, wide))
    entry = serialized(fields(told))

    assert sent(told, tmp_path) == entry
    assert len(entry) > WMEM_DEFAULT


def test_a_journal_that_does_not_read_is_worth_another_try(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as closed:
        closed.bind(str(path))
    error = failure_of(JournalChannel("journal", JournalOptions(str(path))))

    assert str(error) == f"journald at {path} cannot be reached: connection refused"
    assert not error.permanent


def test_a_socket_of_another_sort_is_told(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(path))
        stream.listen()

        assert "wrong type" in str(failure_of(JournalChannel("journal", JournalOptions(str(path)))))


@pytest.mark.skipif(not IMPORTER.exists(), reason="systemd-journal-remote is not installed")
@pytest.mark.parametrize("told", [alert(), huge_alert()], ids=["ordinary", "huge"])
def test_systemd_reads_an_entry_as_it_was_meant(told: Alert, tmp_path: Path) -> None:
    """The native form is that of a journal's export (systemd.io/JOURNAL_EXPORT_FORMATS/) but for the time."""
    entry = b"__REALTIME_TIMESTAMP=1800000000000000\n" + sent(told, tmp_path) + b"\n"
    journal = tmp_path / "read.journal"
    subprocess.run([IMPORTER, f"--output={journal}", "-"], input=entry, check=True, capture_output=True)
    shown = subprocess.run(
        ["journalctl", f"--file={journal}", "--output=json", "--all", f"MESSAGE_ID={MESSAGE_ID}"],
        check=True,
        capture_output=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    read = json.loads(shown.stdout)

    assert {name: read[name] for name, _ in fields(told)} == dict(fields(told))
