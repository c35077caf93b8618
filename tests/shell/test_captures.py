"""Captures of real processes into real folders."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import alert as make_alert
from children import LeakyChild, process_of

from agent.evidence.captures import Captures
from agent.evidence.folder import CaptureFolders, FolderError, Stored, to_remove
from agent.evidence.kernel.descriptors import read_fds
from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError, read_smaps
from agent.evidence.kernel.sources import Descriptors, Mappings, Standing
from agent.evidence.kernel.standing import read_standing
from agent.evidence.options import EvidenceOptions
from agent.evidence.python.sources import PythonStacks
from agent.model import Evidence, Instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.evidence.source import Source
    from agent.model import Alert, Process

NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
OPTIONS = EvidenceOptions(cooldown_s=0.0)


def without_tool() -> Path | None:
    return None


def sources(find_tool: Callable[[], Path | None]) -> tuple[Source, ...]:
    return (Mappings(), PythonStacks(find_tool), Standing(), Descriptors())


def captures(directory: Path, options: EvidenceOptions = OPTIONS) -> Captures:
    return Captures(directory, options, sources(without_tool))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def native(child: LeakyChild) -> Process:
    return process_of(child.pid, runtime="native")


def test_a_capture_is_private_and_complete(tmp_path: Path, child: LeakyChild) -> None:
    evidence = captures(tmp_path / "captures").capture(native(child), "7f3a", NOW)

    folder = Path(evidence.directory)
    assert folder == tmp_path / "captures" / "7f3a" / "001-20270115T080000Z"
    assert evidence.files == ("smaps.json", "status.json", "fds.json", "evidence.json")
    assert evidence.missing == ()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent, folder.parent.parent)} == {
        0o700
    }
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in evidence.files} == {0o600}
    summary = json.loads((folder / "evidence.json").read_text())
    assert summary["schema"] == 3
    assert summary["process"]["key"] == str(native(child).key)


def test_two_captures_tell_what_grew_between_them(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path)
    taker.capture(native(child), "7f3a", NOW)
    child.grow(60_000_000)

    evidence = taker.capture(native(child), "7f3a", LATER)

    assert [line.partition(": ")[0] for line in evidence.gist] in (["grew"], ["grew", "cgroup"])
    assert evidence.gist[0].startswith("grew: anonymous 4-64MB +60")  # the interpreter itself takes a little
    assert evidence.gist[0].endswith("MB in 12m")


def test_growth_is_told_from_the_first_capture_of_the_same_process_only(
    tmp_path: Path, child: LeakyChild
) -> None:
    taker = captures(tmp_path)
    with LeakyChild() as other:
        taker.capture(native(other), "7f3a", NOW)

    evidence = taker.capture(native(child), "7f3a", LATER)

    assert evidence.gist[0].startswith("holds: ")


def test_a_damaged_earlier_capture_does_not_harm_the_next(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path)
    first = Path(taker.capture(native(child), "x", NOW).directory)
    (first / "smaps.json").write_text('{"process": ')

    evidence = taker.capture(native(child), "x", LATER)

    assert evidence.gist[0].startswith("holds: ")
    assert evidence.missing == ()


def test_many_descriptors_and_threads_are_told(tmp_path: Path, child: LeakyChild) -> None:
    child.fds(300)
    child.threads(220)

    evidence = captures(tmp_path).capture(native(child), "x", NOW)

    assert any(line.startswith("threads: ") and line.endswith("of 221") for line in evidence.gist)
    assert any(line.startswith("descriptors: 300 device (/dev/null) of 30") for line in evidence.gist)
    status = json.loads((Path(evidence.directory) / "status.json").read_text())
    assert status["status"]["Threads"] == 221
    assert status["limits"]["Max open files"][0].isdigit()


def test_without_py_spy_the_rest_is_taken_and_the_reason_told(tmp_path: Path, child: LeakyChild) -> None:
    evidence = captures(tmp_path).capture(process_of(child.pid), "x", NOW)

    assert evidence.missing == ("py-spy: not installed (pip install py-spy)",)
    assert "smaps.json" in evidence.files


def test_an_ended_process_gives_a_sentence_and_no_folder(tmp_path: Path) -> None:
    with LeakyChild() as child:
        process = native(child)

    evidence = captures(tmp_path).capture(process, "x", NOW)

    assert evidence == Evidence("", missing=(f"process {process.key.pid} has ended",))
    assert list(tmp_path.iterdir()) == []


def test_a_zombie_has_ended(tmp_path: Path, child: LeakyChild) -> None:
    process = native(child)
    child.become_zombie()

    assert captures(tmp_path).capture(process, "x", NOW).missing == (f"process {process.key.pid} has ended",)


def test_a_pid_that_was_used_again_is_not_captured(tmp_path: Path, child: LeakyChild) -> None:
    process = native(child)
    earlier = replace(process, key=process.key._replace(start_ticks=process.key.start_ticks - 1))

    evidence = captures(tmp_path).capture(earlier, "x", NOW)

    assert evidence.missing == (f"pid {child.pid} belongs to another process now",)


def test_a_process_that_ends_mid_capture_leaves_what_was_taken(tmp_path: Path, child: LeakyChild) -> None:
    process = process_of(child.pid)

    def tool_that_arrives_too_late() -> Path | None:
        child.kill()
        return None

    taker = Captures(tmp_path, OPTIONS, sources(tool_that_arrives_too_late))
    evidence = taker.capture(process, "x", NOW)

    assert evidence.missing == (f"process {process.key.pid} has ended during the capture",)
    assert evidence.files == ("smaps.json", "evidence.json")


@pytest.mark.parametrize("read", [read_smaps, read_standing, read_fds])
def test_a_held_process_is_never_mistaken_for_the_next_one(read: object, child: LeakyChild) -> None:
    with HeldProcess(native(child).key) as held:
        child.kill()

        with pytest.raises(OSError):  # noqa: PT011 - ESRCH, or ENOENT once its folder is gone
            read(held)  # type: ignore[operator]
        with pytest.raises(ProcessGoneError, match="has ended"):
            held.check()


@pytest.mark.parametrize("planted", ["", "x"], ids=["captures", "label"])
def test_a_planted_link_is_not_followed(planted: str, tmp_path: Path, child: LeakyChild) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "captures"
    victim.mkdir()
    if planted:
        folder.mkdir()
    (folder / planted).symlink_to(victim)

    evidence = captures(folder).capture(native(child), "x", NOW)

    assert evidence.directory == ""
    assert "links are not followed" in evidence.missing[0]
    assert list(victim.iterdir()) == []


def test_a_planted_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")

    with CaptureFolders(tmp_path / "c").create("x", 0.0) as folder:
        (folder.path / "smaps.json").symlink_to(tmp_path / "victim")
        with pytest.raises(FileExistsError):
            folder.write("smaps.json", b"gone")
        (folder.path / "smaps.json").unlink()

    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("label", ["", "..", ".hidden", "a/b", "a\n", "x" * 65])
def test_a_label_cannot_leave_the_folder(label: str, tmp_path: Path, child: LeakyChild) -> None:
    evidence = captures(tmp_path / "c").capture(native(child), label, NOW)

    assert evidence.directory == ""
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path, child: LeakyChild) -> None:
    os.chown(tmp_path, 65534, 65534)

    evidence = captures(tmp_path).capture(native(child), "x", NOW)

    assert evidence.missing == (f"captures: {tmp_path} belongs to another user",)


def test_where_nothing_can_be_written_the_reason_is_told(child: LeakyChild) -> None:
    evidence = captures(Path("/proc/captures")).capture(native(child), "x", NOW)

    assert evidence.directory == ""
    assert evidence.missing[0].startswith("captures: ")


def test_within_the_cooldown_the_earlier_capture_is_given_again(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path, EvidenceOptions(cooldown_s=600.0))
    first = taker.capture(native(child), "7f3a", NOW)

    again = taker.capture(native(child), "8b1c", NOW._replace(t_s=NOW.t_s + 599))
    after = taker.capture(native(child), "8b1c", NOW._replace(t_s=NOW.t_s + 600))

    assert again.directory == first.directory
    assert again.missing == ("a newer capture: this one is 9m59s old, the next is taken after 10m",)
    assert after.directory.endswith("8b1c/001-20270115T080000Z")


def test_the_budget_keeps_the_first_and_the_newest_of_an_incident(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path, replace(OPTIONS, disk_budget_bytes=1))
    for number in range(4):
        evidence = taker.capture(native(child), "7f3a", NOW._replace(wall_s=NOW.wall_s + number))

    assert sorted(path.name[:3] for path in (tmp_path / "7f3a").iterdir()) == ["001", "004"]
    assert evidence.directory.endswith("004-20270115T080003Z")


def test_the_budget_gives_up_the_oldest_incident_and_nothing_that_is_not_a_capture(
    tmp_path: Path, child: LeakyChild
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "README").write_text("mine")
    taker = captures(tmp_path, replace(OPTIONS, disk_budget_bytes=1))
    taker.capture(native(child), "old", NOW)
    taker.capture(native(child), "new", LATER)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == [
        "new/001-20270115T081200Z",
        "old/README",
    ]
    assert (tmp_path / "notes.txt").exists()


def stored(label: str, number: int, second: int) -> Stored:
    return Stored(label, f"{number:03d}-20270115T0800{second:02d}Z", 10)


def test_middle_captures_go_before_whole_incidents_and_the_current_one_stays() -> None:
    old = [stored("a", number, number) for number in (1, 2, 3)]
    other = [stored("b", 1, 20)]
    current = [stored("c", number, 30 + number) for number in (1, 2, 10)]
    everything = [*current, *other, *old]

    assert to_remove(everything, 70, "c") == []
    assert to_remove(everything, 69, "c") == [old[1]]
    assert to_remove(everything, 50, "c") == [old[1], current[1]]
    assert to_remove(everything, 49, "c") == [old[1], current[1], old[0], old[2]]
    assert to_remove(everything, 0, "c") == [old[1], current[1], old[0], old[2], other[0]]


def test_a_full_disk_is_refused_with_a_sentence(tmp_path: Path) -> None:
    folders = CaptureFolders(tmp_path, least_free_bytes=1 << 62)

    with pytest.raises(FolderError, match="must stay free"), folders.create("x", 0.0):
        pass


def page(summary: dict[str, Any], alert: Alert | None) -> bytes:
    return f"{summary['process']['key']} {alert.service if alert else '-'}".encode()


def broken_page(*_: object) -> bytes:
    raise ValueError("no such thing\nhere")


def test_the_page_is_made_last_and_lies_beside_the_files(tmp_path: Path, child: LeakyChild) -> None:
    taker = Captures(tmp_path, OPTIONS, sources(without_tool), page)

    evidence = taker.capture(native(child), "7f3a", NOW, alert=make_alert(service="api"))

    assert evidence.files == ("report.html", "smaps.json", "status.json", "fds.json", "evidence.json")
    assert (Path(evidence.directory) / "report.html").read_text() == f"{native(child).key} api"


def test_a_page_that_cannot_be_made_costs_a_sentence_and_not_the_capture(
    tmp_path: Path, child: LeakyChild
) -> None:
    evidence = Captures(tmp_path, OPTIONS, sources(without_tool), broken_page).capture(
        native(child), "7f3a", NOW
    )

    assert evidence.missing == ("report: no such thing\\x0ahere",)
    assert evidence.files == ("smaps.json", "status.json", "fds.json", "evidence.json")
