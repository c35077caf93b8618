"""Real processes are found, named and selected; made-up ones show what is hard to provoke."""

from __future__ import annotations

import os
import pwd
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from children import LeakyChild, process_of

from agent.model import Process, ProcessKey
from agent.watch.discovery import Discovery
from agent.watch.options import DiscoverOptions, Match, WatchEntry
from agent.watch.ports import MAX_DESCRIPTORS, listening_ports

if TYPE_CHECKING:
    from collections.abc import Iterable

MB = 1_000_000
ENTRIES_ONLY = DiscoverOptions(enabled=False)


KERNEL_THREADS = {p.pid for p in psutil.process_iter(["ppid"]) if 2 in (p.pid, p.info["ppid"])}
"""Children of kthreadd; empty in a container."""


def found(pid: int, discovery: Discovery | None = None) -> Process:
    return next(p for p in (discovery or Discovery()).processes() if p.key.pid == pid)


def selected(**match: Any) -> set[int]:
    entry = WatchEntry("it", Match(**match))
    return pids(Discovery().scan([entry], ENTRIES_ONLY, ()).targets)


def pids(targets: Iterable[Any]) -> set[int]:
    return {target.process.key.pid for target in targets}


def test_a_process_is_described() -> None:
    with LeakyChild("--tenant", "acme") as child:
        seen = found(child.pid)
        expected = process_of(child.pid)

    assert (seen.key, seen.name, seen.started_t_s) == (expected.key, expected.name, expected.started_t_s)
    assert seen.command.endswith("leaky_child.py --tenant acme")
    assert os.path.basename(seen.exe).startswith("python")  # noqa: PTH119 - a text
    assert (seen.runtime, seen.parent_pid) == ("python", os.getpid())
    assert seen.user == pwd.getpwuid(os.geteuid()).pw_name
    assert seen.cgroup.startswith("/")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a) S 1 (b", "a) S 1 (b"),
        (b"two\nlines", "two\\x0alines"),
        (b"\xff\xfe caf\xc3\xa9", "\\xff\\xfe café"),
        (b") 0 0 0 0", ") 0 0 0 0"),
    ],
    ids=["parentheses", "newline", "invalid UTF-8", "like the fields after it"],
)
def test_hostile_names_are_read_and_made_safe(name: bytes, shown: str) -> None:
    with LeakyChild() as child:
        child.rename(name)
        seen = found(child.pid)

        assert seen.name == shown
        assert seen.key.start_ticks == process_of(child.pid).key.start_ticks


def test_a_command_line_of_4_kb_with_any_bytes_is_one_safe_line() -> None:
    with LeakyChild(b"\xff\n" + b"x" * 4096, "--last=word") as child:
        seen = found(child.pid)
        taken = selected(command=r"--last=word$", pid=child.pid)

    assert "\\xff\\x0axxx" in seen.command
    assert len(seen.command) <= 512
    assert taken == {child.pid}


def test_a_new_name_is_seen_by_the_next_scan() -> None:
    discovery = Discovery()
    with LeakyChild() as child:
        for _ in range(3):
            found(child.pid, discovery)
        child.rename(b"renamed")

        assert found(child.pid, discovery).name == "renamed"


def test_kernel_threads_and_zombies_are_no_processes() -> None:
    with LeakyChild() as child:
        child.become_zombie()
        seen = {process.key.pid for process in Discovery().processes()}

    assert child.pid not in seen
    assert KERNEL_THREADS.isdisjoint(seen)
    assert os.getpid() in seen


def test_what_is_known_of_a_process_goes_with_it() -> None:
    discovery = Discovery()
    with LeakyChild() as child:
        key = found(child.pid, discovery).key
        assert key in discovery._known  # noqa: SLF001 - the agent must not leak itself
    discovery.processes()

    assert key not in discovery._known  # noqa: SLF001


def test_a_real_process_is_selected_by_every_key(tmp_path: Path) -> None:
    (tmp_path / "it.pid").write_text("")
    with LeakyChild("--tenant", tmp_path.name) as child, LeakyChild() as other:
        (tmp_path / "it.pid").write_text(f" {child.pid}\n")
        seen = found(child.pid)
        by = {
            "pid": selected(pid=child.pid),
            "pidfile": selected(pidfile=str(tmp_path / "it.pid")),
            "exe": selected(exe=seen.exe),
            "command": selected(command=f"tenant {tmp_path.name}$"),
            "user": selected(user=seen.user, pid=child.pid),
            "uid": selected(user=str(os.geteuid()), pid=child.pid),
            "cgroup": selected(cgroup=seen.cgroup, pid=child.pid),
        }

    assert by.pop("exe") >= {child.pid, other.pid}
    assert by == {key: {child.pid} for key in by}


@pytest.mark.parametrize("text", ["", "no number", "99999999999999999999", "-7"])
def test_a_pidfile_without_a_pid_selects_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.pid").write_text(text)

    assert selected(pidfile=str(tmp_path / "it.pid")) == set()


def test_a_pipe_in_the_place_of_a_pidfile_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it.pid")

    assert selected(pidfile=str(tmp_path / "it.pid")) == set()


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
    ids=["IPv4", "IPv6"],
)
def test_every_holder_of_the_listening_socket_is_selected_by_port(
    family: socket.AddressFamily, address: str
) -> None:
    try:
        listening = socket.create_server((address, 0), family=family)
    except OSError as error:
        pytest.skip(f"no such address here: {error}")
    with listening, LeakyChild(pass_fds=[listening.fileno()]) as worker, LeakyChild() as stranger:
        seen = selected(port=listening.getsockname()[1])

    assert seen == {os.getpid(), worker.pid}
    assert stranger.pid not in seen


def test_a_socket_that_is_only_connected_is_not_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert selected(port=client.getsockname()[1]) == set()


CROWDED = """
import os, resource, socket, sys
count = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
kept = [os.dup(1) for _ in range(count)]
late = socket.create_server(("127.0.0.1", 0))
print(late.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < MAX_DESCRIPTORS + 100, reason="too few may be open"
)
@pytest.mark.parametrize(("before", "seen"), [(100, True), (MAX_DESCRIPTORS, False)])
def test_of_very_many_descriptors_the_first_are_looked_at(before: int, *, seen: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CROWDED, str(before)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        found = listening_ports(Path("/proc"), [child.pid], {port})
        child.kill()

    assert found == ({child.pid: frozenset({port})} if seen else {})


def test_children_of_children_are_taken() -> None:
    with LeakyChild() as child:
        forked = child.fork()
        entry = WatchEntry("it", Match(pid=child.pid), children=True)
        seen = pids(Discovery().scan([entry], ENTRIES_ONLY, ()).targets)

    assert seen == {child.pid, forked}


def test_discovery_finds_a_large_process_and_keeps_it_when_it_shrinks() -> None:
    discovery, options = Discovery(), DiscoverOptions(min_rss_bytes=100 * MB)
    with LeakyChild() as child:
        small = pids(discovery.scan([], options, ()).targets)
        child.grow(110 * MB)
        large = discovery.scan([], options, ())
        child.free()
        kept = discovery.scan([], options, [target.process.key for target in large.targets])
        forgotten = discovery.scan([], options, ())

    assert child.pid not in small
    assert (child.pid, "leaky_child") in {(t.process.key.pid, t.service) for t in large.targets}
    assert child.pid in pids(kept.targets)
    assert child.pid not in pids(forgotten.targets)


def test_we_never_discover_ourselves() -> None:
    options = DiscoverOptions(min_rss_bytes=1)

    assert os.getpid() not in pids(Discovery().scan([], options, ()).targets)


class Tree:
    """A made-up /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def process(
        self, pid: int, *, start: int = 1000, comm: str = "api", flags: int = 0, **files: str
    ) -> None:
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        stat = f"{pid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 1 1 0 0 20 0 1 0 {start} 9 20000 0\n"
        known = {"cmdline": "api\0--x\0", "status": "Uid:\t0\t0\t0\t0\n", "cgroup": "0::/\n"}
        for name, text in (known | {"stat": stat, "status": "Name:\tx\nUid:\t0\t0\t0\t0\n"} | files).items():
            (folder / name).write_text(text)

    def keys(self, discovery: Discovery) -> list[tuple[int, int]]:
        return [(p.key.pid, p.key.start_ticks) for p in discovery.processes()]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_used_pid_is_a_new_process(tree: Tree) -> None:
    discovery = Discovery(tree.root)
    tree.process(7, start=1000, cmdline="old\0")
    before = discovery.scan([WatchEntry("it", Match(pid=7))], ENTRIES_ONLY, ())
    tree.process(7, start=2000, cmdline="new\0")
    after = discovery.scan([WatchEntry("it", Match(pid=7))], ENTRIES_ONLY, ())

    assert [t.process.key.start_ticks for t in (*before.targets, *after.targets)] == [1000, 2000]
    assert [t.process.command for t in (*before.targets, *after.targets)] == ["old", "new"]


def test_an_exec_shows_in_the_scan_after_the_first_and_when_the_name_changes(tree: Tree) -> None:
    discovery = Discovery(tree.root)
    commands = []
    for comm, cmdline in (("sh", "sh\0"), ("sh", "sh\0-x\0"), ("sh", "sh\0ignored\0"), ("api", "api\0")):
        tree.process(7, comm=comm, cmdline=cmdline)
        commands.append(discovery.processes()[0].command)

    assert commands == ["sh", "sh -x", "sh -x", "api"]


@pytest.mark.parametrize(("started_s", "again"), [(900, False), (935, False), (945, True), (1000, True)])
def test_what_has_run_for_a_minute_is_read_once(tree: Tree, started_s: int, *, again: bool) -> None:
    discovery, ticks = Discovery(tree.root), os.sysconf("SC_CLK_TCK")
    (tree.root / "uptime").write_text("1000.00 12.34\n")
    commands = []
    for cmdline in ("sh\0", "sh\0-x\0"):
        tree.process(7, start=started_s * ticks, cmdline=cmdline)
        commands.append(discovery.processes()[0].command)

    assert commands == ["sh", "sh -x" if again else "sh"]


def test_of_very_many_that_started_at_once_some_are_looked_at_again_in_each_scan(tree: Tree) -> None:
    discovery, told = Discovery(tree.root), []
    for cmdline in ("old\0", "new\0", "newer\0", "newest\0"):
        for pid in range(1, 1201):
            tree.process(pid, cmdline=cmdline)
        told.append([one.command for one in discovery.processes()])

    assert [commands.count("old") for commands in told] == [1200, 700, 200, 0]
    assert told[-1].count("new") == told[-1].count("newer") == 500


def test_a_scan_pauses_between_two_pieces(tree: Tree) -> None:
    pauses = []
    for pid in range(1, 201):
        tree.process(pid)

    Discovery(tree.root, pause=lambda: pauses.append(1)).processes()

    assert len(pauses) == 2 * 4


def test_a_new_parent_is_seen_though_nothing_else_is_read_again(tree: Tree) -> None:
    discovery = Discovery(tree.root)
    tree.process(7)
    for _ in range(2):
        discovery.processes()
    stat = (tree.root / "7/stat").read_text()
    (tree.root / "7/stat").write_text(stat.replace(" S 1 ", " S 42 "))

    assert [p.parent_pid for p in discovery.processes()] == [42]


def test_what_vanishes_while_it_is_read_is_left_out(tree: Tree) -> None:
    tree.process(7)
    tree.process(8)
    (tree.root / "9").mkdir()
    (tree.root / "8/status").unlink()

    assert tree.keys(Discovery(tree.root)) == [(7, 1000)]


def test_kernel_threads_of_any_pid_are_skipped(tree: Tree) -> None:
    tree.process(7)
    tree.process(8, flags=0x00200040, cmdline="")

    assert tree.keys(Discovery(tree.root)) == [(7, 1000)]


def test_a_program_without_a_command_line_is_shown_by_its_name(tree: Tree) -> None:
    tree.process(7, cmdline="")

    assert Discovery(tree.root).processes()[0].command == "[api]"


def test_a_secret_of_a_command_line_is_told_only_where_that_is_wanted_and_matched_all_the_same(
    tree: Tree,
) -> None:
    tree.process(7, cmdline="api\0--password\0hunter2\0http://me:hunter2@db/\0-v\0")
    entry = WatchEntry("it", Match(command="--password hunter2 http"))
    (target,) = Discovery(tree.root).scan([entry], ENTRIES_ONLY, ()).targets

    assert target.process.command == "api --password <hidden> http://<hidden>@db/ -v"
    whole = Discovery(tree.root, as_they_are=True).processes()[0].command
    assert whole == "api --password hunter2 http://me:hunter2@db/ -v"


def test_a_replaced_executable_keeps_its_path(tree: Tree) -> None:
    tree.process(7)
    (tree.root / "7/exe").symlink_to("/usr/bin/node (deleted)")
    (seen,) = Discovery(tree.root).processes()

    assert (seen.exe, seen.runtime) == ("/usr/bin/node", "node")


def test_a_unit_is_found_and_names_the_service(tree: Tree) -> None:
    tree.process(7, cgroup="0::/system.slice/shop.service\n")
    (by_entry,) = Discovery(tree.root).scan([WatchEntry("it", Match(unit="shop"))], ENTRIES_ONLY, ()).targets
    (discovered,) = Discovery(tree.root).scan([], DiscoverOptions(min_rss_bytes=1), ()).targets

    assert (by_entry.service, discovered.service) == ("it", "shop")


def test_a_user_without_a_name_is_a_number(tree: Tree) -> None:
    tree.process(7, status="Name:\tx\nUid:\t64123\t64123\t0\t0\n")

    assert Discovery(tree.root).processes()[0].user == "64123"


def test_the_keys_of_one_boot_differ_from_those_of_another(tree: Tree) -> None:
    (tree.root / "sys/kernel/random").mkdir(parents=True)
    (tree.root / "sys/kernel/random/boot_id").write_text("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n")
    tree.process(7)

    assert Discovery(tree.root).processes()[0].key == ProcessKey(7, 1000, "0f1e2d3c")


DENIED = """
import os
from pathlib import Path
from agent.watch.discovery import Discovery
from agent.watch.options import DiscoverOptions
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
seen = Discovery(Path()).scan([], DiscoverOptions(min_rss_bytes=1), ())
print([t.process.key.pid for t in seen.targets], seen.denied)
"""


def test_processes_of_which_nothing_may_be_read_are_told(tree: Tree) -> None:
    tree.process(7)
    tree.process(8)
    tree.root.chmod(0o755)
    (tree.root / "8/stat").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", DENIED],
        cwd=tree.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.stderr, done.stdout.strip()) == ("", "[7] (8,)")


def test_children_are_counted_with_those_that_nobody_waited_for() -> None:
    discovery, entry = Discovery(), WatchEntry("it", Match(pid=os.getpid()))

    def counted() -> int | None:
        (target,) = discovery.scan([entry], ENTRIES_ONLY, ()).targets
        return target.children

    before = counted()
    assert before is not None
    with LeakyChild() as child, LeakyChild() as other:
        assert counted() == before + 2
        child.become_zombie()
        other.fork()
        assert counted() == before + 2
    assert counted() == before
