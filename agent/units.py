"""Durations, sizes, rates and percentages: read as people write them, written as people read them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_PART = re.compile(r"([0-9]{1,19}(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")
_MINUTES_LIMIT_S = 90 * 60
_HOURS_LIMIT_S = 48 * 3600


def parse_duration(text: str) -> float:
    """Return seconds of "10s", "15m", "1h30m", "7d". Raises ValueError for anything else."""
    text = text.strip()
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or part[2] not in SECONDS:
            raise ValueError(text)
        total, at = total + float(part[1]) * SECONDS[part[2]], part.end()
    if not text:
        raise ValueError(text)
    return total


def parse_size(text: str) -> int:
    """Return bytes of "100MB" (10^6), "1.5GiB" (2^30), "64M" (2^20, as Docker and systemd read it)."""
    part = _PART.fullmatch(text.strip())
    if part is None or part[2] not in BYTES:
        raise ValueError(text)
    return round(float(part[1]) * BYTES[part[2]])


def parse_rate(text: str) -> float:
    """Return bytes an hour of "100MB/h", "1MiB/m", "2GB/d". Raises ValueError for anything else."""
    size, slash, unit = text.strip().partition("/")
    if not slash or unit.strip() not in SECONDS:
        raise ValueError(text)
    return parse_size(size) * 3600.0 / SECONDS[unit.strip()]


def parse_percent(text: str) -> float:
    """Return 80.0 of "80%". Raises ValueError for anything else, and above 100 or below 0."""
    if not text.strip().endswith("%"):
        raise ValueError(text)
    value = float(text.strip()[:-1])
    if not 0.0 <= value <= 100.0:  # noqa: PLR2004 - percent
        raise ValueError(text)
    return value


def format_bytes(count: float) -> str:
    """Return three figures at most and a decimal unit: "448MB", "1.02GB", "-3.4MB"."""
    count = round(count, 2)
    sign, size = ("-" if count < 0 else ""), abs(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:  # noqa: PLR2004 - the next unit from 1,000 on
            return f"{sign}{_three(size)}{unit}"
        size /= 1000
    return f"{sign}{_three(size)}TB"


def format_rate(bytes_per_hour: float) -> str:
    """Return "24MB/h"."""
    return f"{format_bytes(bytes_per_hour)}/h"


def format_duration(seconds: float) -> str:
    """Return the two largest units at most: "45s", "47m", "3h10m", "24h", "6d4h"."""
    if not math.isfinite(seconds):
        return "for ever"
    whole = round(max(0.0, seconds))
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole}s"
    if whole < _MINUTES_LIMIT_S:
        return f"{whole // 60}m{whole % 60}s" if whole < 600 and whole % 60 else f"{round(whole / 60)}m"  # noqa: PLR2004
    if whole < _HOURS_LIMIT_S:
        hours, minutes = divmod(round(whole / 60), 60)
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(round(whole / 3600), 24)
    return f"{days}d{hours}h" if hours else f"{days}d"


def format_chance(probability: float) -> str:
    """Return a probability in percent, "97 %"; never that something is certain or impossible."""
    percent = round(100.0 * probability)
    if percent < 1:
        return "under 1 %"
    return "over 99 %" if percent > 99 else f"{percent} %"  # noqa: PLR2004 - percent


def _three(value: float) -> str:
    if value >= 100 or value == round(value):  # noqa: PLR2004 - three figures
        return f"{value:.0f}"
    return f"{value:.3g}"


def format_utc(wall_s: float) -> str:
    """Return "2027-01-15 08:00 UTC"; the readers of one alert sit in many time zones."""
    try:
        return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def format_utc_clock(wall_s: float) -> str:
    """Return "08:00 UTC", for a time whose day is clear."""
    return format_utc(wall_s).partition(" ")[2]
