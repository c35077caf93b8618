"""`leakwatch dump`, as a person calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from agent.cli.dump import NO_SUCH_PROCESS, NOTHING_TAKEN, command

if TYPE_CHECKING:
    from children import LeakyChild

PID_LIMIT = int(Path("/proc/sys/kernel/pid_max").read_text("ascii"))


def test_a_person_sees_where_the_memory_is_and_where_the_files_are(child: LeakyChild, tmp_path: Path) -> None:
    child.grow(80_000_000)

    result = CliRunner().invoke(command, [str(child.pid), "--output", str(tmp_path)])

    assert result.exit_code == 0
    assert f"(pid {child.pid}, python, user " in result.output
    assert "holds: anonymous >64MB 80" in result.output
    assert f"files in {tmp_path}/{child.pid}-" in result.output


def test_a_second_dump_tells_what_grew(child: LeakyChild, tmp_path: Path) -> None:
    arguments = [str(child.pid), "--output", str(tmp_path)]
    CliRunner().invoke(command, arguments)
    child.grow(80_000_000)

    assert "grew: anonymous >64MB +80" in CliRunner().invoke(command, arguments).output


def test_the_files_lie_in_the_state_directory_by_default(child: LeakyChild, tmp_path: Path) -> None:
    environment = {"STATE_DIRECTORY": str(tmp_path / "state")}

    result = CliRunner().invoke(command, [str(child.pid)], env=environment)

    assert result.exit_code == 0
    assert list((tmp_path / "state" / "dumps").glob("*/001-*/smaps.json"))


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_dumps_of_another_user_are_told_with_the_way_out(child: LeakyChild, tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    program = f"""
import os
from agent.cli.dump import command  # before: the interpreter may lie in a private folder
os.chmod({str(dumps)!r}, 0o711)
os.chown({str(tmp_path)!r}, 65534, 65534)
os.setgid(65534); os.setuid(65534)
command(["{child.pid}"])
"""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    asked = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "STATE_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert asked.returncode == NOTHING_TAKEN
    assert f"{dumps} belongs to root: become that user; or give --output" in asked.stderr


def test_no_such_process_is_exit_code_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(PID_LIMIT + 1), "--output", str(tmp_path)])

    assert result.exit_code == NO_SUCH_PROCESS
    assert "no such process" in result.output


def test_nothing_taken_is_exit_code_1(child: LeakyChild) -> None:
    result = CliRunner().invoke(command, [str(child.pid), "--output", "/proc/nowhere"])

    assert result.exit_code == NOTHING_TAKEN
    assert "missing: captures: " in result.output


def test_an_unusable_state_directory_is_told_with_the_way_out(child: LeakyChild) -> None:
    result = CliRunner().invoke(command, [str(child.pid)], env={"STATE_DIRECTORY": "/proc/nowhere"})

    assert result.exit_code == NOTHING_TAKEN
    assert "or give --output" in result.output
