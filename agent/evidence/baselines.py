"""Baselines: what each process looked like once it had settled, one small compressed file for each."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.evidence import governor
from agent.evidence.files import CaptureFolder, MemoryFolder
from agent.evidence.folder import FolderError, expanded, opened, read
from agent.evidence.governor import Bounds
from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError
from agent.evidence.source import Tier
from agent.evidence.taking import Before, Taking
from agent.evidence.turn import TakenError, our_turn
from agent.gz import gzipped
from agent.logs import log_event
from agent.model import ProcessKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.governor import Conditions
    from agent.evidence.options import EvidenceOptions
    from agent.evidence.source import Source
    from agent.model import Instant, Process

logger = logging.getLogger(__name__)

SUFFIX = ".json.gz"
MAX_CONTENT_BYTES = 256_000
"""A longer file of one source is left out; the longest are counts by class."""
KEEP_GONE_S = 86400.0
"""An incident outlives its process for some hours; so does the baseline."""
PRUNE_EVERY = 64
"""Takes between two looks for what can go."""
BLOCK_BYTES = 4096
"""A file takes at least so much of the disk."""


class Baselines:
    """All baselines under `directory`, mode 0700, within a budget of their own.

    What is known of who has one is read once; one thread takes them, any may ask.
    """

    def __init__(self, directory: Path, budget_bytes: int, host_lock: Path | None = None) -> None:
        self._directory = directory
        self._budget_bytes = budget_bytes
        self._host_lock = host_lock
        self._takes = 0
        self._taken = {key: taken_t_s for key, taken_t_s, _ in self._stored()}

    def taken_t_s(self, key: ProcessKey) -> float | None:
        """Return when the baseline of a process was taken; None where it has none."""
        return self._taken.get(key)

    def take(
        self,
        process: Process,
        now: Instant,
        consent: Consent,
        sources: Sequence[Source],
        options: EvidenceOptions,
        look: Callable[[HeldProcess, int], Conditions],
    ) -> None:
        """Take and keep one, in the place of an earlier one; not while captures are taken. Never raises."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with our_turn(self._directory, 0.0, self._host_lock), HeldProcess(process.key) as held:
                folder = MemoryFolder()
                taking = Taking(process, held, folder, now, options, consent, lambda _: None)
                self._fill(taking, sources, look)
                held.check()
            self._keep(process.key, now, folder.content)
        except (ProcessGoneError, TakenError):
            return  # asked for again later, if it lives
        except Exception as error:  # noqa: BLE001 - nobody waits for a baseline
            log_event(logger, "refused", level=logging.WARNING, baseline=process.key.pid, why=str(error))

    def before(self, key: ProcessKey, name: str, now: Instant) -> Before | None:
        """Return a file of the baseline of a process; None where there is none that can be read."""
        with suppress(OSError, FolderError, ValueError, KeyError, TypeError, AttributeError):
            with opened(str(self._directory)) as fd:
                kept = json.loads(expanded(read(f"{key}{SUFFIX}", fd)))
            content = kept["files"].get(name)
            if content is not None:
                return Before(content.encode("utf-8", "surrogateescape"), now.t_s - float(kept["taken_t_s"]))
        return None

    def _fill(
        self,
        taking: Taking,
        sources: Sequence[Source],
        look: Callable[[HeldProcess, int], Conditions],
    ) -> None:
        """Take what is worth it and costs next to nothing. Raises OSError, ProcessGoneError."""
        bounds = Bounds(governor.CHEAP_PAUSE_S, 0.0, 0)
        conditions: Conditions | None = None
        for source in sources:
            if not (source.cost.baseline and source.suits(taking.process, taking.consent)):
                continue
            if not governor.free_of_cost(source.cost):
                conditions = conditions or look(taking.held, 0)
                if governor.refusal(source.cost, conditions, bounds):
                    continue
                if source.cost.tier > Tier.CHEAP and source.why_not(taking.process, taking.held):
                    continue
            try:
                source.take(taking)
            except ProcessGoneError:
                raise
            except Exception:  # made of what programs of others have said: the next source is taken
                logger.debug("baseline", exc_info=True)

    def _keep(self, key: ProcessKey, now: Instant, content: dict[str, bytes]) -> None:
        """Write what was found. Raises OSError, FolderError."""
        files = {
            name: raw.decode("utf-8", "surrogateescape")
            for name, raw in content.items()
            if len(raw) <= MAX_CONTENT_BYTES
        }
        if not files:
            return
        kept = {"schema": 1, "key": str(key), "taken_t_s": now.t_s, "files": files}
        with opened(str(self._directory)) as fd:
            CaptureFolder(self._directory, fd).replace(
                f"{key}{SUFFIX}", gzipped(json.dumps(kept).encode("ascii"), level=9, made_s=int(now.t_s))
            )
        self._taken[key] = now.t_s
        self._takes += 1
        if self._takes % PRUNE_EVERY == 1:
            self._prune(now)

    def _prune(self, now: Instant) -> None:
        """Remove those of processes that ended long ago, then the oldest until the rest fits."""
        stored = sorted(self._stored(), key=lambda one: one[1])
        sizes = {key: size for key, _, size in stored}
        gone = [key for key, taken_t_s, _ in stored if not _lives(key) and now.t_s - taken_t_s > KEEP_GONE_S]
        excess = sum(size for key, size in sizes.items() if key not in gone) - self._budget_bytes
        for key in [key for key in sizes if key not in gone]:
            if excess <= 0:
                break
            gone.append(key)
            excess -= sizes[key]
        for key in gone:
            self._taken.pop(key, None)
            with suppress(FileNotFoundError):
                (self._directory / f"{key}{SUFFIX}").unlink()

    def _stored(self) -> Iterator[tuple[ProcessKey, float, int]]:
        """Yield whose baselines there are, when each was taken, and its size on the disk."""
        with suppress(OSError, FolderError), opened(str(self._directory)) as fd, os.scandir(fd) as entries:
            for entry in entries:
                with suppress(OSError, ValueError):
                    key = ProcessKey.parse(entry.name.removesuffix(SUFFIX))
                    size = entry.stat(follow_symlinks=False).st_size
                    yield key, _taken_t_s(entry.name, fd), max(size, BLOCK_BYTES)


def _taken_t_s(name: str, folder: int) -> float:
    """Return when one was taken: gzip's own time of the content holds it (RFC 1952). Raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "rb") as file:
        return float(int.from_bytes(file.read(8)[4:8], "little"))


def _lives(key: ProcessKey) -> bool:
    try:
        with HeldProcess(key):
            return True
    except (ProcessGoneError, OSError):
        return False
