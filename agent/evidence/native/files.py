"""Opens the very files that a process has mapped: no others, however their paths are bent."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.native.maps import Region

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def mapped(held: HeldProcess, region: Region) -> Iterator[int]:
    """Open the file behind a mapping.

    By the mapping itself where that is permitted (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE), as the
    executable, else by its path in the process's own root if that leads to the same file still.
    Raises OSError where none of it works.
    """
    with ExitStack() as stack:
        file = _by_mapping(stack, held, region)
        if file is None:
            file = _as_executable(stack, held, region)
        if file is None:
            file = _by_path(stack, held, region)
        yield file


def _by_mapping(stack: ExitStack, held: HeldProcess, region: Region) -> int | None:
    with suppress(OSError):
        folder = stack.enter_context(held.folder("map_files"))
        return _reading(stack, f"{region.span.start:x}-{region.span.end:x}", folder)
    return None


def _as_executable(stack: ExitStack, held: HeldProcess, region: Region) -> int | None:
    """Open the executable if it is what is mapped: the kernel's two texts of its path are compared."""
    with suppress(OSError):
        folder = stack.enter_context(held.folder("."))
        if os.fsencode(os.readlink("exe", dir_fd=folder)) == region.path:
            return _reading(stack, "exe", folder)
    return None


def _by_path(stack: ExitStack, held: HeldProcess, region: Region) -> int:
    """Open what lies at the path now, if it is the same file; looked at first, as it may be a pipe."""
    root = stack.enter_context(held.folder("root"))
    looked = os.open(region.path.lstrip(b"/"), _LOOK, dir_fd=root)
    stack.callback(os.close, looked)
    found = os.fstat(looked)
    if not stat.S_ISREG(found.st_mode) or found.st_ino != region.inode or found.st_dev != region.device:
        raise FileNotFoundError("another file lies there now")
    return _reading(stack, f"/proc/self/fd/{looked}", None)


def _reading(stack: ExitStack, name: str, folder: int | None) -> int:
    file = os.open(name, _READ, dir_fd=folder)
    stack.callback(os.close, file)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise FileNotFoundError("not a file")
    return file
