"""Disks that fail on request, for tests of what is stored: full, or mounted read-only.

with small_disk(tmp_path / "disk") as disk:
    disk.fill()     # whoever writes now gets ENOSPC
    disk.free()
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = bytes(4096)


class MountError(Exception):
    """This user cannot mount."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A tmpfs of its own."""

    path: Path

    @property
    def is_full(self) -> bool:
        return (self.path / "ballast").exists()

    def fill(self) -> None:
        """Take all the room there is."""
        with (self.path / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(BLOCK)

    def free(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuse every write for as long; nothing on it may be open for writing."""
        _run("mount", "-o", "remount,ro", str(self.path))
        try:
            yield
        finally:
            _run("mount", "-o", "remount,rw", str(self.path))


@contextmanager
def small_disk(path: Path, size: str = "4m") -> Iterator[Disk]:
    """Mount a small disk there. Raises MountError where this user may not."""
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _run("umount", str(path))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        raise MountError(done.stderr.strip())
