"""The growth as a picture: a PNG drawn without a display, for channels that show one."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from agent.alerts.chart_plan import Plan, Point, plan
from agent.alerts.phrases import amount, hours, name
from agent.logs import log_event

if TYPE_CHECKING:
    from agent.model import Alert

logger = logging.getLogger(__name__)

NAME = "growth.png"
WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 92, 24, 58, 44
FINE = 2
"""Lines are drawn so many times larger and then reduced, which smooths them."""
DASH = 14
_COLOURS = {
    "paper": "#ffffff",
    "grid": "#e6e8eb",
    "text": "#3c4043",
    "faint": "#80868b",
    "seen": "#1a66c2",
    "below": "#e3eefb",
    "fit": "#e8710a",
    "limit": "#c5221f",
}
_SIZE_TITLE, _SIZE_TEXT = 17, 13


def png(alert: Alert) -> bytes | None:
    """Return the picture; None where the alert carries too little to draw, or Pillow is not installed.

    Pillow is imported at the first picture: that costs about 5 MB of memory, drawing 10 MB more.
    """
    drawn = plan(alert)
    if drawn is None:
        return None
    try:
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - costs memory only where it is used
    except ImportError:
        log_event(logger, "refused", what="chart", why="Pillow is not installed (pip install Pillow)")
        return None
    with Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), _COLOURS["paper"]) as large:
        _lines(ImageDraw.Draw(large), drawn)
        with large.reduce(FINE) as picture:
            _words(ImageDraw.Draw(picture), ImageFont, alert, drawn)
            return _encoded(picture)


def _encoded(picture: Any) -> bytes:
    stream = BytesIO()
    picture.quantize(64).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def place(drawn: Plan, point: Point, scale: int = 1) -> tuple[float, float]:
    """Return the pixel of a point."""
    across = (point.at - drawn.from_at) / (drawn.to_at - drawn.from_at)
    up = (point.value - drawn.low) / (drawn.high - drawn.low)
    x = LEFT + across * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
    return x * scale, y * scale


def _lines(canvas: Any, drawn: Plan) -> None:
    """Draw the grid, what was seen, the fit, the forecast and the limit."""
    seen = [place(drawn, point, FINE) for point in drawn.points]
    floor_y = (HEIGHT - BOTTOM) * FINE
    canvas.polygon([(seen[0][0], floor_y), *seen, (seen[-1][0], floor_y)], fill=_COLOURS["below"])
    for tick in drawn.amounts:
        y = place(drawn, Point(drawn.from_at, tick.place), FINE)[1]
        canvas.line([(LEFT * FINE, y), ((WIDTH - RIGHT) * FINE, y)], fill=_COLOURS["grid"], width=FINE)
    for tick in drawn.times:
        x = place(drawn, Point(tick.place, drawn.low), FINE)[0]
        canvas.line([(x, floor_y), (x, floor_y + 5 * FINE)], fill=_COLOURS["faint"], width=FINE)
    if drawn.onset_at is not None:
        x = place(drawn, Point(drawn.onset_at, drawn.low), FINE)[0]
        _dashed(canvas, (x, TOP * FINE), (x, floor_y), "faint", FINE)
    if drawn.limit is not None:
        y = place(drawn, Point(drawn.from_at, drawn.limit), FINE)[1]
        canvas.line([(LEFT * FINE, y), ((WIDTH - RIGHT) * FINE, y)], fill=_COLOURS["limit"], width=2 * FINE)
    canvas.line(seen, fill=_COLOURS["seen"], width=3 * FINE, joint="curve")
    if drawn.fit:
        ends = [place(drawn, point, FINE) for point in drawn.fit]
        canvas.line(ends, fill=_COLOURS["fit"], width=2 * FINE)
    if drawn.forecast:
        begin, end = (place(drawn, point, FINE) for point in drawn.forecast)
        _dashed(canvas, begin, end, "fit", 2 * FINE)


def _dashed(
    canvas: Any, begin: tuple[float, float], end: tuple[float, float], colour: str, width: int
) -> None:
    (x0, y0), (x1, y1) = begin, end
    dashes = max(1, round(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 / (DASH * FINE)))
    for n in range(dashes):
        a, b = n / dashes, (n + 0.55) / dashes
        ends = [(x0 + (x1 - x0) * part, y0 + (y1 - y0) * part) for part in (a, b)]
        canvas.line(ends, fill=_COLOURS[colour], width=width)


def _words(canvas: Any, fonts: Any, alert: Alert, drawn: Plan) -> None:
    """Write the title, the scales and what the lines are."""
    large, small = fonts.load_default(_SIZE_TITLE), fonts.load_default(_SIZE_TEXT)
    canvas.text((LEFT, 12), _title(alert), font=large, fill=_COLOURS["text"])
    day = _moment(drawn.points[-1].at, "%d %b %Y, UTC")
    canvas.text((WIDTH - RIGHT, HEIGHT - 6), day, font=small, fill=_COLOURS["faint"], anchor="rs")
    for tick in drawn.amounts:
        y = place(drawn, Point(drawn.from_at, tick.place))[1]
        canvas.text((LEFT - 8, y), tick.label, font=small, fill=_COLOURS["text"], anchor="rm")
    for tick in drawn.times:
        x = place(drawn, Point(tick.place, drawn.low))[0]
        canvas.text((x, HEIGHT - BOTTOM + 8), tick.label, font=small, fill=_COLOURS["text"], anchor="mt")
    for at, anchor, text, colour in _legend(alert, drawn):
        canvas.text(at, text, font=small, fill=_COLOURS[colour], anchor=anchor)


def _moment(wall_s: float, form: str) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime(form)


def _title(alert: Alert) -> str:
    return f"{name(alert.service)}: {name(alert.process)}, pid {alert.pid} on {name(alert.host)}"


def _legend(alert: Alert, drawn: Plan) -> list[tuple[tuple[float, float], str, str, str]]:
    """Return where to write what about the lines, in which colour; lines that are not drawn have no words."""
    told: list[tuple[tuple[float, float], str, str, str]] = []
    if drawn.onset_at is not None:
        x = place(drawn, Point(drawn.onset_at, drawn.low))[0]
        told.append(
            ((x + 5, HEIGHT - BOTTOM - 6), "ls", f"since {_moment(drawn.onset_at, '%H:%M')}", "faint")
        )
    if drawn.limit is not None:
        y = place(drawn, Point(drawn.from_at, drawn.limit))[1]
        text = f"limit {amount(alert.subject, drawn.limit)}"
        told.append(((LEFT + 6, y + 5), "lt", text, "limit"))
    if drawn.forecast and alert.exhaustion_hours:
        text = f"full in about {hours(alert.exhaustion_hours.value)}"
        told.append(((WIDTH - RIGHT, 36), "rt", text, "fit"))
    if drawn.fit and alert.rate:
        told.append(((LEFT, 36), "lt", f"{amount(alert.subject, alert.rate.value)}/h", "fit"))
    return told
