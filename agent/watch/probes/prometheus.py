"""Asks a metrics page for a process's heap: Prometheus text, OpenMetrics or Go's expvar, by its content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.fetch import FetchError, fetch_into, parse_address
from agent.watch.ports import listening_ports
from agent.watch.probes import expvar, families
from agent.watch.probes.base import ASK_TIMEOUT_S, ProbeError, RuntimeFigures
from agent.watch.probes.exposition import Exposition

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.model import ProcessKey
    from agent.watch.targets import Target

MAX_PAGE_BYTES = 8_000_000
"""Taken in piece by piece and not kept; pages of ten thousand series have about 2 MB."""
PORT = "{port}"
"""Stands for the port that each process listens on."""
MAX_PORTS = 4
"""Of a process that listens on several of its own so many are asked."""
_ANY_PORT = range(1, 65_536)


class _Found(NamedTuple):
    """Where a process was found to answer, for one address of its entry and these others beside it."""

    url: str
    metrics: str
    others: AbstractSet[int]


class EndpointProbe:
    """Asks the page that the entry names; of several processes each at a port that is only its own."""

    def __init__(self, proc_root: Path = Path("/proc"), timeout_s: float = ASK_TIMEOUT_S) -> None:
        self._root = proc_root
        self._timeout_s = timeout_s
        self._found: dict[ProcessKey, _Found] = {}

    def suits(self, target: Target) -> bool:
        """Whether its entry names a page."""
        return target.entry is not None and target.entry.metrics is not None

    def where(self, target: Target) -> str:
        """Return host and port of the page."""
        return _metrics(target).removeprefix("http://").partition("/")[0]

    def ask(self, target: Target, others: AbstractSet[int]) -> RuntimeFigures:
        """Return what the page says now. Raises ProbeError."""
        key, metrics = target.process.key, _metrics(target)
        found = self._found.pop(key, None)
        known = found is not None and (found.metrics, found.others) == (metrics, others)
        urls = (found.url,) if found is not None and known else self._urls(metrics, key.pid, others)
        failures: list[str] = []
        for url in urls:
            try:
                figures = self._read(url, target, self._timeout_s / len(urls))
            except ProbeError as error:
                failures.append(str(error))
            else:
                self._found[key] = _Found(url, metrics, frozenset(others))
                return figures
        raise ProbeError("; ".join(dict.fromkeys(failures)))

    def forget(self, key: ProcessKey) -> None:
        """Drop where a process was found to answer."""
        self._found.pop(key, None)

    def _urls(self, metrics: str, pid: int, others: AbstractSet[int]) -> tuple[str, ...]:
        """Return where this process and no other may answer. Raises ProbeError where that cannot be told."""
        if PORT in metrics:
            return tuple(metrics.replace(PORT, str(port)) for port in self._own_ports(pid, others))
        if others:
            self._check_holder(_port(metrics), pid, others)
        return (metrics,)

    def _own_ports(self, pid: int, others: AbstractSet[int]) -> list[int]:
        held = listening_ports(self._root, (pid, *others), _ANY_PORT)
        shared = {port for other, ports in held.items() if other != pid for port in ports}
        own = sorted(held.get(pid, frozenset()) - shared)
        if not own:
            raise ProbeError("it listens on no port of its own, or its descriptors may not be read")
        return own[:MAX_PORTS]

    def _check_holder(self, port: int, pid: int, others: AbstractSet[int]) -> None:
        """Raise ProbeError unless of all processes of the service this one alone listens on the port."""
        holders = listening_ports(self._root, (pid, *others), {port})
        if pid not in holders:
            raise ProbeError(f"port {port} is not its own, and its service has {len(others) + 1} processes")
        if len(holders) > 1:
            raise ProbeError(f"{len(holders)} processes share port {port}: whose page it is cannot be told")

    def _read(self, url: str, target: Target, timeout_s: float) -> RuntimeFigures:
        heap_metric = target.entry.heap_metric if target.entry else None
        page = _Page(heap_metric)
        try:
            fetch_into(url, page.feed, timeout_s=timeout_s, max_bytes=MAX_PAGE_BYTES)
        except FetchError as error:
            raise ProbeError(str(error)) from None
        return page.figures(target.process.runtime)


class _Page:
    """One page as it comes in; a JSON object is kept whole, within the bound of an expvar page."""

    def __init__(self, heap_metric: str | None) -> None:
        self._heap_metric = heap_metric
        self._lines = Exposition(families.NAMES | ({heap_metric} if heap_metric else set()))
        self._json = bytearray()
        self._is_json: bool | None = None

    def feed(self, piece: bytes) -> None:
        if self._is_json is None and piece.strip():
            self._is_json = piece.lstrip().startswith(b"{")
        if not self._is_json:
            self._lines.feed(piece)
        elif len(self._json) <= expvar.MAX_BYTES:
            self._json += piece

    def figures(self, runtime: str) -> RuntimeFigures:
        """Return what the page told. Raises ProbeError."""
        if self._is_json:
            return expvar.figures(bytes(self._json))
        return families.figures(self._lines.end(), runtime, self._heap_metric)


def _metrics(target: Target) -> str:
    return (target.entry.metrics if target.entry else None) or ""


def _port(url: str) -> int:
    try:
        return parse_address(url).port
    except FetchError as error:
        raise ProbeError(str(error)) from None
