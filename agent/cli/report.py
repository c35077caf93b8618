"""`leakwatch report`: an incident or a capture as one page, or as one JSON object."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from agent.alerts import archive
from agent.alerts.archive import Chapter
from agent.alerts.state_schema import StateFileError
from agent.alerts.visit import Visit
from agent.cli import state
from agent.cli.chapters import chapter_values
from agent.evidence.captures import GROWTH
from agent.report.capture import Capture, CaptureError, find, is_path
from agent.report.files import is_for_people
from agent.report.page import Excerpt, page
from agent.statedir import STATE_FILE

if TYPE_CHECKING:
    from agent.model import Alert

Course = tuple[tuple[float, float], ...]

NOT_WRITTEN = 1
FILE = "report.html"
MAX_EXCERPT_CHARS = 40_000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is reported on; one of the two may be missing."""

    story: tuple[Chapter, ...]
    capture: Capture | None
    summary: dict[str, Any]
    course: Course

    def alert(self) -> Alert | None:
        """Return the newest transition, with the growth to draw."""
        return replace(self.story[-1].alert, course=self.course) if self.story else None


@click.command("report")
@click.argument("incident", metavar="INCIDENT")
@click.option("--output", metavar="FILE", help='Where the page goes, "-" for standard output.')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of making a page.")
@state.options
def command(
    incident: str, output: str | None, config_file: str | None, state_dir: str | None, *, as_json: bool
) -> None:
    """Make the page of an incident: growth, findings, reasons, what to do, and links to the files.

    INCIDENT is the beginning of an ID, of the name of a dump (its pid), or the folder of a capture. The page
    opens from disk without network. It replaces report.html in the newest capture, which was written when
    that was taken; --output puts it elsewhere, with links that lead back.

    \b
    Exit codes: 0 the page is written, 1 it cannot be written,
                2 there is no such incident and no such capture, or several.
    """  # noqa: D301 - click's mark for lines that stay as they are
    subject = _subject(state.directory(config_file, state_dir), incident, as_json=as_json)
    if as_json:
        click.echo(json.dumps(_values(subject), indent=2))
        return
    if output == "-":
        click.echo(_page(subject, None), nl=False)
        return
    if output is None and subject.capture is None:
        state.end(f"no capture of {incident} is kept: give --output for a page without files")
    file = Path(output) if output is not None else _beside(subject)
    try:
        _write(file, _page(subject, file.absolute().parent))
    except OSError as error:
        state.end(f"{file}: cannot be written ({error.strerror}); give --output", NOT_WRITTEN)
    click.echo(file)


def _subject(directory: Path, text: str, *, as_json: bool) -> _Subject:
    """Return what a person means; ends the command where that is nothing, or several things."""
    try:
        story, course = ((), ()) if is_path(text) else _story(directory, text)
        captures, why = _captures(directory, story[-1].alert.incident_id if story else text)
        if not story and captures:
            story, course = _story(directory, captures[-1].path.parent.name)
        if not story and not captures:
            state.end(why, as_json=as_json)
        summary = captures[-1].summary() if captures else {}
    except (CaptureError, StateFileError) as error:
        state.end(str(error), as_json=as_json)
    capture = captures[-1] if captures else None
    return _Subject(story, capture, summary, course or _growth(capture))


def _captures(directory: Path, text: str) -> tuple[list[Capture], str]:
    """Return the captures and "", or none and why."""
    try:
        return find(text, directory), ""
    except CaptureError as error:
        return [], str(error)


def _story(directory: Path, prefix: str) -> tuple[tuple[Chapter, ...], Course]:
    """Return the transitions and the growth of an incident; none where there is no state, or no such one.

    Raises StateFileError, and CaptureError for several.
    """
    if not (directory / STATE_FILE).exists():
        return (), ()
    with Visit(directory / STATE_FILE) as visit:
        found = visit.read(lambda c: archive.ids_like(c, prefix))
        if len(found) > 1:
            raise CaptureError(
                f"{prefix} is the beginning of {len(found)} incidents: {', '.join(found[:10])}"
            )
        if not found:
            return (), ()
        return visit.read(lambda c: (tuple(archive.story(c, found[0])), archive.course(c, found[0])))


def _growth(capture: Capture | None) -> Course:
    """Return the growth as the capture keeps it; empty where it keeps none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        points = json.loads(capture.read(GROWTH)) if capture else ()
        return tuple((float(at), float(value)) for at, value in points)
    return ()


def _page(subject: _Subject, beside: Path | None) -> bytes:
    """Return the page as it lies in a folder, None for one that lies nowhere yet."""
    told = [chapter.alert for chapter in subject.story]
    base = _base(subject.capture, beside)
    return page(subject.summary, subject.alert(), excerpts=_excerpts(subject.capture), story=told, base=base)


def _base(capture: Capture | None, beside: Path | None) -> str:
    if capture is None:
        return ""
    if beside is None:
        return f"{capture.path.absolute().as_uri()}/"
    way = os.path.relpath(capture.path.absolute(), beside)
    return "" if way == "." else f"{quote(way)}/"


def _excerpts(capture: Capture | None) -> list[Excerpt]:
    found = []
    with suppress(OSError):
        for name in capture.files() if capture else ():
            if is_for_people(name):
                with suppress(OSError, ValueError):
                    content = capture.read(name).decode("utf-8", "replace") if capture else ""
                    found.append(Excerpt(name, content[:MAX_EXCERPT_CHARS]))
    return found


def _beside(subject: _Subject) -> Path:
    return (subject.capture.path if subject.capture else Path()) / FILE


def _write(file: Path, content: bytes) -> None:
    """Replace a file at once, mode 0600; a link in its place is replaced, not followed. Raises OSError."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, _CREATE, 0o600), "wb") as opened:
        opened.write(content)
    fresh.replace(file)


def _values(subject: _Subject) -> dict[str, Any]:
    return {
        "incident": subject.story[-1].alert.incident_id if subject.story else None,
        "capture": str(subject.capture.path) if subject.capture else None,
        "evidence": subject.summary or None,
        "story": [chapter_values(chapter) for chapter in subject.story],
    }
