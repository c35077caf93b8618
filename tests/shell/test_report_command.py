"""`leakwatch report`, as a person calls it, and the form of the captures that it tells."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alert_samples import WALL_S, later
from capture_samples import SCHEMA, SUMMARY, write_capture
from children import LeakyChild, process_of
from click.testing import CliRunner, Result
from incident_samples import at, opened
from jsonschema import Draft202012Validator

from agent.cli import dump, report
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.model import Instant, Transition
from agent.report.page import page

if TYPE_CHECKING:
    from agent.alerts.outbox import Outbox
    from agent.model import Alert

NOW = Instant(90_000.0, WALL_S)
COURSE = tuple((WALL_S - 3600 + n * 60, 388e6 + n * 1e6) for n in range(60))
FILES = {"pyspy.txt": "thread 1\n    remember (handlers.py:88)\n", "smaps.json": "{}"}
VALID = Draft202012Validator(SCHEMA)


def ask(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(report.command, [*arguments, "--state-dir", str(state)])


def record(outbox: Outbox, *alerts: Alert) -> str:
    """Record the story of an incident; return its ID."""
    incident, _ = opened()
    for one in alerts:
        outbox.record(incident, [("slack", one)], at(10_000))
    return incident.incident_id


def an_alert(transition: Transition = Transition.OPENED, sequence: int = 1, **changes: object) -> Alert:
    incident, _ = opened()
    return later(sequence, transition, incident_id=incident.incident_id, **changes)


def test_the_page_of_an_incident_lies_in_its_newest_capture(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox, an_alert(course=COURSE))
    label = tmp_path / "captures" / incident
    write_capture(label, 1, FILES)
    newest = write_capture(label, 2, FILES)
    result = ask(tmp_path, incident[:5])

    assert (result.exit_code, result.output.strip()) == (0, str(newest / "report.html"))
    text = (newest / "report.html").read_text()
    assert "api leaks 24 MB/h" in text
    assert '<svg viewBox="0 0 900 320"' in text
    assert 'href="pyspy.txt"' in text
    assert "    remember (handlers.py:88)" in text
    assert stat.S_IMODE((newest / "report.html").stat().st_mode) == 0o600


def test_a_page_that_lies_elsewhere_leads_back_to_the_files(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "captures" / "7f3a", 1, FILES)
    (tmp_path / "pages here").mkdir()
    result = ask(tmp_path, "7f3a", "--output", str(tmp_path / "pages here" / "7f3a.html"))

    assert result.exit_code == 0
    text = (tmp_path / "pages here" / "7f3a.html").read_text()
    assert f'href="../captures/7f3a/{folder.name}/pyspy.txt"' in text
    assert not (folder / "report.html").exists()


def test_a_page_on_standard_output_leads_to_the_files_by_their_full_names(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "captures" / "7f3a", 1, FILES)
    result = ask(tmp_path, "7f3a", "--output", "-")

    assert result.output.startswith("<!doctype html>")
    assert f'href="file://{folder}/pyspy.txt"' in result.output


def test_the_page_of_what_is_over_tells_the_whole_story_with_the_newest_course(
    tmp_path: Path, outbox: Outbox
) -> None:
    over = an_alert(Transition.RESOLVED, 2, note="floor flat for 95m")
    incident = record(outbox, an_alert(course=COURSE), over)
    write_capture(tmp_path / "captures" / incident, 1, FILES)
    ask(tmp_path, incident)

    text = next(tmp_path.glob("captures/*/001-*/report.html")).read_text()
    assert '<header class="calm">' in text
    assert "opened: api leaks" in text
    assert "no longer leaks" in text
    assert "<svg " in text


def test_where_no_channel_keeps_the_growth_the_capture_does(
    child: LeakyChild, tmp_path: Path, outbox: Outbox
) -> None:
    incident, _ = opened()
    told = an_alert(course=COURSE)
    outbox.record(incident, [], at(10_000), story=told)
    captures = Captures(tmp_path / "captures", EvidenceOptions(), report=page)
    evidence = captures.capture(process_of(child.pid), incident.incident_id, NOW, alert=told)
    first = (Path(evidence.directory) / "report.html").read_bytes()

    assert ask(tmp_path, incident.incident_id).exit_code == 0
    again = (Path(evidence.directory) / "report.html").read_bytes()
    assert again.count(b"<svg ") == first.count(b"<svg ") == 2


def test_an_incident_of_which_nothing_was_taken_needs_a_place(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox, an_alert())
    refused = ask(tmp_path, incident)
    written = ask(tmp_path, incident, "--output", str(tmp_path / "page.html"))

    assert refused.exit_code == 2
    assert "give --output for a page without files" in refused.output
    assert written.exit_code == 0
    assert "api leaks 24 MB/h" in (tmp_path / "page.html").read_text()


def test_machines_get_story_and_evidence_in_one_object(tmp_path: Path, outbox: Outbox) -> None:
    incident = record(outbox, an_alert())
    folder = write_capture(tmp_path / "captures" / incident, 1, FILES)
    told = json.loads(ask(tmp_path, incident, "--json").output)

    assert (told["incident"], told["capture"]) == (incident, str(folder))
    assert told["evidence"]["gist"] == SUMMARY["gist"]
    assert [chapter["alert"]["transition"] for chapter in told["story"]] == ["opened"]
    assert not (folder / "report.html").exists()


def test_a_link_in_the_place_of_the_page_is_replaced_not_followed(tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "captures" / "7f3a", 1, FILES)
    (tmp_path / "precious").write_text("kept")
    (folder / "report.html").symlink_to(tmp_path / "precious")

    assert ask(tmp_path, "7f3a").exit_code == 0
    assert (tmp_path / "precious").read_text() == "kept"
    assert not (folder / "report.html").is_symlink()


def test_a_place_that_cannot_be_written_is_exit_code_1(tmp_path: Path) -> None:
    write_capture(tmp_path / "captures" / "7f3a", 1, FILES)
    result = ask(tmp_path, "7f3a", "--output", "/proc/nowhere/page.html")

    assert result.exit_code == report.NOT_WRITTEN
    assert "cannot be written" in result.output


@pytest.mark.parametrize("name", ["7f3a", "/etc", "./nowhere"])
def test_nothing_to_report_on_is_exit_code_2(tmp_path: Path, name: str) -> None:
    assert ask(tmp_path, name).exit_code == 2
    assert json.loads(ask(tmp_path, name, "--json").stdout)["why"]


def test_a_dump_has_a_page_that_names_the_process(child: LeakyChild, tmp_path: Path) -> None:
    environment = {"STATE_DIRECTORY": str(tmp_path)}
    CliRunner().invoke(dump.command, [str(child.pid)], env=environment)
    result = CliRunner().invoke(report.command, [str(child.pid)], env=environment)

    assert result.exit_code == 0
    text = Path(result.output.strip()).read_text()
    assert f"(pid {child.pid})" in text
    assert "smaps.json" in text


def test_a_capture_has_its_page_beside_it_from_the_beginning(child: LeakyChild, tmp_path: Path) -> None:
    captures = Captures(tmp_path, EvidenceOptions(), report=page)
    told = an_alert(course=COURSE)
    evidence = captures.capture(process_of(child.pid), "7f3a", NOW, alert=told)

    assert not [why for why in evidence.missing if why.startswith("report")]
    text = (Path(evidence.directory) / "report.html").read_text()
    assert "api leaks 24 MB/h" in text
    assert 'href="smaps.json"' in text


def test_what_a_capture_tells_of_itself_has_the_published_form(child: LeakyChild, tmp_path: Path) -> None:
    captures = Captures(tmp_path, EvidenceOptions(cooldown_s=0.0), report=page)
    for runtime in ("python", "native", "unknown"):
        evidence = captures.capture(process_of(child.pid, runtime=runtime), "7f3a", NOW)
        VALID.validate(json.loads((Path(evidence.directory) / "evidence.json").read_text()))


@pytest.mark.parametrize("without", list(SUMMARY))
def test_the_published_form_asks_for_every_key(without: str) -> None:
    assert VALID.is_valid(SUMMARY)
    assert not VALID.is_valid({key: value for key, value in SUMMARY.items() if key != without})
