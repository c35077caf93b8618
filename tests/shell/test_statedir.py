"""Where the state lies, and that only one instance has it."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.statedir import LOCK_NAME, InstanceLock, StateError, choose, create

HOLDER = """
import sys
from pathlib import Path
from agent.statedir import InstanceLock

with InstanceLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("configured", "environ", "uid", "expected"),
    [
        ("/srv/state", {"STATE_DIRECTORY": "/a"}, 0, "/srv/state"),
        (None, {"STATE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "/x"}, 0, "/a"),
        (None, {"XDG_STATE_HOME": "/x"}, 0, "/x/leakwatch"),
        (None, {"XDG_STATE_HOME": "x", "HOME": "/home/u"}, 7, "/home/u/.local/state/leakwatch"),
        (None, {"HOME": "/home/u"}, 7, "/home/u/.local/state/leakwatch"),
        (None, {"HOME": "/root"}, 0, "/var/lib/leakwatch"),
        ("", {"HOME": "/home/u"}, 7, "/home/u/.local/state/leakwatch"),
    ],
)
def test_the_first_that_is_told_is_chosen(
    configured: str | None, environ: dict[str, str], uid: int, expected: str
) -> None:
    assert choose(configured, environ, uid) == Path(expected)


def test_without_a_home_the_way_out_is_told() -> None:
    unknown = max(entry.pw_uid for entry in pwd.getpwall()) + 1

    with pytest.raises(StateError, match="has no home directory; set state_dir or STATE_DIRECTORY"):
        choose(None, {}, unknown)


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    create(tmp_path / "a" / "b")
    create(tmp_path / "a" / "b")

    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_directory_where_everybody_writes_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    with pytest.raises(StateError, match="everybody may write there"):
        create(tmp_path)


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/leakwatch")):
        with pytest.raises(StateError, match=f"state directory {path}: "):
            create(path)


def test_a_second_instance_is_told_who_has_the_directory(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(StateError, match=rf"another leakwatch \(pid {holder.pid}\) uses {tmp_path}"):
            InstanceLock(tmp_path).acquire()
        holder.kill()
        holder.wait()

        with InstanceLock(tmp_path):  # a lock dies with its holder
            assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    lock.acquire()
    lock.release()
    lock.release()

    with InstanceLock(tmp_path):
        assert stat.S_IMODE((tmp_path / LOCK_NAME).stat().st_mode) == 0o600


def test_children_do_not_hold_the_lock_for_us(tmp_path: Path) -> None:
    with InstanceLock(tmp_path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)

    with child, InstanceLock(tmp_path):
        pass


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "victim")

    with pytest.raises(StateError, match="lock "):
        InstanceLock(tmp_path).acquire()

    assert (tmp_path / "victim").read_text() == "precious"
