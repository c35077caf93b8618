"""What V8 and Node count by themselves, read from an answer that may hold anything, and what has grown."""

from __future__ import annotations

import json
from typing import Any

from agent.evidence.node.answers import mapping, number
from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_bytes, format_duration

MAX_NAMES = 100
LEAST_BYTES = 1_000_000
LEAST_COUNT = 10
_TOLD = 3


def read(told: Any) -> dict[str, Any]:
    """Return the figures by name, bytes and counts. Raises KeyError, TypeError, ValueError for others."""
    return {
        "version": one_line(str(mapping(told)["version"]), MAX_NAME_CHARS),
        "memory": _numbers(told["memory"]),
        "heap": _numbers(told["heap"]),
        "spaces": {
            one_line(str(space["space_name"]), MAX_NAME_CHARS): number(space["space_used_size"])
            for space in list(told["spaces"])[:MAX_NAMES]
        },
        "resources": _numbers(told["resources"]),
    }


def sampling(begun: Any) -> dict[str, Any]:
    """Return what is kept of the answer of the sampling's start."""
    since_ms = None if begun is None else mapping(begun).get("since_ms")
    return {"since_ms": None if since_ms is None else number(since_ms)}


def grown(now: dict[str, Any], earlier: bytes, age_s: float) -> list[str]:
    """Return the gist: what Node's own counts have grown by since an earlier capture."""
    try:
        before = mapping(json.loads(earlier))
        spaces = _rises(now["spaces"], before["spaces"], LEAST_BYTES)
        outside = _rises(_outside(now["memory"]), _outside(mapping(before["memory"])), LEAST_BYTES)
        resources = _rises(now["resources"], before["resources"], LEAST_COUNT)
    except (ValueError, KeyError, TypeError):
        return []  # cut off by a full disk, or of another version
    took = format_duration(age_s)
    lines = []
    if spaces or outside:
        words = ", ".join(f"{name} +{format_bytes(rise)}" for name, rise in {**spaces, **outside}.items())
        lines.append(f"V8: {words} in {took}")
    if resources:
        lines.append(
            "loop: " + ", ".join(f"{name} +{rise:,}" for name, rise in resources.items()) + f" in {took}"
        )
    return lines


def _outside(memory: dict[str, Any]) -> dict[str, int]:
    """Return what lies outside of the heap: Buffers count as both, the sum of the others is the rest."""
    buffers = number(memory.get("arrayBuffers", 0))
    return {"Buffers": buffers, "other external memory": number(memory.get("external", 0)) - buffers}


def _rises(now: dict[str, int], earlier: Any, least: int) -> dict[str, int]:
    before = mapping(earlier)
    rises = {name: value - number(before.get(name, 0)) for name, value in now.items()}
    telling = sorted((item for item in rises.items() if item[1] >= least), key=lambda item: -item[1])
    return dict(telling[:_TOLD])


def _numbers(values: Any) -> dict[str, int]:
    items = list(mapping(values).items())[:MAX_NAMES]
    return {one_line(str(name), MAX_NAME_CHARS): number(value) for name, value in items}
