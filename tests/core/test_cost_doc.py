"""docs/cost.md tells what the bench of cost and the soak can do."""

from __future__ import annotations

import re
import sys
from subprocess import run

import pytest
from bench.cost_peers import PEERS
from bench.cost_table import BEGIN, DOCUMENT, END, OWN_COLUMNS
from documents import ROOT

PAGE = DOCUMENT.read_text()
COMMANDS = re.findall(r"^python (tests/bench/\w+\.py)(.*)$", PAGE, re.MULTILINE)
SCRIPTS = sorted({script for script, _ in COMMANDS})


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_of_the_page_is_one_of_the_script(script: str) -> None:
    told = run(
        [sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    used = {option for one, rest in COMMANDS if one == script for option in re.findall(r"--[a-z-]+", rest)}

    assert used <= set(re.findall(r"--[a-z-]+", told))


def test_every_script_about_cost_is_told_of() -> None:
    told = [script.removeprefix("tests/bench/").removesuffix(".py") for script in SCRIPTS]
    assert told == ["cost", "history", "replay", "slow_disk", "soak"]


def test_the_page_explains_every_column_of_leakwatch() -> None:
    explained = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))

    assert set(OWN_COLUMNS) - {"processes", "interval"} <= explained


def test_the_page_has_marks_for_the_tables() -> None:
    assert 0 < PAGE.index(BEGIN) < PAGE.index(END)


def test_the_rows_of_the_page_are_leakwatch_and_its_peers() -> None:
    table = PAGE.split(BEGIN)[1].split(END)[0].split("\n\n")[0]
    rows = set(re.findall(r"^\| ([a-zA-Z].*?) \|", table, re.MULTILINE)) - {"who"}

    assert "leakwatch" in rows
    assert rows <= {"leakwatch", *(peer.name for peer in PEERS)}
