"""The limit that kills a process is found in every layout of cgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.model import Limit
from agent.watch.cgroups import LimitReader, is_below, parse_limit, parse_mem_total, parse_mounts

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
MIB = 2**20
HOST = Limit(24 * GIB, "host MemTotal")
UNLIMITED_V1 = "9223372036854771712"
V2 = "30 23 0:28 {root} {point} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 {root} {point} rw,relatime - cgroup cgroup rw,memory"


class Tree:
    """A made-up /proc and /sys/fs/cgroup; the process has pid 7."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroup = root / "proc", root / "cgroup"
        self.write(self.proc / "meminfo", f"MemTotal:       {24 * MIB} kB\nMemFree: 1 kB\n")

    def mounts(self, *lines: str) -> None:
        """Say what is mounted here; lines give root and point relative to the cgroup folder."""
        self.write(
            self.proc / "self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/root rw\n" + "\n".join(lines) + "\n"
        )

    def v2(self, root: str = "/", below: str = "") -> str:
        return V2.format(root=root, point=f"{self.cgroup}{below}")

    def v1(self, root: str = "/") -> str:
        return V1.format(root=root, point=f"{self.cgroup}/memory")

    def process(self, cgroup: str, pid: int = 7) -> None:
        self.write(self.proc / f"{pid}/cgroup", cgroup)

    def limits(self, files: dict[str, str]) -> None:
        for file, text in files.items():
            self.write(self.cgroup / file, f"{text}\n")

    def limit(self, pid: int = 7) -> Limit:
        return LimitReader(self.proc, self.cgroup).limit(pid, 0.0)

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_v2_takes_the_smallest_of_max_and_high_up_the_ancestry(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/system.slice/api.service\n")
    tree.limits(
        {
            "system.slice/api.service/memory.max": str(2 * GIB),
            "system.slice/api.service/memory.high": "max",
            "system.slice/memory.max": "max",
            "system.slice/memory.high": str(GIB),
        }
    )

    assert tree.limit() == Limit(GIB, "memory.high of /system.slice")


def test_v2_without_limits_is_the_host(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/a\n")
    tree.limits({"a/memory.max": "max", "a/memory.high": "max"})

    assert tree.limit() == HOST


def test_a_limit_above_the_host_is_the_host(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/a\n")
    tree.limits({"a/memory.max": str(99 * GIB)})

    assert tree.limit() == HOST


def test_v1_takes_the_smallest_up_the_ancestry(tree: Tree) -> None:
    tree.mounts(tree.v1())
    tree.process("4:memory:/docker/abc\n1:name=systemd:/docker/abc\n")
    tree.limits(
        {
            "memory/memory.limit_in_bytes": UNLIMITED_V1,
            "memory/docker/memory.limit_in_bytes": str(512 * MIB),
            "memory/docker/abc/memory.limit_in_bytes": UNLIMITED_V1,
        }
    )

    assert tree.limit() == Limit(512 * MIB, "memory.limit_in_bytes of /docker")


def test_on_a_hybrid_host_the_hierarchy_with_the_controller_counts(tree: Tree) -> None:
    tree.mounts(tree.v1(), tree.v2(below="/unified"))
    tree.process("4:memory:/jobs\n1:name=systemd:/\n0::/\n")
    tree.limits({"memory/jobs/memory.limit_in_bytes": str(GIB), "unified/cgroup.procs": ""})

    assert tree.limit() == Limit(GIB, "memory.limit_in_bytes of /jobs")


def test_inside_a_container_the_root_holds_its_limit(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/\n")
    tree.limits({"memory.max": str(300 * MIB), "memory.high": "max"})

    assert tree.limit() == Limit(300 * MIB, "memory.max of /")


def test_a_mount_of_a_part_of_the_hierarchy_is_followed(tree: Tree) -> None:
    tree.mounts(tree.v1(root="/docker/abc"))
    tree.process("4:memory:/docker/abc/inner\n")
    tree.limits(
        {"memory/memory.limit_in_bytes": str(GIB), "memory/inner/memory.limit_in_bytes": str(GIB // 2)}
    )

    assert tree.limit() == Limit(GIB // 2, "memory.limit_in_bytes of /docker/abc/inner")


def test_a_path_that_is_not_there_leaves_what_is_visible_above_it(tree: Tree) -> None:
    tree.mounts(tree.v1())
    tree.process("4:memory:/docker/abc\n")
    tree.limits({"memory/memory.limit_in_bytes": str(GIB)})

    assert tree.limit() == Limit(GIB, "memory.limit_in_bytes of /")


def test_our_own_limit_is_not_taken_for_that_of_a_neighbour(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/../neighbour\n")
    tree.limits({"memory.max": str(64 * MIB)})

    assert tree.limit() == HOST


def test_a_neighbour_of_a_pod_is_read_through_its_own_root(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/../neighbour\n")
    tree.limits({"memory.max": str(64 * MIB)})
    for name, namespace in (("7", "mnt:[2]"), ("self", "mnt:[1]")):
        (tree.proc / name / "ns").mkdir(parents=True)
        (tree.proc / name / "ns/mnt").symlink_to(namespace)
    tree.write(tree.proc / "7/root/sys/fs/cgroup/memory.max", f"{GIB}\n")

    assert tree.limit() == Limit(GIB, "memory.max of its container")


def test_a_path_with_a_similar_beginning_is_no_descendant(tree: Tree) -> None:
    tree.mounts(tree.v1(root="/docker/ab"))
    tree.process("4:memory:/docker/abc\n")
    tree.limits({"memory/memory.limit_in_bytes": str(GIB)})

    assert tree.limit() == HOST
    assert is_below("/a/b", "/a")
    assert not is_below("/ab", "/a")


def test_mount_points_with_spaces_are_read(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "a b")
    tree.mounts(tree.v2().replace(" b/", "\\040b/"))
    tree.process("0::/x\n")
    tree.limits({"x/memory.max": str(GIB)})

    assert tree.limit() == Limit(GIB, "memory.max of /x")


def test_a_process_that_has_gone_has_the_hosts_limit(tree: Tree) -> None:
    tree.mounts(tree.v2())

    assert tree.limit(pid=99) == HOST


def test_nothing_readable_at_all_is_still_a_limit(tmp_path: Path) -> None:
    limit = LimitReader(tmp_path / "nowhere", tmp_path / "nowhere").limit(1, 0.0)

    assert limit.source == "host MemTotal"
    assert limit.limit_bytes > 0


def test_a_limit_is_read_again_after_a_minute(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.process("0::/a\n")
    tree.limits({"a/memory.max": str(GIB)})
    reader = LimitReader(tree.proc, tree.cgroup)
    seen = [reader.limit(7, 100.0).limit_bytes]
    tree.limits({"a/memory.max": str(2 * GIB)})
    seen += [reader.limit(7, t_s).limit_bytes for t_s in (159.9, 160.0)]

    assert seen == [GIB, GIB, 2 * GIB]


def test_a_process_that_moves_has_the_limit_of_its_new_cgroup_at_once(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.limits({"a/memory.max": str(GIB), "b/memory.max": str(2 * GIB)})
    reader = LimitReader(tree.proc, tree.cgroup)
    tree.process("0::/a\n")
    before = reader.limit(7, 0.0)
    tree.process("0::/b\n")

    assert (before.limit_bytes, reader.limit(7, 1.0).limit_bytes) == (GIB, 2 * GIB)


def test_thousands_of_cgroups_leave_a_bounded_cache(tree: Tree) -> None:
    tree.mounts(tree.v2())
    tree.limits({"memory.max": str(GIB)})
    reader = LimitReader(tree.proc, tree.cgroup)
    for n in range(1100):
        tree.process(f"0::/job-{n}\n")
        reader.limit(7, n / 1000)

    assert len(reader._cache) <= 1024  # noqa: SLF001 - the agent must not leak itself


@pytest.mark.parametrize(
    ("text", "limit"),
    [("max\n", None), ("1024\n", 1024), ("0\n", None), ("", None), ("-1", None), ("²", None)],
)
def test_what_is_no_limit_is_none(text: str, limit: int | None) -> None:
    assert parse_limit(text) == limit


def test_broken_files_give_nothing() -> None:
    assert parse_mounts("nonsense\n1 2 3 - cgroup2\n\n") == []
    assert parse_mem_total("MemFree: 3 kB\n") is None
