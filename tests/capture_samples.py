"""Captures on the disk as tests want them, without taking any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "evidence.schema.json").read_text())

SUMMARY: dict[str, Any] = {
    "schema": 2,
    "taken_at": "2027-01-15T08:00:00+00:00",
    "taken_t_s": 90_000.0,
    "label": "7f3a9c21",
    "process": {
        "key": "4211-584744-a1b2c3d4",
        "name": "gunicorn",
        "command": "gunicorn: worker [shop.wsgi]",
        "exe": "/usr/bin/python3.12",
        "user": "shop",
        "parent_pid": 1,
        "cgroup": "/system.slice/api.service",
        "started_t_s": 5847.44,
        "runtime": "python",
    },
    "gist": ["top stack: remember (handlers.py:88) in 11 of 12 threads", "grew: [heap] +58MB in 42m"],
    "missing": ["fds: no permission (needs CAP_DAC_READ_SEARCH, or the process's user and group)"],
    "files": ["pyspy.txt", "smaps.json"],
}


def write_capture(label: Path, number: int = 1, files: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a capture of a label; a file's content is text, bytes, or a value for JSON."""
    folder = label / f"{number:03d}-20270115T08{number:02d}00Z"
    folder.mkdir(parents=True)
    taken = {"taken_at": f"2027-01-15T08:{number:02d}:00+00:00", "taken_t_s": 90_000.0 + 60 * number}
    summary = SUMMARY | taken | {"label": label.name, "files": list(files or {})} | changes
    (folder / "evidence.json").write_text(json.dumps(summary))
    for name, content in (files or {}).items():
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def fds(classes: dict[str, int], targets: dict[str, dict[str, int]] | None = None) -> dict[str, Any]:
    """Return what fds.json holds."""
    return {"open": sum(classes.values()), "classes": classes, "targets": targets or {}}
