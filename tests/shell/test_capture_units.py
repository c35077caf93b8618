"""The files that install the capture helper: what systemd makes of them, and that they fit the programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from agent.capture_helper.main import command
from agent.evidence.options import EvidenceOptions

UNITS = Path(__file__).parent.parent.parent / "systemd"
SERVICE, SOCKET = UNITS / "leakwatch-capture.service", UNITS / "leakwatch-capture.socket"
DROP_IN, ACCOUNT = UNITS / "leakwatch-unprivileged.conf", UNITS / "leakwatch-sysusers.conf"
MAX_EXPOSURE = 1.5
"""systemd-analyze tells 1.2 of the helper (version 252; 1.0 in version 262)."""
HIDES_TARGETS = ("ProtectProc=", "ProcSubset=", "PrivateUsers=yes", "PrivatePIDs=yes")


def directives(unit: Path) -> list[str]:
    return [line for line in unit.read_text().splitlines() if re.match(r"[A-Z]\w+=", line)]


def value(unit: Path, name: str) -> str:
    (found,) = [line for line in directives(unit) if line.startswith(f"{name}=")]
    return found.partition("=")[2]


@pytest.mark.parametrize("unit", [SERVICE, SOCKET, DROP_IN], ids=lambda unit: unit.name)
def test_each_directive_has_its_reason_on_the_line_above(unit: Path) -> None:
    pairs = pairwise(unit.read_text().splitlines())

    bare = [line for above, line in pairs if re.match(r"#?[A-Z]\w+=", line) and not above.startswith("# ")]

    assert bare == []


def test_the_helper_has_one_capability_and_the_daemon_none() -> None:
    granted = [line for line in directives(SERVICE) if "Capabilit" in line]

    assert granted == ["AmbientCapabilities=CAP_SYS_PTRACE", "CapabilityBoundingSet=CAP_SYS_PTRACE"]
    assert {"AmbientCapabilities=", "CapabilityBoundingSet="} <= set(directives(DROP_IN))


def test_the_helper_reads_memory_and_cannot_write_it_or_reach_the_network() -> None:
    assert "SystemCallFilter=~process_vm_writev" in directives(SERVICE)
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(directives(SERVICE))
    assert not [line for line in directives(SERVICE) if "@debug" in line or line.startswith(HIDES_TARGETS)]


def test_a_helper_that_fails_does_not_take_its_socket_with_it() -> None:
    assert {"StartLimitIntervalSec=0", "Restart=on-failure"} <= set(directives(SERVICE))
    assert value(SERVICE, "RestartSec") == "10"  # a connection that waits starts it in a circle otherwise
    assert not [line for line in directives(SOCKET) if "Limit" in line]


def test_the_daemon_asks_where_the_socket_listens() -> None:
    assert value(SOCKET, "ListenStream") == EvidenceOptions().helper


def test_the_helper_serves_the_account_of_the_daemon_and_allows_nothing_more() -> None:
    program, *arguments = value(SERVICE, "ExecStart").split()
    options = command.make_context(Path(program).name, arguments).params

    assert Path(program).name == "leakwatch-capture"
    assert options["users"] == (value(DROP_IN, "User"),) == (value(SOCKET, "SocketGroup"),)
    assert (options["allowed"], options["more"]) == ((), ())
    assert re.findall(r"^u (\S+) - ", ACCOUNT.read_text(), re.MULTILINE) == [value(DROP_IN, "User")]


def test_nobody_but_the_daemons_group_may_connect() -> None:
    assert [value(SOCKET, name) for name in ("SocketUser", "SocketMode", "Accept")] == ["root", "0660", "no"]


def without_programs(folder: Path) -> list[str]:
    """Copy the units, with programs that exist everywhere, and return their names."""
    for unit in (SERVICE, SOCKET, UNITS / "leakwatch.service"):
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (folder / unit.name).write_text(text)
    (folder / "leakwatch.service.d").mkdir()
    shutil.copy(DROP_IN, folder / "leakwatch.service.d" / "unprivileged.conf")
    return [f"./{unit.name}" for unit in (SERVICE, SOCKET, UNITS / "leakwatch.service")]


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [tool, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    found = analyze(tmp_path, "verify", *without_programs(tmp_path))

    assert (found.returncode, [line for line in found.stderr.splitlines() if "leakwatch" in line]) == (0, [])


def test_systemd_finds_little_that_is_exposed(tmp_path: Path) -> None:
    service = without_programs(tmp_path)[0]

    told = analyze(tmp_path, "security", "--offline=true", service)

    found = re.search(r"exposure level for leakwatch-capture.service: ([\d.]+)", told.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze cannot tell: {told.stderr}")
    assert float(found[1]) <= MAX_EXPOSURE
