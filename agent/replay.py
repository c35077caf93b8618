"""Replays recordings through the detector and the rules of incidents, as if they were watched now."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.detect import thresholds as plain
from agent.detect.kind import Naming
from agent.detect.leak import Finding, LeakDetector
from agent.detect.options import DetectOptions, Thresholds
from agent.detect.shape import carried
from agent.detect.verdict import growth_verdict, limit_verdict
from agent.incidents import IncidentOptions
from agent.model import State, Subject
from agent.replay_batch import Batch, Tape
from agent.replay_story import Story
from agent.replay_tracks import COMPARED, Track, tracks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from agent.detect.series import Series
    from agent.detect.thresholds import Breach
    from agent.model import Verdict
    from agent.recording import Recording
    from agent.replay_story import Said

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a recording is judged."""

    time_scale: float = 1.0
    """One second of the recording stands for so many."""
    limit_bytes: float | None = None
    """The effective limit of the recorded process."""
    detection: DetectOptions = field(default_factory=DetectOptions)
    thresholds: Thresholds | None = None
    """Plain limits; None: only the detector judges."""
    incidents: IncidentOptions = field(default_factory=IncidentOptions)

    @property
    def unlimited(self) -> bool:
        """Whether only the detector judges, and nothing is known to be reached."""
        return self.limit_bytes is None and self.thresholds is None

    @property
    def reach_s(self) -> float:
        """How far back the plain limits look."""
        limits = self.thresholds
        return 0.0 if limits is None else max(limits.growth_for_s, limits.growth_critical_for_s)


def tape(recording: Recording, options: ReplayOptions) -> Tape:
    """Return a recording as it goes through the rings."""
    clock_s = (recording.t_s - recording.t_s[0]) * options.time_scale
    used_s = recording.columns.get("cpu")
    load = None if used_s is None else used_s * options.time_scale
    return Tape(clock_s, tracks_of(recording, options.limit_bytes), load)


def by_pace(recordings: Sequence[Recording], options: ReplayOptions) -> list[list[int]]:
    """Return which recordings can be replayed side by side, each list a `Replays`; positions in order."""
    paces: dict[float, list[int]] = {}
    for k, recording in enumerate(recordings):
        paces.setdefault(tape(recording, options).pace_s, []).append(k)
    return list(paces.values())


class Replays:
    """One pass over recordings of one pace; the past is judged without a look at what follows.

    Of a whole file only the distance between its samples (the median) is known from the start.
    """

    def __init__(self, recordings: Sequence[Recording], options: ReplayOptions) -> None:
        tapes = [tape(recording, options) for recording in recordings]
        self.batch = Batch(tapes, tapes[0].pace_s, options.reach_s)
        self.detector = LeakDetector(self.batch.rings, options.detection)
        self._options = options
        self.replays = [
            _Told(one, series, self.batch, options)
            for one, series in zip(tapes, self.batch.series, strict=True)
        ]
        self._owners = {one.slot: k for k, series in enumerate(self.batch.series) for one in series}
        self._restless: set[int] = set()
        """Of which recordings something may be told though nothing else is found."""

    def run(self) -> Iterator[tuple[int, Said]]:
        """Yield what a person would have been told, and of which recording, block by block; once."""
        for t_s, seen, turns in self.batch.blocks():
            changed: set[int] = set()
            for turn in turns:
                changed |= self.detector.judge_cohort(turn.levels, turn.cohort, t_s)
            breaches = self._fast_growth(seen, t_s)
            for k in self._concerned(seen, changed.union(breaches)):
                for said in self.replays[k].tell(self.detector, breaches, t_s):
                    yield k, said
                (self._restless.discard if self.replays[k].rests else self._restless.add)(k)

    def _concerned(self, seen: Sequence[int], slots: set[int]) -> Sequence[int]:
        """Return of which recordings something may be told: of most of many nothing is."""
        if self._options.thresholds is not None and self._options.limit_bytes is not None:
            return seen
        found = self._restless.union(self._owners[slot] for slot in slots)
        return [k for k in seen if k in found] if found else []

    def _fast_growth(self, seen: Sequence[int], t_s: float) -> dict[int, Breach]:
        limits = self._options.thresholds
        if limits is None:
            return {}
        memories = [one for k in seen if (one := self.replays[k].memory) is not None]
        if not memories:
            return {}
        return plain.fast_growth(self.batch.rings, memories, [limits] * len(memories), t_s)


class Replay:
    """One pass over one recording."""

    def __init__(self, recording: Recording, options: ReplayOptions) -> None:
        self._replays = Replays([recording], options)
        (self._told,) = self._replays.replays
        self.tracks: tuple[Track, ...] = self._told.tracks
        self.clock_s: Floats = self._told.clock_s
        """Seconds that have passed since the first sample, scaled."""

    def run(self) -> Iterator[Said]:
        """Yield what a person would have been told, block by block; once."""
        for _, said in self._replays.run():
            yield said

    def strongest(self) -> tuple[Track, Finding] | None:
        """Return the most likely look at any series at the end; None where all are too short."""
        t_s, detector = float(self.clock_s[-1]), self._replays.detector
        (series,) = self._replays.batch.series
        looks = [
            (track, look)
            for track, one in zip(self.tracks, series, strict=True)
            if (look := detector.explain(one, t_s)) is not None
        ]
        return max(looks, key=lambda pair: pair[1].gravity, default=None)


class _Look(NamedTuple):
    """What is found of one series."""

    weight: tuple[State, bool, float]
    """Of two as grave, the one that speaks already goes on."""
    track: int
    finding: Finding | None
    breach: Breach | None


class _Told:
    """What is told of one recording of a batch."""

    def __init__(self, one: Tape, series: list[Series], batch: Batch, options: ReplayOptions) -> None:
        self.tracks: tuple[Track, ...] = tuple(one.lines)  # type: ignore[arg-type] # `tape` puts tracks there
        self.clock_s = one.clock_s
        self._series = series
        self._rings = batch.rings
        self._options = options
        self._carried = np.nan_to_num(carried(np.stack([track.values for track in self.tracks])))
        self._naming = Naming()
        self._compared = {
            COMPARED[track.kind]: one.slot
            for track, one in zip(self.tracks, series, strict=True)
            if track.kind in COMPARED
        }
        subjects = dict.fromkeys(track.subject for track in self.tracks)
        self._members = {
            one: [k for k, track in enumerate(self.tracks) if track.subject is one] for one in subjects
        }
        self._found: list[Finding | None] = []
        """By series, in the newest block that was told of."""
        self._steady = False
        """Whether the same findings would change nothing: calm, and the way to a limit, change with time."""
        self._stories = {one: Story(options.incidents) for one in (*subjects, Subject.HEAP_PERCENT)}

    @property
    def rests(self) -> bool:
        """Whether nothing can be told until something else is found."""
        return self._steady or not (any(self._found) or any(not one.idle for one in self._stories.values()))

    @property
    def memory(self) -> Series | None:
        """The series that plain limits are about, as in the daemon: what the process keeps resident."""
        return self._series[0] if self.tracks[0].subject is Subject.HEAP else None

    def tell(self, detector: LeakDetector, breaches: dict[int, Breach], t_s: float) -> Iterator[Said]:
        """Yield what has changed by the beginning of a block."""
        before, self._found = self._found, [detector.finding(one.slot, t_s) for one in self._series]
        if self._steady and all(map(operator.is_, self._found, before)):
            return
        row = int(np.searchsorted(self.clock_s, t_s))
        self._go_on(row)
        self._steady = self._options.unlimited
        for subject, members in self._members.items():
            story = self._stories[subject]
            looks = [self._look(k, breaches, story) for k in members]
            if story.idle and not any(look.finding or look.breach for look in looks):
                continue
            gravest = max(looks, key=lambda look: look.weight)
            self._steady &= gravest.weight[0] >= State.SUSPECT
            verdict = self._growth(gravest, row, t_s)
            yield from story.tell(self.tracks[gravest.track].kind, verdict)
            self._steady &= not story.waits
        near = self._near_limit(row, t_s)
        if near is not None:
            yield from self._stories[Subject.HEAP_PERCENT].tell(str(Subject.HEAP_PERCENT), near)

    def _go_on(self, row: int) -> None:
        """Take it that what went on unchanged did so until the block before a sample."""
        if self._steady:
            base_s = self._rings.base_s
            until_t_s = float(self.clock_s[row - 1]) // base_s * base_s
            for story in self._stories.values():
                story.goes_on(until_t_s)

    def _growth(self, look: _Look, row: int, t_s: float) -> Verdict:
        """Return the verdict of the series that is worst off."""
        track = self.tracks[look.track]
        verdict = growth_verdict(
            track.subject,
            t_s=t_s,
            age_s=t_s,
            current=float(self._carried[look.track, row]),
            limit=self._options.limit_bytes if track.memory else None,
            finding=look.finding,
            breach=look.breach,
            options=self._options.detection,
        )
        return self._naming.named(None, verdict, self._rings, self._compared)

    def _look(self, k: int, breaches: dict[int, Breach], story: Story) -> _Look:
        finding, breach = self._found[k], breaches.get(self._series[k].slot)
        state = max(one.state if one else State.SOUND for one in (finding, breach))
        speaking = self.tracks[k].kind == story.kind
        weight = (state, speaking, finding.probability if finding else 0.0)
        return _Look(weight, k, finding, breach)

    def _near_limit(self, row: int, t_s: float) -> Verdict | None:
        memory, limits, most = self.memory, self._options.thresholds, self._options.limit_bytes
        if memory is None or limits is None or most is None:
            return None
        breach = plain.near_limit(self._rings, memory.slot, most, limits)
        current = float(self._carried[0, row])
        return limit_verdict(
            Subject.HEAP_PERCENT, t_s=t_s, age_s=t_s, current=current, limit=most, breach=breach
        )
