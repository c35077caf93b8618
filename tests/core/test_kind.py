"""What grows: decided for real programs that are known, for made-up ones that are hard, and for nonsense."""

from __future__ import annotations

import json
import math
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.detect import kind
from agent.detect.kind import MEMORY, RUNTIME, RUNTIME_PEAK, THREADS, Growth, Naming, gain, growths, kind_of
from agent.history.rings import Rings
from agent.model import Event, Kind, State, Subject, Verdict
from agent.recording import decode, parse
from agent.replay import Replay, ReplayOptions

if TYPE_CHECKING:
    from agent.recording import Recording

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
SCALE = 60.0
MB = 1e6
COLUMNS = {
    "anon": MEMORY,
    "heap": RUNTIME,
    "file": kind.FILES,
    "shmem": kind.SHARED_MEMORY,
    "threads": THREADS,
}
KNOWN = {
    "jvm-deflater-native": (Subject.HEAP, Kind.NATIVE),
    "jvm-classloader-metaspace": (Subject.HEAP, Kind.NATIVE),
    "node-external-buffers": (Subject.HEAP, Kind.NATIVE),
    "jvm-static-map-deploy-g1": (Subject.HEAP, Kind.RUNTIME_HEAP),
    "go-goroutine-leak-deploy": (Subject.HEAP, Kind.RUNTIME_HEAP),
    "py-flask-request-cache": (Subject.HEAP, Kind.HEAP),
    "py-ujson-2.0.2": (Subject.HEAP, Kind.HEAP),
    "py-thread-leak": (Subject.HEAP, Kind.THREADS),
    "c-mmap-file-leak": (Subject.SHARED, Kind.FILES),
    "node-multer-aborted-uploads": (Subject.FDS, Kind.DESCRIPTORS),
}


def recorded(name: str) -> tuple[Recording, float]:
    """Return a recording and when its growth began, in its own seconds."""
    truths = {one["name"]: one for one in json.loads((CORPUS / "real.json").read_text())}
    with tarfile.open(CORPUS / "real.tar.xz") as archive, archive.extractfile(f"{name}.csv") as file:  # type: ignore[union-attr] # it is a file
        return parse(name, decode(name, file.read())), float(truths[name]["onset_s"])


def drawn(figures: list[float]) -> Growth:
    """A growth as `gain` gives it: the middle between the lowest and the highest, or nothing at all."""
    low, middle, high = (math.nan,) * 3 if any(map(math.isnan, figures)) else sorted(figures)
    return Growth(middle, low, high)


def known(amount: float) -> Growth:
    return Growth(amount, 0.9 * amount, 1.1 * amount) if amount > 0 else Growth(amount, amount, amount)


@pytest.mark.parametrize("share", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("name", KNOWN)
def test_what_grows_in_programs_that_are_known(name: str, share: float) -> None:
    recording, onset_s = recorded(name)
    columns = {what: column for column, what in COLUMNS.items() if column in recording.columns}
    rings = Rings(SCALE, levels=8, capacity=8)
    slots = {what: rings.open() for what in columns}
    clock_s = (recording.t_s - recording.t_s[0]) * SCALE
    end_s = share * float(clock_s[-1]) + (1 - share) * onset_s * SCALE
    for row in range(1, int(np.searchsorted(clock_s, end_s))):
        values = np.array([recording.columns[column][row] for column in columns.values()])
        rings.add(float(clock_s[row]), np.array(list(slots.values())), values)
    since_s = max(onset_s * SCALE, 0.1 * end_s)

    subject, expected = KNOWN[name]
    found = kind_of(subject, growths(rings, slots, since_s, end_s))

    assert found is not None
    assert found.kind == expected, found.text


@pytest.mark.parametrize(
    ("grown", "expected", "text"),
    [
        ({MEMORY: 100 * MB}, Kind.HEAP, "anonymous memory grew 100MB"),
        (
            {MEMORY: 100 * MB, RUNTIME: 3 * MB},
            Kind.NATIVE,
            "the runtime's heap carries 3 % of it: native memory",
        ),
        ({MEMORY: 100 * MB, RUNTIME: 60 * MB}, Kind.RUNTIME_HEAP, "the runtime's heap carries 60 % of it"),
        ({MEMORY: 100 * MB, RUNTIME: 30 * MB}, Kind.HEAP, "the runtime's heap carries 30 % of it: undecided"),
        (
            {MEMORY: 100 * MB, RUNTIME: 1 * MB, RUNTIME_PEAK: 90 * MB},
            Kind.ALLOCATOR,
            "the runtime's heap carries 1 % of it, its peaks 90 %: the allocator keeps them",
        ),
        (
            {MEMORY: 100 * MB, RUNTIME: -60 * MB},
            Kind.ALLOCATOR,
            "the runtime's heap fell by 60MB meanwhile: the allocator keeps it",
        ),
        (
            {MEMORY: 1000.0, RUNTIME: 60 * MB},
            Kind.RUNTIME_HEAP,
            "the runtime's heap grew 60MB within the memory that it held already",
        ),
        (
            {MEMORY: 0.0, RUNTIME: 60 * MB},
            Kind.RUNTIME_HEAP,
            "the runtime's heap grew 60MB within the memory that it held already",
        ),
        ({MEMORY: 50 * MB, RUNTIME: 60 * MB}, Kind.RUNTIME_HEAP, "the runtime's heap carries 100 % of it"),
        ({RUNTIME: 60 * MB}, Kind.RUNTIME_HEAP, "the runtime's heap grew 60MB"),
        ({MEMORY: 20 * MB, THREADS: 100.0}, Kind.THREADS, "100 more threads carry it, 200kB each"),
        ({MEMORY: 500 * MB, THREADS: 100.0}, Kind.HEAP, "anonymous memory grew 500MB"),
        ({MEMORY: 1 * MB, THREADS: 3.0}, Kind.HEAP, "anonymous memory grew 1MB"),
    ],
)
def test_the_sentence_tells_the_figures_of_the_decision(
    grown: dict[str, float], expected: Kind, text: str
) -> None:
    found = kind_of(Subject.HEAP, {name: known(amount) for name, amount in grown.items()})

    assert found == (expected, text)


def test_growth_that_is_seen_in_one_look_only_decides_nothing() -> None:
    memory = Growth(100 * MB, 95 * MB, 105 * MB)

    found = kind_of(Subject.HEAP, {MEMORY: memory, RUNTIME: Growth(5 * MB, -10 * MB, 40 * MB)})

    assert found is not None
    assert found.kind is Kind.HEAP


def test_shared_pages_that_nobody_tells_apart_have_no_kind() -> None:
    assert kind_of(Subject.SHARED, {}) is None
    assert kind_of(Subject.SHARED, {kind.FILES: known(0.0)}) is None


def test_shared_memory_is_told_from_files() -> None:
    found = kind_of(Subject.SHARED, {kind.FILES: known(-5 * MB), kind.SHARED_MEMORY: known(30 * MB)})

    assert found == (Kind.SHARED_MEMORY, "shared memory carries 100 % of it")


@pytest.mark.parametrize("subject", [Subject.HEAP_PERCENT, Subject.COLLECTIONS])
def test_what_does_not_grow_has_no_kind(subject: Subject) -> None:
    assert kind_of(subject, {MEMORY: known(1 * MB)}) is None


def test_a_dip_at_one_end_is_no_growth() -> None:
    values = np.full(64, 100 * MB)
    values[1] = 20 * MB

    assert gain(values, 0.1).amount == pytest.approx(0.0)


def test_a_straight_rise_is_gained_in_full() -> None:
    assert gain(np.arange(65) * MB, 0.1).amount == pytest.approx(65 * MB, rel=0.02)


@pytest.mark.parametrize("values", [[], [1.0] * 7, [math.nan] * 40, [math.nan] * 20 + [1.0] * 20])
def test_too_little_seen_is_not_known(values: list[float]) -> None:
    assert all(map(math.isnan, gain(np.array(values), 0.1)))


ANY = st.floats(-1e12, 1e12) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
GROWTHS = st.dictionaries(
    st.sampled_from([MEMORY, RUNTIME, RUNTIME_PEAK, kind.FILES, kind.SHARED_MEMORY, THREADS]),
    st.lists(ANY, min_size=3, max_size=3).map(drawn),
)


@given(st.sampled_from(Subject), GROWTHS)
def test_any_figures_give_a_kind_of_the_list_or_none(subject: Subject, grown: dict[str, Growth]) -> None:
    found = kind_of(subject, grown)

    assert found is None or (isinstance(found.kind, Kind) and found.text.isprintable())


@given(st.sampled_from([0.001, 1.0, 1000.0]), st.floats(-0.9, 0.9), st.floats(0.0, 1.0))
def test_the_kind_does_not_depend_on_the_size(scale: float, runtime: float, peak: float) -> None:
    one = {MEMORY: known(1e9), RUNTIME: known(runtime * 1e9), RUNTIME_PEAK: known(peak * 1e9)}
    other = {name: Growth(*(scale * figure for figure in grown)) for name, grown in one.items()}

    first, second = kind_of(Subject.HEAP, one), kind_of(Subject.HEAP, other)
    assert first is not None
    assert second is not None
    assert first.kind == second.kind


@pytest.mark.parametrize(("name", "speaks"), [("c-mmap-file-leak", "file"), ("jvm-deflater-native", "anon")])
def test_a_replay_tells_what_grows(name: str, speaks: str) -> None:
    recording, _ = recorded(name)

    said = list(Replay(recording, ReplayOptions(time_scale=SCALE)).run())

    alarm = next(one for one in said if one.kind == speaks and one.state == str(State.WARNING))
    assert alarm.grows == KNOWN[name][1]
    assert alarm.reasons[0].name == "kind"


def test_what_grows_is_looked_for_again_when_the_growth_has_become_longer() -> None:
    naming, rings = Naming(), Rings(60.0, levels=4, capacity=4)
    slots = {MEMORY: rings.open(), RUNTIME: rings.open()}

    def told(minutes: range, memory: float, runtime: float) -> str:
        for i in minutes:
            rings.add(60.0 * i, np.array(list(slots.values())), np.array([memory * i, runtime * i]))
        return naming.named("api", verdict(t_s=60.0 * minutes[-1]), rings, slots).kind

    assert told(range(100), 1e6, 0.0) == Kind.NATIVE
    assert told(range(100, 105), 1e6, 30e6) == Kind.NATIVE
    assert told(range(105, 140), 1e6, 30e6) == Kind.RUNTIME_HEAP


def test_another_state_is_looked_at_afresh_and_another_owner_too() -> None:
    naming, rings = Naming(), Rings(60.0, levels=4, capacity=4)
    slots, others = {MEMORY: rings.open()}, {RUNTIME: rings.open()}
    for i in range(100):
        rings.add(60.0 * i, np.array([0, 1]), np.array([1e6 * i, 1e6 * i]))

    assert naming.named("api", verdict(), rings, slots).kind == Kind.HEAP
    assert naming.named("api", verdict(), rings, others).kind == Kind.HEAP
    assert naming.named("shop", verdict(), rings, others).kind == Kind.RUNTIME_HEAP
    assert naming.named("api", verdict(State.CRITICAL), rings, others).kind == Kind.RUNTIME_HEAP
    naming.forget("shop")
    assert naming.named("shop", verdict(), rings, slots).kind == Kind.HEAP


def test_a_sound_verdict_comes_back_as_it_is() -> None:
    sound = verdict(State.SOUND)

    assert Naming().named("api", sound, Rings(60.0), {}) is sound


def verdict(state: State = State.WARNING, t_s: float = 6000.0) -> Verdict:
    return Verdict(
        t_s=t_s,
        subject=Subject.HEAP,
        state=state,
        event=Event.LEAK,
        rate=None,
        onset_t_s=600.0,
        growth=0.0,
        current=0.0,
        limit=None,
        exhaustion_hours=None,
        reasons=(),
    )
