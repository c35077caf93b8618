"""Finds captures on the disk and reads them: no link is followed, and nothing is read without a bound."""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.gz import WINDOW_BITS
from agent.report.files import PACKED
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

SUMMARY = "evidence.json"
FOLDERS = ("captures", "dumps", "drills")
"""Of a state directory: what incidents, people and rehearsals have taken."""
MAX_READ_BYTES = 64_000_000
"""Of one file, unpacked; heap dumps and snapshots are for other tools."""
MAX_FILES = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,127}")
_CAPTURE = re.compile(r"\d{3,}-\d{8}T\d{6}Z")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class CaptureError(Exception):
    """Why there is no such capture, or it cannot be read: a sentence for people."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture on the disk."""

    path: Path

    @property
    def name(self) -> str:
        """The label and the number that people know it by."""
        return f"{self.path.parent.name}/{self.path.name}"

    def summary(self) -> dict[str, Any]:
        """Return what evidence.json holds. Raises CaptureError."""
        try:
            found = json.loads(self.read(SUMMARY))
        except (OSError, ValueError) as error:
            raise CaptureError(f"{self.path}: no readable {SUMMARY} ({_reason(error)})") from None
        if not isinstance(found, dict):
            raise CaptureError(f"{self.path}: {SUMMARY} is no JSON object")
        return found

    def files(self) -> tuple[str, ...]:
        """Return the names of its files. Raises OSError."""
        found = sorted(entry.name for entry in os.scandir(self.path) if entry.is_file(follow_symlinks=False))
        return tuple(name for name in found if _NAME.fullmatch(name))[:MAX_FILES]

    def read(self, name: str) -> bytes:
        """Return a file's content, unpacked where it is packed.

        Raises OSError, and ValueError for a file that is too large, damaged, or none.
        """
        fd = os.open(self.path / name, _OPEN)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ValueError("is no file")
            content = file.read(MAX_READ_BYTES + 1)
        return _bounded(_unpacked(content) if name.endswith(PACKED) else content)


def is_path(text: str) -> bool:
    """Whether a person names a folder, not an incident or a dump."""
    return "/" in text or text in (".", "..") or (Path(text) / SUMMARY).is_file()


def find(text: str, state_dir: Path) -> list[Capture]:
    """Return the captures that a person means, the first one first: a folder, or the beginning of a label.

    Labels are the ids of incidents, and PID-START of dumps. Raises CaptureError.
    """
    if is_path(text):
        return _in_folder(Path(text))
    labels = sorted(label for folder in FOLDERS for label in _labels(state_dir / folder, text))
    exact = [label for label in labels if label.name == text]
    chosen = exact or labels
    if len(chosen) > 1:
        names = ", ".join(label.name for label in chosen[:10])
        raise CaptureError(f"{one_line(text)} is the beginning of {len(chosen)} captures' names: {names}")
    found = _captures(chosen[0]) if chosen else []
    if not found:
        raise CaptureError(f"no capture of {one_line(text)} is kept")
    return found


def _in_folder(path: Path) -> list[Capture]:
    try:
        path = path.resolve(strict=True)
        found = [Capture(path)] if (path / SUMMARY).is_file() else _captures(path)
    except (OSError, RuntimeError) as error:
        raise CaptureError(f"{one_line(str(path))}: {_reason(error)}") from None
    if not found:
        raise CaptureError(f"{one_line(str(path))}: holds no capture (no {SUMMARY} in it)")
    return found


def _labels(root: Path, beginning: str) -> Iterator[Path]:
    try:
        entries = list(os.scandir(root))
    except FileNotFoundError:
        return
    except OSError as error:
        raise CaptureError(f"{root}: {_reason(error)}; ask as the user that leakwatch runs as") from None
    for entry in entries:
        if entry.name.startswith(beginning) and entry.is_dir(follow_symlinks=False):
            yield root / entry.name


def _captures(label: Path) -> list[Capture]:
    try:
        names = [path.name for path in label.iterdir() if _CAPTURE.fullmatch(path.name)]
    except OSError as error:
        raise CaptureError(f"{label}: {_reason(error)}; ask as the user that leakwatch runs as") from None
    return [Capture(label / name) for name in sorted(names, key=lambda name: int(name.partition("-")[0]))]


def _unpacked(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(WINDOW_BITS)
    try:
        return unpacker.decompress(content, MAX_READ_BYTES + 1)
    except zlib.error:
        raise ValueError("is damaged") from None


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_READ_BYTES:
        raise ValueError(f"holds more than {MAX_READ_BYTES // 1_000_000} MB")
    return content


def _reason(error: Exception) -> str:
    return one_line((isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__)
