"""docs/evidence.md names every source, every promise of an entry and every planted leak that was tried."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

from documents import EVIDENCE, ROOT

from agent.consent import Consent
from agent.evidence.sources import all_sources
from agent.report.files import FILES


def table(title: str) -> list[str]:
    """Return the first cells of the table below a heading."""
    section = EVIDENCE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([\w. -]+)` \|", section, re.MULTILINE)


def test_every_source_has_its_row() -> None:
    assert set(table("What is taken of what")) == {source.name for source in all_sources()}


def test_every_promise_of_an_entry_has_its_row() -> None:
    assert table("What an entry may allow") == [field.name for field in fields(Consent)]


def test_the_table_of_what_was_named_has_a_row_for_every_planted_leak() -> None:
    leaks = subprocess.run(
        [sys.executable, "-c", "import evidence; print(*(leak.what for leak in evidence.LEAKS), sep='\\n')"],
        cwd=ROOT / "tests" / "bench",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    shown = EVIDENCE.split("<!-- bench: begin -->")[1].split("<!-- bench: end -->")[0]

    assert re.findall(r"^\| ([^|]+?) \| (?!without)", shown, re.MULTILINE) == leaks
    assert "/work" not in shown


def test_every_planted_leak_is_tried() -> None:
    planted = {path.name for path in (ROOT / "tests" / "data" / "planted").iterdir() if path.is_file()}
    tried = set(re.findall(r'"(\w+\.\w+)",', (ROOT / "tests" / "bench" / "evidence.py").read_text()))

    assert planted - tried == {"false_jvm.py"}


def test_the_files_that_are_named_are_known() -> None:
    named = set(re.findall(r"`([\w-]+\.(?:json|html))`", EVIDENCE))

    assert named <= set(FILES)
