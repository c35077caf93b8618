"""Makes docs/picture/leakwatch.svg: a terminal with a real run, above a chart of the process it watched.

python tests/bench/picture.py record   runs leakwatch on tests/data/shop.py for four minutes at --time-scale 60,
                                       and keeps what it logged and what the process held (run.log, shop.csv)
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
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

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
            + f"channels:\n  slack: {{webhook_url: '{url}/hook'}}\n"
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
    """What replay says about the kept series."""

    suspect_s: float
    leak_s: float
    onset_s: float


def judged() -> Found:
    """Replay the kept series."""
    command = [LEAKWATCH, "replay", "--json", "--time-scale", str(SCALE), SERIES]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    told = [json.loads(line) for line in lines]
    leak = next(one for one in told if one["state"] in ("warning", "critical"))
    suspects = [one["t"] for one in told if one["state"] == "suspect" and one["t"] >= leak["onset_t"]]
    return Found(min(suspects, default=leak["t"]), leak["t"], leak["onset_t"])


def draw() -> str:
    """Return the picture of what is kept."""
    lines = list(_terminal(LOG.read_text()))
    top = 3 * MARGIN + LINE_HEIGHT * (len(lines) + 1)
    height = top + CHART_HEIGHT + 3 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12">',
        "<title>leakwatch finds a leak: its log lines, and the memory of the process</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{GROUND}"/>',
    ]
    for number, (text, colour) in enumerate(lines):
        y = 2 * MARGIN + number * LINE_HEIGHT
        parts.append(f'<text x="{MARGIN}" y="{y}" fill="{colour}" xml:space="preserve">{escape(text)}</text>')
    series = [tuple(map(float, row.split(","))) for row in SERIES.read_text().splitlines()[1:]]
    parts += _chart(series, judged(), top)
    return "\n".join([*parts, "</svg>"]) + "\n"


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
    last_s, low, high = series[-1][0], 0.0, max(anon for _, anon in series) * 1.1
    left, right = MARGIN + 60, WIDTH - MARGIN

    def x(seconds: float) -> float:
        return round(left + (right - left) * seconds / last_s, 1)

    def y(anon: float) -> float:
        return round(top + CHART_HEIGHT * (1 - (anon - low) / (high - low)), 1)

    points = " ".join(f"{x(t)},{y(anon)}" for t, anon in series)
    for megabytes in range(0, int(high / 1e6), 25):
        at = y(megabytes * 1e6)
        yield f'<path d="M{left} {at}H{right}" stroke="#21262d"/>'
        yield f'<text x="{left - 8}" y="{at + 4}" fill="{DIM}" text-anchor="end">{megabytes} MB</text>'
    for hours in range(int(last_s * SCALE / 3600) + 1):
        at = x(hours * 3600 / SCALE)
        yield f'<text x="{at}" y="{top + CHART_HEIGHT + 18}" fill="{DIM}" text-anchor="middle">{hours} h</text>'
    yield f'<polyline points="{points}" fill="none" stroke="{PLAIN}" stroke-width="1.5"/>'
    marks = (("onset", found.onset_s, DIM), ("suspect", found.suspect_s, COLOURS["suspect"]))
    for row, (word, at_s, colour) in enumerate((*marks, ("LEAK", found.leak_s, COLOURS["LEAK"]))):
        yield f'<path d="M{x(at_s)} {top}V{top + CHART_HEIGHT}" stroke="{colour}" stroke-dasharray="3 3"/>'
        label = f'x="{x(at_s) - 6}" y="{top + CHART_HEIGHT - 10 - 16 * (2 - row)}" fill="{colour}" text-anchor="end"'
        yield f"<text {label}>{word}</text>"
    foot = "heap of the process; one second of the recording counts as one minute"
    yield f'<text x="{right}" y="{top + CHART_HEIGHT + 38}" fill="{DIM}" text-anchor="end">{foot}</text>'


def main(action: str) -> None:
    """Record, draw, or both."""
    if action == "record":
        record()
    PICTURE.write_text(draw())


if __name__ == "__main__":
    main(sys.argv[1])
