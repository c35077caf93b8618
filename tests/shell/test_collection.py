"""What a full collection proves, and who is asked for one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from children import LeakyChild, process_of
from incident_samples import opened

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.collection import Collected, Grown, ProofByCollection, choose, disproves, verdict
from agent.evidence.kernel.procfs import HeldProcess, parse_status
from agent.evidence.kernel.sources import Standing
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import SourceError
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Alert, Evidence, Process

FIRST = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
ALLOWED = Consent(collect=True)


@dataclass(frozen=True, slots=True)
class Made:
    """A collector that suits by name alone."""

    name: str
    suited: bool = True
    why: str = ""

    def suits(self, process: Process, consent: Consent) -> bool:
        del process, consent
        return self.suited

    def why_not(self, process: Process, held: HeldProcess) -> str:
        del process, held
        return self.why

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        raise SourceError(f"{self.name}: no answer of {held.key.pid} within {timeout_s:g}s")


@dataclass(frozen=True, slots=True)
class Freeing:
    """Collects a child of ours: all that it has grown is given back, unless it is kept."""

    child: LeakyChild
    keeps: bool = False
    name: str = "free"

    def suits(self, process: Process, consent: Consent) -> bool:
        del consent
        return process.key.pid == self.child.pid

    def why_not(self, process: Process, held: HeldProcess) -> str:
        del process, held
        return ""

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        del timeout_s
        before_bytes = anonymous_bytes(held)
        if not self.keeps:
            self.child.free()
        return Collected(before_bytes, anonymous_bytes(held))


def anonymous_bytes(held: HeldProcess) -> int:
    return int(parse_status(held.read("status"))["RssAnon_bytes"])


@pytest.fixture
def process() -> Process:
    return process_of(os.getpid())


@pytest.fixture
def held(process: Process) -> Iterator[HeldProcess]:
    with HeldProcess(process.key) as one:
        yield one


def capture_twice(child: LeakyChild, collector: Freeing | Made, directory: Path) -> Evidence:
    """Return the second capture, after 80 MB of growth."""
    options = EvidenceOptions(cooldown_s=0.0)
    captures = Captures(directory, options, (Standing(), ProofByCollection((collector,))))
    captures.capture(process_of(child.pid), "7f3a", FIRST)
    child.grow(80_000_000)
    return captures.capture(process_of(child.pid), "7f3a", LATER, consent=ALLOWED)


@pytest.mark.parametrize(
    ("found", "grown", "told"),
    [
        (
            Collected(340_000_000, 328_000_000),
            None,
            "a full collection took back 12MB of 340MB: what is left is still referred to",
        ),
        (
            Collected(340_000_000, 328_000_000),
            Grown(60_000_000, 720.0),
            (
                "a full collection took back 12MB of 340MB, 20% of the 60MB grown in 12m: "
                "what is left is still referred to"
            ),
        ),
        (
            Collected(340_000_000, 283_000_000),
            Grown(60_000_000, 720.0),
            "a full collection took back 95% of the 60MB grown in 12m: a lazy collector, not a leak",
        ),
        (
            Collected(340_000_000, 100_000_000),
            Grown(60_000_000, 720.0),
            "a full collection took back 100% of the 60MB grown in 12m: a lazy collector, not a leak",
        ),
        (
            Collected(340_000_000, 341_000_000),
            Grown(60_000_000, 720.0),
            (
                "a full collection took back 0B of 340MB, 0% of the 60MB grown in 12m: "
                "what is left is still referred to"
            ),
        ),
        (
            Collected(340_000_000, 328_000_000),
            Grown(500_000, 720.0),
            "a full collection took back 12MB of 340MB: what is left is still referred to",
        ),
        (
            Collected(340_000_000, 191_000_000),
            Grown(60_000_000, 720.0, heap_bytes=180_000_000),
            "a full collection took back 100% of the 60MB grown in 12m: a lazy collector, not a leak",
        ),
        (
            Collected(340_000_000, 240_000_000),
            Grown(60_000_000, 720.0, heap_bytes=180_000_000),
            (
                "a full collection took back 100MB of 340MB: "
                "it leaves 60MB more than there was before it grew, still referred to"
            ),
        ),
        (
            Collected(340_000_000, 240_000_000),
            Grown(60_000_000, 720.0, unfit="what grew lies outside of the runtime's heap"),
            ("a full collection took back 100MB of 340MB, but what grew lies outside of the runtime's heap"),
        ),
    ],
    ids=[
        "unknown growth",
        "a leak",
        "a lazy collector",
        "more than grew",
        "nothing",
        "hardly grown",
        "down to what there was",
        "garbage beside a leak",
        "outside of the heap",
    ],
)
def test_a_rise_that_a_collection_takes_back_is_no_leak(
    found: Collected, grown: Grown | None, told: str
) -> None:
    assert verdict(found, grown) == told
    assert disproves(found, grown) == told.endswith("not a leak")
    assert len(told) <= 140


def test_the_first_that_works_is_asked(process: Process, held: HeldProcess) -> None:
    offered = (Made("other runtime", suited=False), Made("attach", why="needs its user"), Made("jcmd"))

    assert choose(offered, process, held, Consent()).name == "jcmd"


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        ((), "collection: nobody can ask this runtime for a collection"),
        ((Made("x", suited=False, why="n"),), "collection: nobody can ask this runtime for a collection"),
        ((Made("attach", why="needs its user"),), "collection: needs its user"),
    ],
)
def test_why_nobody_can_be_asked_is_told(
    process: Process, held: HeldProcess, offered: tuple[Made, ...], why: str
) -> None:
    with pytest.raises(SourceError, match=f"^{why}$"):
        choose(offered, process, held, Consent())


def test_the_proof_is_taken_only_where_the_entry_allows_a_collection(process: Process) -> None:
    proof = ProofByCollection((Made("jcmd"),))

    assert not proof.suits(process, Consent())
    assert proof.suits(process, Consent(collect=True))
    assert not ProofByCollection(()).suits(process, Consent(collect=True))


def test_why_the_proof_will_not_work_is_told_beforehand(process: Process, held: HeldProcess) -> None:
    assert ProofByCollection((Made("jcmd"),)).why_not(process, held) == ""
    assert ProofByCollection((Made("jcmd", why="needs its user"),)).why_not(process, held) == "needs its user"


def test_a_capture_says_that_what_grew_was_only_not_collected(child: LeakyChild, tmp_path: Path) -> None:
    evidence = capture_twice(child, Freeing(child), tmp_path)

    assert evidence.gist[0].startswith("a full collection took back 100% of the 80")
    assert evidence.gist[0].endswith("MB grown in 12m: a lazy collector, not a leak")
    assert evidence.disproof == evidence.gist[0]
    assert (
        json.loads((Path(evidence.directory) / "evidence.json").read_text())["disproof"] == evidence.disproof
    )
    told = json.loads((Path(evidence.directory) / "collection.json").read_text())
    assert told["by"] == "free"
    assert told["verdict"] == evidence.gist[0]
    assert told["before_bytes"] - told["after_bytes"] >= 80_000_000


def test_a_capture_says_that_what_grew_is_still_referred_to(child: LeakyChild, tmp_path: Path) -> None:
    evidence = capture_twice(child, Freeing(child, keeps=True), tmp_path)

    assert "0% of the 80" in evidence.gist[0]
    assert evidence.gist[0].endswith("what is left is still referred to")
    assert evidence.disproof == ""


def alert_of(growth: float, **changes: Any) -> Alert:
    _, change = opened(t_s=FIRST.t_s)
    return replace(change.alert("web-3", {}), growth=growth, **changes)


def captured_for(alert: Alert, collector: Freeing, directory: Path, process: Process) -> Evidence:
    captures = Captures(directory, EvidenceOptions(), (ProofByCollection((collector,)),))
    return captures.capture(process, "7f3a", FIRST, consent=ALLOWED, alert=alert)


def test_what_an_alert_tells_to_have_grown_must_come_back(child: LeakyChild, tmp_path: Path) -> None:
    child.grow(80_000_000)
    process = process_of(child.pid)
    much, little = (tmp_path / name for name in ("much", "little"))
    kept = captured_for(alert_of(300e6), Freeing(child), much, process)
    child.grow(80_000_000)
    lazy = captured_for(alert_of(80e6), Freeing(child), little, process)

    assert kept.disproof == ""
    assert " of the 300MB grown in " in kept.gist[0]
    assert lazy.disproof.endswith("of the 80MB grown in 0s: a lazy collector, not a leak")


@pytest.mark.parametrize(
    ("runtime", "changes", "why"),
    [
        ("node", {}, "but how much of that is the garbage of every day is not known"),
        ("go", {}, "but how much of that is the garbage of every day is not known"),
        ("jvm", {"kind": "native"}, "but what grew lies outside of the runtime's heap"),
        ("jvm", {"kind": "threads"}, "but what grew lies outside of the runtime's heap"),
        ("jvm", {"heap_before": 1e6}, "more than there was before it grew, still referred to"),
    ],
)
def test_a_busy_heap_has_garbage_that_proves_nothing(
    child: LeakyChild, tmp_path: Path, runtime: str, changes: dict[str, Any], why: str
) -> None:
    child.circle(30_000_000)  # `Freeing` leaves this
    child.grow(80_000_000)
    found = captured_for(
        alert_of(60e6, **changes), Freeing(child), tmp_path, process_of(child.pid, runtime=runtime)
    )

    assert found.disproof == ""
    assert found.gist[0].endswith(why)


def test_a_collection_is_judged_by_what_an_earlier_one_has_left(child: LeakyChild, tmp_path: Path) -> None:
    """Garbage of every day is taken back both times, more of it than has leaked between."""
    captures = Captures(
        tmp_path, EvidenceOptions(cooldown_s=0.0), (Standing(), ProofByCollection((Freeing(child),)))
    )
    process = process_of(child.pid)
    child.grow(100_000_000)
    captures.capture(process, "7f3a", FIRST, consent=ALLOWED)
    child.circle(40_000_000)  # `Freeing` leaves this
    child.grow(100_000_000)
    found = captures.capture(process, "7f3a", LATER, consent=ALLOWED)

    assert found.disproof == ""
    assert found.gist[0].endswith("MB more than there was before it grew, still referred to")


def test_within_the_cooldown_a_capture_disproves_nothing_again(child: LeakyChild, tmp_path: Path) -> None:
    process, alert = process_of(child.pid), alert_of(80e6)
    captures = Captures(tmp_path, EvidenceOptions(), (ProofByCollection((Freeing(child),)),))
    child.grow(80_000_000)
    first = captures.capture(process, "7f3a", FIRST, consent=ALLOWED, alert=alert)
    again = captures.capture(
        process, "7f3a", LATER._replace(t_s=FIRST.t_s + 60), consent=ALLOWED, alert=alert
    )
    deeper = captures.deepen(process, first, LATER, consent=ALLOWED)

    assert first.disproof
    assert again.directory == first.directory
    assert again.disproof == ""
    assert deeper.disproof == first.disproof


def test_a_collection_that_fails_is_a_sentence(child: LeakyChild, tmp_path: Path) -> None:
    evidence = capture_twice(child, Made("jcmd"), tmp_path)

    assert evidence.missing == (f"jcmd: no answer of {child.pid} within 5s",)


def test_a_capture_without_an_earlier_one_tells_the_share_of_the_heap(
    child: LeakyChild, tmp_path: Path
) -> None:
    captures = Captures(tmp_path, EvidenceOptions(), (ProofByCollection((Freeing(child),)),))
    child.grow(80_000_000)
    evidence = captures.capture(process_of(child.pid), "7f3a", FIRST, consent=ALLOWED)

    assert evidence.gist[0].startswith("a full collection took back 80")
    assert " grown in " not in evidence.gist[0]
