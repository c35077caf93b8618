"""What `leakwatch replay` prints for people: a recording's curve, and a line for each thing found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import numpy as np

from agent.cli.sparkline import column_of, columns, sparkline
from agent.detect.growth import MIN_RISE_BLOCKS
from agent.median import median
from agent.model import Event
from agent.text import one_line
from agent.units import format_bytes, format_chance, format_duration, format_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.detect.leak import Finding
    from agent.model import Estimate
    from agent.recording import Recording
    from agent.replay import Replay
    from agent.replay_story import Said
    from agent.replay_tracks import Track

WIDTH = 60
MAX_NAME_CHARS = 200
OVER = "resolved"
ALARMS = ("warning", "critical")


def summary(recording: Recording, replay: Replay, said: Sequence[Said], marks: str) -> str:
    """Return the lines about one recording; times are scaled ones since the first sample."""
    episodes = sorted(_episodes(said), key=lambda one: not _alarmed(one))
    lines = [_head(recording, replay), *_curve(replay, episodes[0] if episodes else [], marks)]
    lines += [_told(one) for one in episodes]
    if not any(_alarmed(one) or one[-1].state != OVER for one in episodes):
        lines.append(_sound(replay))
    return "\n".join(lines)


def _episodes(said: Sequence[Said]) -> list[list[Said]]:
    """Return what was said of each subject, parted where something was over."""
    episodes: list[list[Said]] = []
    running: dict[str, list[Said]] = {}
    for one in said:
        if one.subject not in running:
            running[one.subject] = []
            episodes.append(running[one.subject])
        running[one.subject].append(one)
        if one.state == OVER:
            del running[one.subject]
    return episodes


def _alarmed(episode: Sequence[Said]) -> bool:
    return any(one.state in ALARMS for one in episode)


def _head(recording: Recording, replay: Replay) -> str:
    clock_s = replay.clock_s
    apart = f", one every {format_duration(median(np.diff(clock_s)))}" if len(clock_s) > 1 else ""
    name = click.style(one_line(recording.name, MAX_NAME_CHARS), bold=True)
    samples = "1 sample" if len(clock_s) == 1 else f"{len(clock_s)} samples"
    return f"{name}: {format_duration(float(clock_s[-1]))}, {samples}{apart}"


def _curve(replay: Replay, episode: Sequence[Said], marks: str) -> list[str]:
    """Return the series that the episode is about, else memory, with its onset marked below."""
    track = next((one for one in replay.tracks if episode and one.kind == episode[-1].kind), replay.tracks[0])
    values, clock_s = track.values.copy(), replay.clock_s
    if len(values) > 1:
        values[0] = np.nan
    means = columns(clock_s, values, min(WIDTH, len(values)))
    seen = values[np.isfinite(values)]
    if not len(seen):
        return []
    label = f"  {track.kind} {_amount(float(seen.min()), counts=track.counts)} "
    lines = [f"{label}{sparkline(means, marks)} {_amount(float(seen.max()), counts=track.counts)}"]
    onset_s = episode[-1].onset_t_s if episode else None
    if onset_s is not None:
        column = int(column_of(clock_s, np.array([onset_s]), len(means))[0])
        lines.append(" " * (len(label) + column) + f"^ grows since {format_duration(onset_s)}")
    return lines


def _told(episode: Sequence[Said]) -> str:
    """Return one line: what it is, how fast by the newest estimate, since when, when it was found."""
    alarms = [one for one in episode if one.state in ALARMS]
    newest = (alarms or [one for one in episode if one.state != OVER])[-1]
    first = (alarms or episode)[0]
    parts = [f"  {_word(newest, alarmed=bool(alarms))} {newest.kind}{_rate(newest)}{_since(newest)}"]
    if newest.probability is not None:
        parts.append(f"{format_chance(newest.probability)} sure")
    if newest.grows and newest.grows != newest.kind:
        parts.append(f"what grows: {newest.grows}")
    parts.append(f"found at {format_duration(first.t_s)}")
    critical = next((one for one in alarms if one.state == "critical"), None)
    if critical is not None:
        parts.append(f"critical at {format_duration(critical.t_s)}")
    if newest.exhaustion_hours is not None:
        full_s = newest.t_s + newest.exhaustion_hours.value * 3600.0
        parts.append(f"would be full at {format_duration(full_s)}")
    if episode[-1].state == OVER:
        parts.append(f"over at {format_duration(episode[-1].t_s)}")
    return ", ".join(parts)


def _word(said: Said, *, alarmed: bool) -> str:
    if not alarmed:
        return click.style("suspect", fg="yellow")
    return click.style("LEAK" if said.event is Event.LEAK else "LIMIT", fg="red", bold=True)


def _since(said: Said) -> str:
    if said.onset_t_s is None:
        return f": {said.reasons[0].text}" if said.reasons else ""
    return f" since {format_duration(said.onset_t_s)}"


def _rate(said: Said) -> str:
    if said.rate is None:
        return ""
    return " " + _interval(said.rate, counts=said.counts)


def _interval(rate: Estimate, *, counts: bool) -> str:
    if counts:
        return f"{rate.value:.3g}/h ({rate.low:.3g}..{rate.high:.3g})"
    return f"{format_rate(rate.value)} ({format_bytes(rate.low)}..{format_bytes(rate.high)})"


def _amount(value: float, *, counts: bool) -> str:
    return f"{value:.0f}" if counts else format_bytes(value)


def _sound(replay: Replay) -> str:
    """Return that nothing was found, and what spoke against the most significant rise."""
    word = click.style("sound", fg="green")
    looked = replay.strongest()
    if looked is None:
        short = len(replay.clock_s) <= MIN_RISE_BLOCKS
        return f"  {word}: {'too short to judge' if short else 'nothing grows'}"
    track, finding = looked
    return f"  {word}: {track.kind} {_against(track, finding)}"


def _against(track: Track, finding: Finding) -> str:
    """Return what failed, its shape before its length; else that it is too little."""
    failed = sorted((one for one in finding.reasons if not one.passed), key=lambda one: one.name == "lasting")
    return failed[0].text if failed else f"grows only {_interval(finding.rate, counts=track.counts)}"
