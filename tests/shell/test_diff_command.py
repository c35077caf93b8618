"""`leakwatch diff`, as a person calls it, and the captures that it is pointed at."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING

import pytest
from capture_samples import fds, write_capture
from click.testing import CliRunner, Result

from agent import bootstrap
from agent.cli import diff, dump
from agent.drill import keeping
from agent.report import capture
from agent.report.capture import FOLDERS, Capture, CaptureError, find

if TYPE_CHECKING:
    from pathlib import Path

    from children import LeakyChild

FEW, MANY = fds({"file": 3, "socket": 10}), fds({"file": 3, "socket": 214}, {"file": {"/tmp/x": 7}})


def ask(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(diff.command, [*arguments, "--state-dir", str(state)])


def rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.output.splitlines() if line.startswith("  ")]


@pytest.fixture
def incident(tmp_path: Path) -> Path:
    """The folder of an incident with three captures."""
    label = tmp_path / "captures" / "7f3a9c21"
    for number, content in enumerate((FEW, FEW, MANY), 1):
        write_capture(label, number, {"fds.json": content})
    return label


def test_the_first_of_an_incident_is_compared_with_its_newest(tmp_path: Path, incident: Path) -> None:
    result = ask(tmp_path, "7f3a")

    assert result.exit_code == diff.CHANGED
    assert result.output.splitlines()[0].endswith("003-20270115T080300Z, 2m apart")
    assert str(incident / "001-20270115T080100Z") in result.output
    assert rows(result) == [
        ["GREW", "BEFORE", "AFTER", "NAME"],
        ["+204", "10", "214", "socket"],
        ["GREW", "BEFORE", "AFTER", "NAME"],
        ["+7", "0", "7", "file", "/tmp/x"],
    ]


def test_nothing_that_changed_is_exit_code_0(tmp_path: Path, incident: Path) -> None:
    folders = [str(incident / f"00{n}-20270115T080{n}00Z") for n in (1, 2)]
    result = ask(tmp_path, *folders)

    assert (result.exit_code, "nothing changed" in result.output) == (diff.SAME, True)


def test_the_newest_of_two_incidents_are_compared_and_called_two_processes(
    tmp_path: Path, incident: Path
) -> None:
    process = {"key": "99-1-a1b2c3d4"}
    write_capture(tmp_path / "captures" / "11aa22bb", 1, {"fds.json": FEW}, process=process)
    result = ask(tmp_path, "7f3a", "11aa")

    assert f"{incident}/003-" in result.output
    assert "these are two processes" in result.output
    assert ["-204", "214", "10", "socket"] in rows(result)


def test_machines_get_every_row(tmp_path: Path, incident: Path) -> None:
    del incident
    told = json.loads(ask(tmp_path, "7f3a", "--json", "--top", "1").output)

    assert told["between_s"] == 120
    assert told["same_process"] is True
    first = {"name": "socket", "before": 10, "after": 214, "grown": 204}
    assert told["tables"][0] == {
        "title": "descriptors by class",
        "unit": "descriptors",
        "rows": [first],
    }


def test_of_a_long_table_the_top_is_told(tmp_path: Path) -> None:
    label = tmp_path / "dumps" / "4211-9"
    write_capture(label, 1, {"fds.json": fds({})})
    write_capture(label, 2, {"fds.json": fds({f"class {n}": n for n in range(1, 9)})})
    result = ask(tmp_path, "4211", "--top", "2")

    assert [row[0] for row in rows(result)[1:3]] == ["+8", "+7"]
    assert "  and 6 more" in result.output


def test_what_cannot_be_compared_is_told_with_its_reason(tmp_path: Path) -> None:
    label = tmp_path / "captures" / "7f3a"
    files = {"fds.json": '{"classes": {"fi', "smaps.json": "[]", "pyspy.txt": "a"}
    write_capture(label, 1, files | {"notes.json": "{}"})
    write_capture(label, 2, files | {"fds.json": MANY})
    result = ask(tmp_path, "7f3a")

    assert result.exit_code == diff.SAME
    assert "not compared: fds.json: cannot be compared (Unterminated string" in result.output
    assert "not compared: smaps.json: cannot be compared (" in result.output
    assert "not compared: notes.json: is in one of them only" in result.output


def test_packed_files_are_compared_with_plain_ones(tmp_path: Path) -> None:
    label = tmp_path / "captures" / "7f3a"
    write_capture(label, 1, {"fds.json": FEW})
    write_capture(label, 2, {"fds.json.gz": gzip.compress(json.dumps(MANY).encode())})

    assert "+204" in ask(tmp_path, "7f3a").output


def test_real_captures_of_a_real_process_tell_where_it_grew(child: LeakyChild, tmp_path: Path) -> None:
    environment = {"STATE_DIRECTORY": str(tmp_path)}
    runner = CliRunner()
    runner.invoke(dump.command, [str(child.pid)], env=environment)
    child.grow(80_000_000)
    child.threads(3)
    runner.invoke(dump.command, [str(child.pid)], env=environment)
    result = runner.invoke(diff.command, [str(child.pid)], env=environment)

    assert result.exit_code == diff.CHANGED
    grown = {" ".join(row[3:]): row[0] for row in rows(result)}
    assert grown["anonymous >64MB"].startswith("+80")
    assert grown["RssAnon"].startswith("+8")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "no capture of nothing is kept"),
        ("7f3a", "7f3a is the beginning of 2 captures' names: 7f3a9c21, 7f3aaaaa"),
        ("7f3a9c21", "7f3a9c21/001-20270115T080100Z is the only one of 7f3a9c21"),
        ("/etc", "/etc: holds no capture (no evidence.json in it)"),
        ("./nowhere", "nowhere: No such file or directory"),
    ],
)
def test_captures_that_cannot_be_told_are_exit_code_2(tmp_path: Path, name: str, why: str) -> None:
    for label in ("7f3a9c21", "7f3aaaaa"):
        write_capture(tmp_path / "captures" / label)
    result = ask(tmp_path, name)

    assert result.exit_code == 2
    assert why in result.output


def test_links_in_a_capture_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(MANY))
    folder = write_capture(tmp_path / "captures" / "7f3a", 1, {"fds.json": FEW})
    other = write_capture(tmp_path / "captures" / "7f3a", 2)
    (other / "fds.json").symlink_to(secret)

    assert Capture(other).files() == ("evidence.json",)
    with pytest.raises(OSError, match="symbolic links"):
        Capture(other).read("fds.json")
    assert "fds.json: is in one of them only" in ask(tmp_path, str(folder), str(other)).output


def test_a_pipe_in_a_capture_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "captures" / "7f3a")
    os.mkfifo(folder / "fds.json")

    with pytest.raises(ValueError, match="is no file"):
        Capture(folder).read("fds.json")


def test_a_packed_file_does_not_unfold_without_end(tmp_path: Path) -> None:
    zeros = gzip.compress(bytes(capture.MAX_READ_BYTES + 1), 1)
    folder = write_capture(
        tmp_path / "captures" / "7f3a", 1, {"fds.json.gz": zeros, "smaps.json.gz": zeros[9:]}
    )

    with pytest.raises(ValueError, match="holds more than 64 MB"):
        Capture(folder).read("fds.json.gz")
    with pytest.raises(ValueError, match="is damaged"):
        Capture(folder).read("smaps.json.gz")


def test_captures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    label = tmp_path / "captures" / "7f3a"
    for number in (1000, 999, 2):
        write_capture(label, 1).rename(label / f"{number:03d}-20270115T080000Z")

    names = [one.path.name.partition("-")[0] for one in find("7f3a", tmp_path)]
    assert names == ["002", "999", "1000"]


def test_a_capture_without_a_summary_is_told(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "captures" / "7f3a")
    (folder / "evidence.json").write_text("[1]")

    with pytest.raises(CaptureError, match=r"evidence\.json is no JSON object"):
        Capture(folder).summary()


def test_captures_are_looked_for_where_they_are_written() -> None:
    assert FOLDERS == (bootstrap.CAPTURES, dump.FOLDER, keeping.FOLDER)
