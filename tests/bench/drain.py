"""Measures a daemon that has 10,000 deliveries to catch up with: whether polls are late, and its memory.

    python tests/bench/drain.py [DELIVERIES]

The installed daemon polls every second and watches ten processes; its outbox was filled while it was down.
One receiver on loopback takes everything. For comparison the same is done with an empty outbox first.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import yaml
from alert_samples import LEAK
from children import LeakyChild
from installed import InstalledDaemon
from ports import free_port
from receiver import Receiver, Request

from agent.alerts.outbox import Outbox
from agent.clock import SystemClock
from agent.model import Transition

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES = 10
PATIENCE_S, SAMPLE_S = 900.0, 0.1
QUIET_S = 15.0
"""How long the daemon runs with nothing to send, for comparison."""
STORY = (Transition.OPENED, Transition.WORSENED, Transition.ACKNOWLEDGED, Transition.UPDATED)
"""Nothing of it can be merged before it is sent."""


class Counting(Receiver):
    """Keeps the number of the requests alone: their bodies are not what is measured."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        self.count = 0
        self.expected = expected
        self.complete = threading.Event()

    def take(self, request: Request) -> Callable[[Any], None]:
        answer = super().take(request)
        self.clear()
        self.count += 1
        if self.count >= self.expected:
            self.complete.set()
        return answer


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run showed."""

    seconds: float
    ticks: int
    """Completed while it was watched."""
    missed: int
    """Fewer than the time should have brought, at one a second."""
    longest_tick_s: float
    peak_bytes: int
    """Of resident memory, VmHWM of proc(5)."""


def fill(path: Path, deliveries: int) -> None:
    """Store so many alerts as a daemon would have that was stopped before it could send them."""
    now = SystemClock().now()
    alerts = [
        ("webhook", replace(LEAK, incident_id=f"{number:08x}", sequence=sequence, transition=word))
        for number in range(deliveries // len(STORY))
        for sequence, word in enumerate(STORY, 1)
    ]
    with closing(Outbox(path)) as outbox:
        outbox.record_notices(alerts, now)


def measure(folder: Path, deliveries: int) -> Figures:
    """Run a daemon on an outbox with so many deliveries, until they have arrived."""
    state_dir = folder / "state"
    state_dir.mkdir(mode=0o700, parents=True)
    fill(state_dir / "state.db", deliveries)
    with ExitStack() as stack:
        receiver = stack.enter_context(Counting(deliveries))
        children = [stack.enter_context(LeakyChild(f"drain-{n}")) for n in range(PROCESSES)]
        port, config = free_port(), folder / "leakwatch.yaml"
        config.write_text(yaml.safe_dump(configuration(receiver, children, port)))
        daemon = stack.enter_context(InstalledDaemon(["--config", config, "--state-dir", state_dir], {}))
        daemon.wait_for("started ")
        over, wait_s = (receiver.complete, PATIENCE_S) if deliveries else (threading.Event(), QUIET_S)
        seconds, ticks, longest_s = watch_ticks(port, over, wait_s)
        assert receiver.count == deliveries
        status = Path(f"/proc/{daemon.pid}/status").read_text("ascii")
        assert daemon.terminate() == 0
    peak_bytes = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return Figures(seconds, ticks, max(0, int(seconds) - ticks), longest_s, peak_bytes)


def configuration(receiver: Receiver, children: list[LeakyChild], port: int) -> dict[str, object]:
    """Return a file that polls every second, watches the children and tells the receiver."""
    return {
        "poll_interval": "1s",
        "snapshots": False,
        "web": {"listen": f"127.0.0.1:{port}"},
        "watch": [{"service": f"s{n}", "match": {"pid": child.pid}} for n, child in enumerate(children)],
        "channels": {"webhook": {"url": f"{receiver.url}/"}},
    }


def watch_ticks(port: int, over: threading.Event, longest_wait_s: float) -> tuple[float, int, float]:
    """Return for how long it was watched, how many ticks that brought, and the longest of them in seconds."""
    clock, samples = SystemClock(), []
    begun_t_s = clock.now().t_s
    while not over.is_set() and clock.now().t_s < begun_t_s + longest_wait_s:
        samples.append((clock.now().t_s, *ask(port)))
        over.wait(SAMPLE_S)
    ticks = [sample for sample in samples if sample[1] > 0]
    (first_t_s, first, _), (last_t_s, last, _) = ticks[0], ticks[-1]
    return last_t_s - first_t_s, int(last - first), max(tick_s for *_, tick_s in ticks)


def ask(port: int) -> tuple[float, float]:
    """Return the number of ticks and the duration of the latest in seconds, as the metrics tell them."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)) as connection:
        try:
            connection.request("GET", "/metrics")
        except ConnectionRefusedError:
            return 0.0, 0.0  # it has only just started
        lines = connection.getresponse().read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return float(values["leakwatch_ticks_total"]), float(values["leakwatch_tick_seconds"])


def main(deliveries: int) -> None:
    """Print the figures of both runs."""
    sys.stdout.write("deliveries  seconds  a second  ticks  missed  longest tick  peak memory\n")
    with tempfile.TemporaryDirectory() as folder:
        for count in (0, deliveries):
            f = measure(Path(folder) / str(count), count)
            columns = (
                f"{count:>10}",
                f"{f.seconds:>7.1f}",
                f"{count / f.seconds:>8.0f}",
                f"{f.ticks:>5}",
                f"{f.missed:>6}",
                f"{f.longest_tick_s * 1000:>9.0f} ms",
                f"{f.peak_bytes / 1e6:>8.0f} MB",
            )
            sys.stdout.write("  ".join(columns) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10_000)
