"""Every command of docs/detection.md does what the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from documents import DETECTION as PAGE
from documents import EXECUTABLES, TRY, run_shell

from agent.detect import features, rules
from agent.recording import Recording, decode, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKED = re.compile(r"<!-- (?P<mark>\w+) -->\n```sh\n(?P<command>.*?)```", re.DOTALL)
COMMANDS = {match["mark"]: match["command"] for match in MARKED.finditer(PAGE)}
BENCH = re.findall(r"^python (tests/bench/\w+\.py)(.*)$", PAGE, re.MULTILINE)
SAMPLES = 200


class Prometheus(BaseHTTPRequestHandler):
    """Answers a range query with one series, as the HTTP API describes it."""

    asked: dict[str, list[str]]

    def do_GET(self) -> None:
        Prometheus.asked = parse_qs(urlsplit(self.path).query)
        values = [[1.7e9 + 60 * k, str(1e8 + 1000 * k)] for k in range(SAMPLES)]
        answer = {"status": "success", "data": {"resultType": "matrix", "result": [{"values": values}]}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def printed(command: str, folder: Path, **cwd: Path) -> str:
    done = run_shell(command, folder, **cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded(folder: Path) -> Recording:
    return parse("shop.csv", decode("shop.csv", (folder / "shop.csv").read_bytes()))


def test_a_rarer_false_alarm_needs_no_lower_probability(tmp_path: Path) -> None:
    (example,) = TRY.finditer(PAGE)
    chances = [float(line.split()[-1]) for line in printed(example["command"], tmp_path).splitlines()]

    assert len(chances) > 2
    assert chances == sorted(chances)


def test_prometheus_gives_a_recording_that_replay_judges(prometheus: str, tmp_path: Path) -> None:
    ask = COMMANDS["prometheus"].replace("http://localhost:9090", prometheus)
    printed(ask, tmp_path, cwd=tmp_path)

    assert recorded(tmp_path).columns["rss"][-1] == 1e8 + 1000 * (SAMPLES - 1)
    assert Prometheus.asked["query"] == ['process_resident_memory_bytes{instance="shop:8000"}']
    span_s = float(Prometheus.asked["end"][0]) - float(Prometheus.asked["start"][0])
    assert span_s / float(Prometheus.asked["step"][0]) <= 11_000
    (tmp_path / "leakwatch.yaml").write_text("detection: {false_alarm_every: 60d}\n")
    for line in COMMANDS["replay"].splitlines():
        printed(line, tmp_path, cwd=tmp_path)


def test_psutil_records_a_process_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as child:
        code = COMMANDS["psutil"].split("<<'EOF'\n")[1].split("EOF")[0].replace("time.sleep(30)", "input()")
        recorder = subprocess.Popen(
            [EXECUTABLES / "python3", "-c", code, str(child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with recorder:
            assert recorder.stdin is not None
            assert recorder.stdout is not None
            lines = [recorder.stdout.readline(), recorder.stdout.readline()]
            recorder.stdin.write("\n")
            recorder.stdin.flush()
            lines.append(recorder.stdout.readline())
            child.communicate("\n")
            recorder.communicate("\n")
    assert recorder.returncode == 0
    columns = parse("shop.csv", lines).columns
    assert set(columns) == {"rss", "anon", "threads", "fds", "cpu"}
    assert 0 < columns["anon"][0] < columns["rss"][0]


@pytest.mark.parametrize(("script", "rest"), BENCH)
def test_a_command_of_the_bench_exists_with_its_options(script: str, rest: str, tmp_path: Path) -> None:
    text = printed(f"python {script} --help", tmp_path)

    assert set(re.findall(r"--[a-z-]+", rest)) <= set(re.findall(r"--[a-z-]+", text))


def test_the_bench_is_told_of() -> None:
    assert {script for script, _ in BENCH} == {"tests/bench/train.py", "tests/bench/detection.py"}


def test_the_page_names_every_feature() -> None:
    table = PAGE.split("| reason in an alert |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", "".join(row.split("|")[3] for row in table.splitlines()[2:])))

    assert named == set(features.NAMES)


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("8 hours²", rules.QUIET_PRODUCT_S2 / 3600.0**2),
        ("must last 6 hours", rules.FROM_START_S / 3600.0),
        ("60 % of the life", 100 * rules.FROM_START_COVER),
        ("from 4 standard errors", rules.MIN_SIGNIFICANCE),
        ("must last 26 hours", rules.LOADED_S / 3600.0),
        ("over 8 hours", rules.HORIZON_S / 3600.0),
        ("at most 4: what", rules.MOST_PATIENCE),
    ],
)
def test_the_page_tells_the_figures_of_the_code(text: str, figure: float) -> None:
    told = re.findall(r"\d+(?:\.\d+)?", text)

    assert text in PAGE
    assert float(told[0]) == figure
