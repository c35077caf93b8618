"""Searches for processes on a thread of its own, so that a slow search never delays a poll."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agent.logs import log_event

if TYPE_CHECKING:
    from agent.clock import Clock
    from agent.config import Config
    from agent.model import ProcessKey
    from agent.watch.discovery import Discovery
    from agent.watch.targets import Selection

logger = logging.getLogger(__name__)


class Finder:
    """Keeps the latest selection of processes fresh."""

    def __init__(self, config: Config, discovery: Discovery, clock: Clock) -> None:
        self._config = config
        self._discovery = discovery
        self._clock = clock
        self._watched: frozenset[ProcessKey] = frozenset()
        self._latest: Selection | None = None
        self._told = (0, 0)
        self._wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="leakwatch-discovery", daemon=True)

    def latest(self, watched: frozenset[ProcessKey]) -> Selection:
        """Return the newest selection; the very first one is searched for at once."""
        self._watched = watched
        if self._latest is None:
            self.search()
        selection = self._latest
        assert selection is not None  # noqa: S101 - search has just set it
        return selection

    def search(self) -> None:
        """Search now, on the calling thread (before `start`) or on the finder's own."""
        config = self._config
        selection = self._discovery.scan(config.watch, config.discover, self._watched)
        self._tell(selection, config)
        self._latest = selection

    def reconfigure(self, config: Config) -> None:
        """Search by another configuration, as soon as may be."""
        self._config = config
        self._wanted.set()

    def start(self) -> None:
        """Search again and again from now on; once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End; True when a search under way ended in time."""
        self._stopping = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._clock.wait(self._wanted, self._config.discovery_interval_s)
            self._wanted.clear()
            if self._stopping:
                return
            try:
                self.search()
            except Exception as error:
                log_event(logger, "discovery", level=logging.ERROR, why=f"{type(error).__name__}: {error}")
                logger.debug("discovery failed", exc_info=True)

    def _tell(self, selection: Selection, config: Config) -> None:
        """Log once whenever what is left out changes."""
        left_out = (selection.dropped, len(selection.denied))
        if left_out == self._told:
            return
        self._told = left_out
        why = f"at most {config.discover.max_processes} are watched (discover.max_processes)"
        log_event(
            logger,
            "bounded",
            level=logging.WARNING if any(left_out) else logging.INFO,
            dropped=selection.dropped,
            denied=len(selection.denied),
            why=why if selection.dropped else "unreadable processes are left alone",
        )
