"""Makes docs/picture/leakwatch.svg: a terminal with a real run, above a chart of the process it watched.

python tests/bench/picture.py record   runs leakwatch on tests/data/shop.py for four minutes, sixty times as
                                       fast, and keeps its lines (run.log) and the memory it saw (shop.csv)
python tests/bench/picture.py draw     draws the picture of what is kept
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "docs" / "picture"
LOG, SERIES, PICTURE = FOLDER / "run.log", FOLDER / "shop.csv", FOLDER / "leakwatch.svg"
SHOP = HERE.parent / "data" / "shop.py"
LEAKWATCH = Path(sys.executable).with_name("leakwatch")

SCALE = 60
QUIET_S = 130.0
LEAK_BYTES_PER_S = 400_000.0
"""At this scale 24 MB an hour."""
RUN_S = 240.0
PAGE_BYTES = 4096

COLUMNS = 112
CHAR_WIDTH, LINE_HEIGHT, MARGIN = 7.25, 18, 20
WIDTH = int(COLUMNS * CHAR_WIDTH) + 2 * MARGIN
CHART_HEIGHT = 170
COLOURS = {"LEAK": "#ff7b72", "suspect": "#e3b341", "evidence": "#79c0ff", "delivered": "#7ee787"}
PLAIN, DIM, GROUND = "#c9d1d9", "#8b949e", "#0d1117"


def record() -> None:
    """Run leakwatch on the shop and keep its lines and the shop's memory."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _receiver() as url:
        config = Path(folder) / "leakwatch.yaml"
        config.write_text(
            "host: web-3\n"
            "watch:\n- service: shop\n  match: {command: 'tests/data/shop[.]py'}\n"
            f"channels:\n  slack: {{webhook_url: '{url}/hook'}}\n"
        )
        shop = subprocess.Popen([sys.executable, str(SHOP), str(QUIET_S), str(LEAK_BYTES_PER_S)])
        try:
            _watch(shop, config, Path(folder))
        finally:
            shop.kill()
            shop.wait()


def _watch(shop: subprocess.Popen[bytes], config: Path, folder: Path) -> None:
    command = [LEAKWATCH, "run", "--config", config, "--state-dir", "state", "--time-scale", str(SCALE)]
    # As under systemd, where the journal writes the time.
    environment = {"PATH": "/usr/bin:/bin", "JOURNAL_STREAM": "0:0"}
    with LOG.open("wb") as log:
        agent = subprocess.Popen(command, stderr=log, cwd=folder, env=environment)
        try:
            SERIES.write_text("\n".join(["t,anon", *_samples(shop.pid)]) + "\n")
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(10)


def _samples(pid: int) -> Iterator[str]:
    begun, pause = time.perf_counter(), threading.Event()
    while (passed_s := time.perf_counter() - begun) < RUN_S:
        _, resident, shared = (int(n) for n in Path(f"/proc/{pid}/statm").read_text().split()[:3])
        yield f"{passed_s:.2f},{(resident - shared) * PAGE_BYTES}"
        pause.wait(0.5)


class _receiver:  # noqa: N801 - used as a function
    """A host that takes every alert."""

    def __enter__(self) -> str:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Accepting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Found(NamedTuple):
    """When replay says what, in seconds of the series; the names are the labels of the chart."""

    onset: float
    suspect: float
    LEAK: float


def judged() -> Found:
    """Replay the kept series."""
    command = [LEAKWATCH, "replay", "--json", "--time-scale", str(SCALE), SERIES]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    leak = next(one for one in told if one["state"] in ("warning", "critical"))
    suspects = [one["t"] for one in told if one["state"] == "suspect" and one["t"] >= leak["onset_t"]]
    return Found(leak["onset_t"], min(suspects, default=leak["t"]), leak["t"])


def draw() -> str:
    """Return the picture of what is kept."""
    lines = list(_terminal(LOG.read_text()))
    top = 3 * MARGIN + LINE_HEIGHT * (len(lines) + 1)
    height = top + CHART_HEIGHT + 3 * MARGIN
    series = [tuple(map(float, row.split(","))) for row in SERIES.read_text().splitlines()[1:]]
    rows = (
        _text(MARGIN, 2 * MARGIN + number * LINE_HEIGHT, colour, text)
        for number, (text, colour) in enumerate(lines)
    )
    return "\n".join([_HEAD.format(height=height), *rows, *_chart(series, judged(), top), "</svg>\n"])


_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {{height}}" width="{WIDTH}" height="{{height}}"
  font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12">
<title>leakwatch finds a leak: its log lines, and the memory of the process</title>
<rect width="{WIDTH}" height="{{height}}" rx="8" fill="{GROUND}"/>"""


def _text(x: float, y: float, colour: str, text: str, anchor: str = "start") -> str:
    place = f'x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text {place} xml:space="preserve">{escape(text)}</text>'


def _terminal(log: str) -> Iterator[tuple[str, str]]:
    yield "$ journalctl -u leakwatch -o cat", DIM
    for line in log.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("started", "suspect", "LEAK", "evidence", "delivered"):
            yield from _wrapped(word, _without_machine(rest.strip()))


def _without_machine(pairs: str) -> str:
    """Write the folders of a service in place of the temporary ones of the recording; all else stays."""
    pairs = re.sub(r"config=\S+", "config=/etc/leakwatch/leakwatch.yaml", pairs)
    return re.sub(r"(?<==)/tmp/\S+?/state", "/var/lib/leakwatch", pairs)


def _wrapped(word: str, rest: str) -> Iterator[tuple[str, str]]:
    indent = " " * 10
    wrap = textwrap.wrap(rest, COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
    for number, part in enumerate(wrap):
        head = word.ljust(10) if number == 0 else indent
        yield head + part, COLOURS.get(word, PLAIN)


def _chart(series: Sequence[tuple[float, ...]], found: Found, top: float) -> Iterator[str]:
    last_s, high = series[-1][0], max(anon for _, anon in series) * 1.1
    left, right, bottom = MARGIN + 60, WIDTH - MARGIN, top + CHART_HEIGHT

    def x(seconds: float) -> float:
        return round(left + (right - left) * seconds / last_s, 1)

    def y(anon: float) -> float:
        return round(bottom - CHART_HEIGHT * anon / high, 1)

    for megabytes in range(0, int(high / 1e6), 25):
        at = y(megabytes * 1e6)
        yield f'<path d="M{left} {at}H{right}" stroke="#21262d"/>'
        yield _text(left - 8, at + 4, DIM, f"{megabytes} MB", "end")
    for hours in range(int(last_s * SCALE / 3600) + 1):
        yield _text(x(hours * 3600 / SCALE), bottom + 18, DIM, f"{hours} h", "middle")
    points = " ".join(f"{x(t)},{y(anon)}" for t, anon in series)
    yield f'<polyline points="{points}" fill="none" stroke="{PLAIN}" stroke-width="1.5"/>'
    for row, (word, at_s) in enumerate(found._asdict().items()):
        colour, at = COLOURS.get(word, DIM), x(at_s)
        yield f'<path d="M{at} {top}V{bottom}" stroke="{colour}" stroke-dasharray="3 3"/>'
        yield _text(at - 6, bottom - 42 + 16 * row, colour, word, "end")
    yield _text(right, bottom + 38, DIM, "heap; one second of the run counts as one minute", "end")


def main(action: str) -> None:
    """Record, draw, or both."""
    if action == "record":
        record()
    PICTURE.write_text(draw())


if __name__ == "__main__":
    main(sys.argv[1])
