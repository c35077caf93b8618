"""The other tools that watch processes: how each is found, set up and started to poll once a second.

Each is given no more to do than to read the memory of the processes; what it would write goes nowhere.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cost_load import Load
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPS = Path(__file__).parent / "cost_loops.py"
NETDATA_PLUGINS = ("/usr/lib/netdata/plugins.d", "/usr/libexec/netdata/plugins.d")
NETDATA_CONFIG = "/usr/lib/netdata/conf.d"
PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """How a tool is started."""

    argv: Sequence[str | Path]
    environ: Mapping[str, str] = field(default_factory=dict)
    scrape: str = ""
    """An address that has to be asked once a second for it to poll; empty where it polls by itself."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a tool is to watch."""

    load: Load
    folder: Path
    """Of its own, empty."""
    poller: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool beside which leakwatch is measured."""

    name: str
    program: str
    """What must be there for it to run; a name or a path."""
    prepare: Callable[[str, Task], Start]
    """Given where the program was found."""
    children_only: bool = False
    """The processes that it starts are the tool, and it only starts them."""

    def find(self) -> str | None:
        """Return where its program is; None where it is not installed."""
        return shutil.which(self.program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def _pidstat(program: str, _: Task) -> Start:
    return Start([program, "-r", "1"])


def _apps_plugin(*options: str) -> Callable[[str, Task], Start]:
    def prepare(program: str, _: Task) -> Start:
        folders = {"NETDATA_USER_CONFIG_DIR": NETDATA_CONFIG, "NETDATA_STOCK_CONFIG_DIR": NETDATA_CONFIG}
        return Start([program, "1", *options], folders)

    return prepare


def _monit(program: str, task: Task) -> Start:
    lines = [
        "set daemon 1",
        *(f"set {name}file {task.folder / name}.monit" for name in ("pid", "id", "state")),
    ]
    for pid in task.load.pids:
        pidfile = task.folder / f"{pid}.pid"
        pidfile.write_text(f"{pid}\n")
        lines.append(f"check process p{pid} with pidfile {pidfile}\n  if memory > 10 GB then alert")
    control = task.folder / "monitrc"
    control.write_text("\n".join([*lines, ""]))
    control.chmod(0o600)
    return Start([program, "-I", "-c", control])


def _atop(program: str, task: Task) -> Start:
    # An empty ATOPACCT keeps the kernel's process accounting off (atop(1)).
    return Start([program, "-w", task.folder / "raw", "1"], {"ATOPACCT": ""})


def _collectd(program: str, task: Task) -> Start:
    names = "\n".join(f'  Process "{name}"' for name in task.load.manners.names)
    config = task.folder / "collectd.conf"
    config.write_text(
        f'Interval 1\nBaseDir "{task.folder}"\nPIDFile "{task.folder}/pid"\n'
        f"LoadPlugin processes\n<Plugin processes>\n{names}\n</Plugin>\n"
    )
    return Start([program, "-f", "-C", config])


def _process_exporter(*options: str) -> Callable[[str, Task], Start]:
    def prepare(program: str, task: Task) -> Start:
        address = f"127.0.0.1:{free_port()}"
        config = task.folder / "exporter.yml"
        config.write_text('process_names:\n  - name: "{{.Comm}}"\n    cmdline: [".+"]\n')
        argv: list[str | Path] = [program, "-config.path", config, "-web.listen-address", address, *options]
        return Start(argv, scrape=f"http://{address}/metrics")

    return prepare


def _glances(program: str, _: Task) -> Start:
    return Start([program, "-q", "-t", "1", "--disable-check-update"])


def _loop(kind: str) -> Callable[[str, Task], Start]:
    def prepare(_: str, task: Task) -> Start:
        return Start([sys.executable, LOOPS, kind, *map(str, task.load.pids)])

    return prepare


def _poller(how: str) -> Callable[[str, Task], Start]:
    def prepare(_: str, task: Task) -> Start:
        return Start([task.poller, how, *map(str, task.load.pids)])

    return prepare


def _apps_plugin_path() -> str:
    return next(
        (path for folder in NETDATA_PLUGINS if Path(path := f"{folder}/apps.plugin").exists()), "apps.plugin"
    )


APPS_PLUGIN = _apps_plugin_path()
LEAN = ("-threads=false", "-gather-smaps=false", "-children=false")
PEERS = (
    Peer("limit: C, held descriptors", "cc", _poller("held")),
    Peer("C, open/read/close", "cc", _poller("open")),
    Peer("Python, held descriptors", sys.executable, _loop("held")),
    Peer("Python, open/read/close", sys.executable, _loop("open")),
    Peer("leakwatch's Sampler alone", sys.executable, _loop("sampler")),
    Peer("psutil process_iter", sys.executable, _loop("psutil-iter")),
    Peer("psutil is_running, memory_info", sys.executable, _loop("psutil")),
    Peer("ps -eo pid,rss", "ps", _loop("ps"), children_only=True),
    Peer("pidstat -r 1", "pidstat", _pidstat),
    Peer("netdata apps.plugin, no files", APPS_PLUGIN, _apps_plugin("without-files")),
    Peer("netdata apps.plugin", APPS_PLUGIN, _apps_plugin()),
    Peer("collectd processes", "collectd", _collectd),
    Peer("monit", "monit", _monit),
    Peer("atop 1", "atop", _atop),
    Peer("glances -t 1", "glances", _glances),
    Peer("process-exporter, lean", "prometheus-process-exporter", _process_exporter(*LEAN)),
    Peer("process-exporter", "prometheus-process-exporter", _process_exporter()),
)


@contextmanager
def scraping(address: str) -> Iterator[None]:
    """Ask an address once a second meanwhile; nothing is asked of an empty one."""
    done = threading.Event()

    def scrape() -> None:
        while not done.wait(PERIOD_S):
            with suppress(OSError), urllib.request.urlopen(address, timeout=10.0) as answer:  # noqa: S310 - ours
                answer.read()

    thread = threading.Thread(target=scrape)
    if address:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if address:
            thread.join()


def selected(words: Sequence[str]) -> list[Peer]:
    """Return the peers whose name holds one of these words; every one where there are no words."""
    return [peer for peer in PEERS if not words or any(word in peer.name for word in words)]
