"""Quiet hours: a time of the day, on some days of the week, in some time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo  # noqa: TC004 - see `read_zone`

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXPECTED_HOURS = 'hours of a day such as "22:00-07:00"'
EXPECTED_DAYS = 'days such as "mon" or "mon-fri"'
EXPECTED_ZONE = 'a time zone that this system knows, such as "Europe/Berlin" or "UTC"'
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")
_WEEK = len(DAYS)


class Hours(NamedTuple):
    """From one time of the day to another, over midnight where the second is not later."""

    begin: time
    end: time
    """Midnight is the end of the day."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """When people would rather sleep."""

    hours: Hours
    days: frozenset[int]
    """On which days they begin, Monday is 0."""
    zone: ZoneInfo

    def until(self, wall_s: float) -> float | None:
        """Return the wall time at which the quiet hours of this moment end; None outside of them."""
        try:
            today = datetime.fromtimestamp(wall_s, self.zone).date()
        except (ValueError, OverflowError, OSError):
            return None
        for begun_days_ago in (0, 1):
            begin_s, end_s = self._of(today - timedelta(days=begun_days_ago))
            if begin_s <= wall_s < end_s and (today.weekday() - begun_days_ago) % _WEEK in self.days:
                return end_s
        return None

    def _of(self, day: date) -> tuple[float, float]:
        """Return when the quiet hours that begin on a day begin and end, by the clocks on the wall there."""
        begin, end = self.hours
        last = day if end > begin else day + timedelta(days=1)
        return (
            datetime.combine(day, begin, self.zone).timestamp(),
            datetime.combine(last, end, self.zone).timestamp(),
        )


def quiet_hours(hours: str, days: Iterable[str], timezone: str) -> QuietHours:
    """Return the quiet hours that the file means. Raises ValueError with what was expected."""
    return QuietHours(read_hours(hours), read_days(days), read_zone(timezone))


def read_hours(text: str) -> Hours:
    """Return the hours of "22:00-07:00"; "00:00-24:00" is a whole day. Raises ValueError."""
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise ValueError(EXPECTED_HOURS)
    begin = time(int(found[1]), int(found[2]))
    end = time(int(found[3] or 0), int(found[4] or 0))
    if begin == end and found[3] is not None:
        raise ValueError('two different times, or "00:00-24:00" for the whole day')
    return Hours(begin, end)


def read_days(names: Iterable[str]) -> frozenset[int]:
    """Return the days of "mon" and "fri-sun"; every day for no name. Raises ValueError."""
    found = frozenset(day for name in names for day in _days(name))
    return found or frozenset(range(_WEEK))


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the system's database. Raises ValueError."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - 0.4 MB with sysconfig, for those who name a zone

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(EXPECTED_ZONE) from None


def shown_time(wall_s: float, zone: ZoneInfo) -> str:
    """Return "Fri 07:00 UTC", for people."""
    return datetime.fromtimestamp(wall_s, UTC).astimezone(zone).strftime("%a %H:%M %Z")


def _days(name: str) -> list[int]:
    first, dash, last = name.strip().lower().partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError(EXPECTED_DAYS)
    begin = DAYS.index(first)
    end = DAYS.index(last) if dash else begin
    return [day % _WEEK for day in range(begin, end + 1 + (_WEEK if end < begin else 0))]
