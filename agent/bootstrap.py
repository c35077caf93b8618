"""Puts the daemon together: the only file that names concrete classes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.alerts import channels as channel_kinds
from agent.alerts.base import CHECK_IN_EVERY_S
from agent.alerts.delivery import Deliverer
from agent.alerts.heartbeat import HttpBeat
from agent.alerts.outbox import Outbox
from agent.capture_helper.sources import sources_of
from agent.clock import Clock
from agent.config import Config, ConfigError, load
from agent.daemon.baselines import BaselineRound
from agent.daemon.changes import Changes
from agent.daemon.course import history_of_change
from agent.daemon.finding import Finder
from agent.daemon.gate import Gate
from agent.daemon.gauges import Gauges
from agent.daemon.heartbeat import Heartbeat
from agent.daemon.judge import Judge
from agent.daemon.keeper import EVIDENCE_HOLD_S, IncidentKeeper
from agent.daemon.lineage import Lineage
from agent.daemon.loop import Daemon, Parts
from agent.daemon.memory import Memory
from agent.daemon.noticing import ChangeNews, Noticer
from agent.daemon.publish import Publisher
from agent.daemon.watched import WatchedSet
from agent.daemon.watcher import Watcher
from agent.evidence import turn
from agent.evidence.baselines import Baselines
from agent.evidence.captures import Captures
from agent.evidence.worker import CaptureWorker
from agent.history.lineage import RunStore
from agent.history.store import HistoryStore, HistoryWriter
from agent.logs import log_event
from agent.sdnotify import Notifier
from agent.statedir import STATE_FILE
from agent.text import one_line
from agent.units import format_duration
from agent.watch.cgroups import LimitReader
from agent.watch.discovery import Discovery
from agent.watch.makeup import Makeup
from agent.watch.probes.chosen import ChosenProbes, all_asked
from agent.watch.processes import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from agent.alerts.base import Channel, Notes
    from agent.history.runs import Run
    from agent.model import Alert

logger = logging.getLogger(__name__)

CAPTURES = "captures"
BASELINES = "baselines"
HISTORY_FILE = "history.db"
RUNS_FILE = "runs.db"
AT_START_ONLY = ("state_dir", "host", "log", "evidence", "web", "heartbeat")
"""Keys of the file that a reload does not take over."""
STOP_TIMEOUT_S = 1.0
"""Each worker may take so long to end: together they stay within the five seconds of a stop."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how a daemon runs."""

    config: Config
    config_path: str
    """Empty when it runs without a file."""
    state_dir: Path
    clock: Clock
    environ: MutableMapping[str, str]
    time_scale: float = 1.0
    """Seconds of the clock in a real one: the tools that take evidence are no faster in a rehearsal."""


def _page(summary: dict[str, Any], alert: Alert | None) -> bytes:
    """Return the page of a capture."""
    from agent.report.page import page  # noqa: PLC0415 - a MB that no capture may ever need

    return page(summary, alert)


def build(setting: Setting, stack: ExitStack) -> Daemon:
    """Return a daemon whose workers run; closing the stack stops them. Raises OSError and WebError."""
    config, clock = setting.config, setting.clock
    host = config.host or socket.gethostname()
    outbox = Outbox(setting.state_dir / STATE_FILE)
    stack.callback(outbox.close)
    channels = build_channels(config, clock, outbox.notes)
    deliverer = Deliverer(outbox, channels, clock)
    outbox.write_behind(deliverer.wake)
    deliverer.start()
    stack.callback(deliverer.stop, STOP_TIMEOUT_S)
    baselines = Baselines(setting.state_dir / BASELINES, config.evidence.baseline_budget_bytes, turn.SHARED)
    sources = sources_of(config.evidence)
    captures = CaptureWorker(
        Captures(
            setting.state_dir / CAPTURES,
            config.evidence,
            sources,
            report=_page,
            baselines=baselines,
            host_lock=turn.SHARED,
        )
    )
    captures.start()
    stack.callback(captures.stop, STOP_TIMEOUT_S)
    hold_s = EVIDENCE_HOLD_S * setting.time_scale
    noticer = Noticer(config, outbox, channels, deliverer.wake)
    keeper = IncidentKeeper(config, host, outbox, channels, captures, deliverer.wake, hold_s)
    notifier = Notifier(setting.environ)
    gauges = Gauges(config, host)
    stack.callback(gauges.stop, STOP_TIMEOUT_S)
    publisher = Publisher(
        config,
        clock.now(),
        keeper=keeper,
        outbox=outbox,
        deliverer=deliverer,
        notifier=notifier,
        gauges=gauges,
        state_dir=setting.state_dir,
        config_path=setting.config_path,
    )
    judge = Judge(config, Makeup())
    keeper.recall_by(partial(history_of_change, judge))
    gate = Gate()
    finder = Finder(config, Discovery(as_they_are=config.evidence.arguments, pause=gate.wait), clock)
    probes = ChosenProbes(all_asked())
    stack.callback(probes.stop, STOP_TIMEOUT_S)
    parts = Parts(
        clock=clock,
        gate=gate,
        finder=finder,
        watched=WatchedSet(Sampler(), LimitReader(), probes),
        judge=judge,
        memory=_memory(setting, judge, stack),
        lineage=_lineage(setting, judge, stack),
        keeper=keeper,
        changes=ChangeNews(Changes(host), noticer),
        publisher=publisher,
        notifier=notifier,
        baselines=BaselineRound(config, captures, baselines.taken_t_s),
    )
    daemon = Daemon(config, parts, _reloader(setting, parts, deliverer, noticer, outbox.notes))
    _serve(setting, daemon, stack)
    _start(Watcher(host, outbox, deliverer, noticer, publisher, clock), stack)
    for heartbeat in _heartbeats(setting, daemon):
        _start(heartbeat, stack)
    finder.search()
    finder.start()
    stack.callback(finder.stop, STOP_TIMEOUT_S)
    return daemon


def build_channels(config: Config, clock: Clock, notes: Notes) -> dict[str, Channel]:
    """Return the channels that alerts can be sent through, by name."""
    live = config.live_channels
    return {name: channel_kinds.build(name, options, clock, notes) for name, options in live.items()}


def log_start(setting: Setting) -> None:
    """Log what this daemon is and does, and aloud what is off."""
    config = setting.config
    log_event(
        logger,
        "started",
        version=__version__,
        config=setting.config_path or "none (watching everything over discover.min_rss)",
        services=len(config.watch) or None,
        interval=format_duration(config.poll_interval_s),
        channels=",".join(config.live_channels) or "none",
        web=config.web.listen if config.web else None,
        state=setting.state_dir,
        pid=os.getpid(),
    )
    for name, why in config.off.items():
        log_event(logger, "off", level=logging.WARNING, channel=name, why=why)


def _memory(setting: Setting, judge: Judge, stack: ExitStack) -> Memory:
    store = HistoryStore(setting.state_dir / HISTORY_FILE, boot_id())
    stack.callback(store.close)
    writer = HistoryWriter(store)
    memory = Memory(judge, store, writer)
    stack.callback(writer.stop, STOP_TIMEOUT_S)
    writer.start()
    return memory


def _lineage(setting: Setting, judge: Judge, stack: ExitStack) -> Lineage:
    store = RunStore(setting.state_dir / RUNS_FILE)
    stack.callback(store.close)
    writer: HistoryWriter[Sequence[Run]] = HistoryWriter(store, "leakwatch-runs")
    lineage = Lineage(setting.config, judge, store, writer)
    stack.callback(writer.stop, STOP_TIMEOUT_S)
    writer.start()
    return lineage


def boot_id() -> str:
    """Return the name of this boot, as process keys carry it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def _serve(setting: Setting, daemon: Daemon, stack: ExitStack) -> None:
    if setting.config.web is None:
        return
    from agent.web.server import WebServer  # noqa: PLC0415 - prometheus_client is loaded where it is used

    server = WebServer(setting.config.web, daemon.view, setting.clock)
    server.start()
    stack.callback(server.stop)


def _heartbeats(setting: Setting, daemon: Daemon) -> list[Heartbeat]:
    """Return what tells the outside that ticks are completed, as far as the configuration asks for it."""
    options, clock = setting.config.heartbeat, setting.clock
    found = _check_ins(setting, daemon)
    if options is not None and not options.url:
        log_event(logger, "off", level=logging.WARNING, what="heartbeat", why="url is empty")
    elif options is not None:
        beat = HttpBeat(options, channel_kinds.http_client(options.http, clock))
        found.append(Heartbeat("heartbeat", beat, options.every_s, daemon.view, clock))
    return found


def _check_ins(setting: Setting, daemon: Daemon) -> list[Heartbeat]:
    """Return the monitors of channels that miss us when we are gone."""
    clock, found = setting.clock, []
    for name, options in setting.config.live_channels.items():
        beat = options.check_ins(channel_kinds.reaching(clock))
        if beat is not None:
            found.append(Heartbeat(f"check-in-{name}", beat, CHECK_IN_EVERY_S, daemon.view, clock))
    return found


def _start(worker: Watcher | Heartbeat, stack: ExitStack) -> None:
    worker.start()
    stack.callback(worker.stop, STOP_TIMEOUT_S)


def _reloader(
    setting: Setting, parts: Parts, deliverer: Deliverer, noticer: Noticer, notes: Notes
) -> Callable[[], Config | None]:
    started_by = setting.config

    def reload() -> Config | None:
        config = _read_again(setting)
        if config is None:
            return None
        channels = build_channels(config, setting.clock, notes)
        deliverer.replace(channels)
        noticer.reconfigure(config, channels)
        parts.keeper.reconfigure(config, channels)
        parts.baselines.reconfigure(config)
        parts.judge.reconfigure(config)
        parts.lineage.reconfigure(config)
        parts.publisher.reconfigure(config)
        parts.finder.reconfigure(config)
        log_event(
            logger, "reloaded", config=setting.config_path, channels=",".join(config.live_channels) or "none"
        )
        for name, why in config.off.items():
            log_event(logger, "off", level=logging.WARNING, channel=name, why=why)
        later = [key for key in AT_START_ONLY if getattr(config, key) != getattr(started_by, key)]
        if later:
            why = "takes effect when leakwatch is started again"
            log_event(logger, "restart", level=logging.WARNING, keys=",".join(later), why=why)
        return config

    return reload


def _read_again(setting: Setting) -> Config | None:
    if not setting.config_path:
        log_event(logger, "refused", level=logging.WARNING, why="there is no configuration file to reload")
        return None
    try:
        return load(setting.config_path, setting.environ)
    except ConfigError as error:
        for problem in error.problems:
            log_event(logger, "refused", level=logging.ERROR, why=one_line(str(problem)))
        log_event(logger, "kept", config=setting.config_path, why="the earlier configuration stays in force")
        return None
