"""Takes the evidence of a drill into a folder of its own, and keeps that of the newest drills."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent import statedir
from agent.evidence.captures import Captures
from agent.model import Evidence
from agent.report.page import page
from agent.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from agent.evidence.options import EvidenceOptions
    from agent.model import Instant, Process

FOLDER = "drills"
"""Beside the captures of incidents, so that neither takes the other's room."""
KEPT_DRILLS = 3

_LABEL = re.compile(r"drill-\d{8}T\d{6}Z")


def take(process: Process, state_dir: Path, options: EvidenceOptions, now: Instant) -> Evidence:
    """Take a capture; what could not be taken, or an old drill not be removed, is a sentence in `missing`."""
    try:
        statedir.create(state_dir)
    except statedir.StateError as error:
        return Evidence("", missing=(str(error),))
    folder = state_dir / FOLDER
    label = datetime.fromtimestamp(now.wall_s, UTC).strftime("drill-%Y%m%dT%H%M%SZ")
    evidence = Captures(folder, options, report=page).capture(process, label, now)
    try:
        _forget_old(folder)
    except OSError as error:
        why = f"captures: an old drill cannot be removed: {one_line(str(error))}"
        return replace(evidence, missing=(*evidence.missing, why))
    return evidence


def _forget_old(folder: Path) -> None:
    labels = sorted(path for path in folder.glob("drill-*") if _LABEL.fullmatch(path.name))
    for path in labels[:-KEPT_DRILLS]:
        shutil.rmtree(path)
