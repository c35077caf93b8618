"""The limit of a real process in a real cgroup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild

from agent.watch.cgroups import LimitReader, parse_mounts
from agent.watch.procfs import parse_cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_BYTES = 256 * 2**20


@pytest.fixture
def cgroup() -> Iterator[tuple[Path, str]]:
    """Make a cgroup with a limit below our own; yield its folder and the file's name."""
    paths = parse_cgroup(Path("/proc/self/cgroup").read_text("utf-8"))
    for mount in parse_mounts(Path("/proc/self/mountinfo").read_text("utf-8")):
        own = paths.get("" if mount.unified else "memory", "/")
        folder = Path(mount.point + own.removeprefix(mount.root.rstrip("/"))) / "leakwatch-test"
        file = mount.files[0]
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if (folder / file).exists():
                (folder / file).write_text(str(LIMIT_BYTES), "ascii")
                yield folder, file
                return
        finally:
            folder.rmdir()
    pytest.skip("no cgroup with the memory controller may be made below our own (needs root or delegation)")


def test_the_limit_of_a_real_cgroup_is_found(cgroup: tuple[Path, str]) -> None:
    folder, file = cgroup
    with LeakyChild() as child:
        before = LimitReader().limit(child.pid, 0.0)
        (folder / "cgroup.procs").write_text(str(child.pid), "ascii")
        inside = LimitReader().limit(child.pid, 0.0)

    assert before.limit_bytes > LIMIT_BYTES
    assert inside.limit_bytes == LIMIT_BYTES
    assert inside.source.startswith(f"{file} of /")
    assert inside.source.endswith("/leakwatch-test")
