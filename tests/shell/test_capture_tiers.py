"""Tiers, refusals, baselines and second looks: what is taken of a real process, and when."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of

from agent.consent import Consent
from agent.evidence.baselines import Baselines
from agent.evidence.captures import Captures
from agent.evidence.governor import Conditions, Room
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.kernel.sources import Descriptors, Mappings, Standing
from agent.evidence.options import EvidenceOptions
from agent.evidence.pressure import HOST, look
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE, Taking
from agent.evidence.turn import TakenError, our_turn
from agent.model import Evidence, Instant, ProcessKey

if TYPE_CHECKING:
    from agent.model import Process

NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
OPTIONS = EvidenceOptions(cooldown_s=600.0)
ALLOWED = Consent(heavy=True)
CALM = Conditions(500_000_000, 5, (Room(8_000_000_000, "the host's memory"),), (), 0.1, 10**12)
KERNEL = (Mappings(), Standing(), Descriptors())


@dataclass
class Made:
    """A source that writes and tells what it is told to; it compares with an earlier look."""

    name: str
    cost: Cost
    why: str = ""
    content: bytes = b"counts"
    wants: Callable[[Consent], bool] = field(default=lambda _: True)
    takes: int = 0

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's
        return self.wants(consent)

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        return self.why

    def take(self, taking: Taking) -> None:
        self.takes += 1
        before = taking.before(f"{self.name}.json")
        taking.write_raw(f"{self.name}.json", self.content)
        taking.tell(CODE, f"{self.name}: {'first' if before is None else before.content.decode()}")


def cheap(name: str = "cheap", **cost: float) -> Made:
    return Made(name, Cost(Tier.CHEAP, **cost))  # type: ignore[arg-type]


def medium(name: str = "medium", **changes: object) -> Made:
    return replace(Made(name, Cost(Tier.MEDIUM, pause_s_per_gb=0.05, baseline=True)), **changes)  # type: ignore[arg-type]


def heavy(name: str = "heavy") -> Made:
    return Made(name, Cost(Tier.HEAVY, memory_per_heap=1.0), wants=lambda consent: consent.heavy)


def calm(*_: object) -> Conditions:
    return CALM


def captures(folder: Path, *sources: Made, baselines: Baselines | None = None) -> Captures:
    return Captures(folder, OPTIONS, sources, baselines=baselines, look=calm)


def native(child: LeakyChild) -> Process:
    return process_of(child.pid, runtime="native")


def test_a_warning_takes_what_is_cheap_and_a_critical_leak_more(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path, cheap(), medium(), heavy())

    warning = taker.capture(native(child), "x", NOW, tier=Tier.CHEAP)
    critical = taker.capture(native(child), "x", NOW._replace(t_s=NOW.t_s + 60), consent=ALLOWED)

    assert warning.files == ("cheap.json", "evidence.json")
    assert critical.files == ("cheap.json", "medium.json", "evidence.json")


def test_within_the_cooldown_a_lesser_capture_is_not_taken_again(tmp_path: Path, child: LeakyChild) -> None:
    source = medium()
    taker = captures(tmp_path, source)
    taker.capture(native(child), "x", NOW)
    taker.capture(native(child), "x", LATER._replace(t_s=NOW.t_s + 599), tier=Tier.CHEAP)

    assert source.takes == 1


def test_heavy_evidence_is_added_to_the_same_folder(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path, cheap(), heavy())
    quick = taker.capture(native(child), "x", NOW, consent=ALLOWED)

    assert taker.wants_heavy(native(child), ALLOWED)
    deeper = taker.deepen(native(child), quick, NOW, consent=ALLOWED)

    assert deeper.directory == quick.directory
    assert deeper.files == ("cheap.json", "evidence.json", "heavy.json")
    assert deeper.gist == ("heavy: first", "cheap: first")
    told = json.loads((Path(deeper.directory) / "evidence.json").read_text())
    assert told["files"] == ["cheap.json", "heavy.json"]
    assert told["gist"] == ["heavy: first", "cheap: first"]
    assert not taker.wants_heavy(native(child), ALLOWED)


def test_without_consent_there_is_nothing_heavy(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path, heavy())

    assert not taker.wants_heavy(native(child), Consent())


def test_a_refusal_is_a_sentence_of_the_alert_and_nothing_is_touched(
    tmp_path: Path, child: LeakyChild
) -> None:
    source = heavy()
    short = replace(CALM, rooms=(Room(100_000_000, "memory.max of /api"),))
    taker = Captures(tmp_path, OPTIONS, (cheap(), source), look=lambda *_: short)

    evidence = taker.capture(native(child), "x", NOW, consent=ALLOWED, tier=Tier.HEAVY)

    assert evidence.missing == (
        "heavy: not taken, needs about 500MB of memory, and 100MB are left of memory.max of /api",
    )
    assert source.takes == 0


def test_what_is_not_possible_is_found_out_before(tmp_path: Path, child: LeakyChild) -> None:
    source = medium(why="needs CAP_SYS_PTRACE, or its user")

    evidence = captures(tmp_path, source).capture(native(child), "x", NOW)

    assert evidence.missing == ("medium: needs CAP_SYS_PTRACE, or its user",)
    assert source.takes == 0


def test_what_holds_a_large_process_for_long_waits_until_it_is_critical(
    tmp_path: Path, child: LeakyChild
) -> None:
    taker = captures(tmp_path, cheap(pause_s_per_gb=0.2))

    warning = taker.capture(native(child), "x", NOW, tier=Tier.CHEAP)

    assert warning.missing == (
        "cheap: would hold the process for about 100ms: taken when a leak turns critical",
    )
    assert taker.capture(native(child), "x", NOW).files == ("cheap.json", "evidence.json")


def test_the_identity_is_checked_before_every_source(tmp_path: Path, child: LeakyChild) -> None:
    last = cheap("last")

    class Ends(Made):
        def take(self, taking: Taking) -> None:
            super().take(taking)
            child.kill()

    first = Ends("first", Cost(Tier.CHEAP))
    evidence = captures(tmp_path, first, last).capture(native(child), "x", NOW)

    assert evidence.files == ("first.json", "evidence.json")
    assert evidence.missing == (f"process {child.pid} has ended during the capture",)
    assert last.takes == 0


def test_one_capture_at_a_time_on_the_host(tmp_path: Path, child: LeakyChild) -> None:
    taker = Captures(tmp_path, EvidenceOptions(timeout_s=0.1), (cheap(),), look=calm)

    with our_turn(tmp_path, 0.0):
        refused = taker.capture(native(child), "x", NOW)

    assert refused == Evidence("", missing=("captures: another capture is being taken on this host",))
    assert taker.capture(native(child), "x", NOW).directory


def test_every_leakwatch_of_a_user_asks_for_the_same_lock(tmp_path: Path) -> None:
    for name in ("shared", "one", "two"):
        (tmp_path / name).mkdir()

    with (
        our_turn(tmp_path / "one", 0.0, tmp_path / "shared"),
        pytest.raises(TakenError),
        our_turn(tmp_path / "two", 0.0, tmp_path / "shared"),
    ):
        pass
    with our_turn(tmp_path / "two", 0.0, tmp_path / "shared"):
        assert list((tmp_path / "two").iterdir()) == []


def test_a_lock_that_another_user_has_planted_is_passed_over(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    shared.mkdir()
    own.mkdir()
    planted = shared / f"leakwatch-capture-{os.geteuid()}.lock"
    planted.touch(0o666)
    planted.chmod(0o666)

    with planted.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with our_turn(own, 0.0, shared), pytest.raises(TakenError), our_turn(own, 0.0, shared):
            pass


def test_long_files_are_compressed_and_read_back(tmp_path: Path, child: LeakyChild) -> None:
    long = medium(content=b"x" * 100_000)
    taker = captures(tmp_path, long)

    first = taker.capture(native(child), "x", NOW)
    second = taker.capture(native(child), "x", LATER)

    path = Path(first.directory) / "medium.json.gz"
    assert path.stat().st_size < 1000
    assert gzip.decompress(path.read_bytes()) == long.content
    assert second.gist == ("medium: " + "x" * 100_000,)


def test_secrets_of_the_command_line_are_kept_only_when_asked_for(tmp_path: Path, child: LeakyChild) -> None:
    secretive = replace(native(child), command="api --password=hunter2")

    def kept(options: EvidenceOptions) -> str:
        taker = Captures(tmp_path / str(options.arguments), options, (cheap(),), look=calm)
        folder = Path(taker.capture(secretive, "x", NOW).directory)
        return str(json.loads((folder / "evidence.json").read_text())["process"]["command"])

    assert kept(OPTIONS) == "api --password=<hidden>"
    assert kept(replace(OPTIONS, arguments=True)) == "api --password=hunter2"


def test_the_first_capture_tells_what_grew_since_the_baseline(tmp_path: Path, child: LeakyChild) -> None:
    baselines = Baselines(tmp_path / "baselines", 10**6)
    taker = Captures(tmp_path / "c", OPTIONS, KERNEL, baselines=baselines)
    taker.baseline(native(child), NOW)
    child.grow(60_000_000)
    child.fds(300)
    child.threads(30)

    gist = taker.capture(native(child), "x", LATER).gist

    assert any(line.startswith("grew: anonymous 4-64MB +60") and line.endswith("in 12m") for line in gist)
    assert "descriptors: +300 device (/dev/null) in 12m" in gist
    assert any(line.startswith("threads: +30 ") for line in gist)
    assert not taker.unpaired(native(child).key)


def test_a_baseline_is_one_small_private_file(tmp_path: Path, child: LeakyChild) -> None:
    baselines = Baselines(tmp_path / "b", 10**6)
    Captures(tmp_path / "c", OPTIONS, KERNEL, baselines=baselines).baseline(native(child), NOW)

    (kept,) = (tmp_path / "b").iterdir()
    assert kept.name == f"{native(child).key}.json.gz"
    assert kept.stat().st_size < 4096
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert Baselines(tmp_path / "b", 10**6).taken_t_s(native(child).key) == NOW.t_s


def test_a_baseline_takes_what_costs_next_to_nothing_only(tmp_path: Path, child: LeakyChild) -> None:
    slow = medium("slow", cost=Cost(Tier.MEDIUM, pause_s_per_gb=1.0, baseline=True))
    sources = (quick := medium("quick"), slow, unasked := cheap("unasked"), big := heavy())
    baselines = Baselines(tmp_path / "b", 10**6)

    captures(tmp_path / "c", *sources, baselines=baselines).baseline(native(child), NOW, ALLOWED)

    assert [one.takes for one in (quick, slow, unasked, big)] == [1, 0, 0, 0]


def test_a_baseline_gives_way_to_a_capture(tmp_path: Path, child: LeakyChild) -> None:
    baselines = Baselines(tmp_path, 10**6)
    with our_turn(tmp_path, 0.0):
        captures(tmp_path / "c", medium(), baselines=baselines).baseline(native(child), NOW)

    assert baselines.taken_t_s(native(child).key) is None


def test_baselines_of_processes_long_gone_and_the_oldest_make_room(tmp_path: Path, child: LeakyChild) -> None:
    def take(baselines: Baselines, process: Process, t_s: float) -> None:
        captures(tmp_path / "c", medium(), baselines=baselines).baseline(process, NOW._replace(t_s=t_s))

    with LeakyChild() as other, LeakyChild() as third:
        for t_s, one in ((1.0, other), (2.0, third), (100_000.0, child)):
            take(Baselines(tmp_path / "b", 10**6), native(one), t_s)
        assert len(list((tmp_path / "b").iterdir())) == 3
        ended = native(other)
        other.kill()
        take(Baselines(tmp_path / "b", 10**6), native(third), 100_001.0)
        assert not (tmp_path / "b" / f"{ended.key}.json.gz").exists()
        take(small := Baselines(tmp_path / "b", 4096), native(third), 100_002.0)

        assert small.taken_t_s(native(child).key) is None
        assert [path.name for path in (tmp_path / "b").iterdir()] == [f"{native(third).key}.json.gz"]


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b"[]"), gzip.compress(b'{"files": 3}')],
    ids=["empty", "not-gzip", "no-object", "files-no-list"],  # not by their bytes, which hold the time
)
def test_a_damaged_baseline_is_none(content: bytes, tmp_path: Path) -> None:
    key = ProcessKey(1, 2, "deadbeef")
    (tmp_path / f"{key}.json.gz").write_bytes(content)

    assert Baselines(tmp_path, 10**6).before(key, "smaps.json", NOW) is None


def test_a_costly_look_without_an_earlier_one_wants_a_second(tmp_path: Path, child: LeakyChild) -> None:
    taker = captures(tmp_path, cheap(), medium())

    taker.capture(native(child), "x", NOW, tier=Tier.CHEAP)
    taker.capture(native(child), "x", NOW)
    assert taker.unpaired(native(child).key)
    second = taker.capture(native(child), "x", LATER)

    assert "medium: counts" in second.gist
    assert not taker.unpaired(native(child).key)


def test_what_there_is_is_read_of_a_real_process(child: LeakyChild) -> None:
    child.grow(50_000_000)
    with HeldProcess(native(child).key) as held:
        found = look(held, 5)

    assert found.heap_bytes > 50_000_000
    assert found.threads == 1
    assert HOST in {room.of for room in found.rooms}
    assert found.free_disk_bytes == 5


def test_the_nearest_limit_of_a_cgroup_and_its_ancestors_counts(tmp_path: Path, child: LeakyChild) -> None:
    (tmp_path / "proc").mkdir()
    with HeldProcess(native(child).key) as held:
        lines = held.read("cgroup").decode().splitlines()
        path = next(line.split(":", 2)[2] for line in lines if line.startswith("0:"))
        own = tmp_path / "cgroup" / path.lstrip("/")
        own.mkdir(parents=True)
        (own / "memory.current").write_text("900\n")
        (own / "memory.stat").write_text("anon 500\ninactive_file 300\n")
        (own / "memory.max").write_text("1000\n")
        (own / "memory.high").write_text("max\n")
        (own / "memory.pressure").write_text("some avg10=7.00 avg60=0.00 avg300=0.00 total=0\n")
        found = look(held, 0, proc=tmp_path / "proc", cgroup_root=tmp_path / "cgroup")

    assert [room.left_bytes for room in found.rooms] == [400]
    assert found.rooms[0].of.startswith("memory.max of /")
    assert [one.some_percent for one in found.stalls] == [7.0]


def test_a_source_that_fails_costs_a_sentence_and_the_others_are_taken(
    tmp_path: Path, child: LeakyChild
) -> None:
    class Fails(Made):
        def take(self, taking: Taking) -> None:
            raise SourceError(f"{self.name}: no answer from {taking.process.key.pid}")

    evidence = captures(tmp_path, Fails("bad", Cost(Tier.CHEAP)), cheap()).capture(native(child), "x", NOW)

    assert evidence.missing == (f"bad: no answer from {child.pid}",)
    assert "cheap.json" in evidence.files


@pytest.mark.parametrize("error", [IndexError("no such frame"), RecursionError("deep"), AttributeError("x")])
def test_a_source_that_a_target_makes_stumble_spoils_neither_capture_nor_baseline(
    error: Exception, tmp_path: Path, child: LeakyChild
) -> None:
    class Stumbles(Made):
        def take(self, taking: Taking) -> None:
            del taking
            raise error

    baselines = Baselines(tmp_path / "b", 10**6)
    bad = Stumbles("bad", Cost(Tier.CHEAP, baseline=True))
    taker = captures(tmp_path / "c", bad, medium(), baselines=baselines)
    taker.baseline(native(child), NOW)
    evidence = taker.capture(native(child), "x", LATER)

    assert evidence.missing == (f"bad: {error}",)
    assert "medium: counts" in evidence.gist
    assert baselines.taken_t_s(native(child).key) is not None
