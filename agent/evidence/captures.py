"""One capture: what a leaking process holds and where, in private files and in a few lines for the alert."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.consent import Consent
from agent.evidence import governor, pressure
from agent.evidence.files import REPORT, CaptureFolder
from agent.evidence.folder import SUMMARY, CaptureFolders, FolderError
from agent.evidence.governor import Bounds
from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError
from agent.evidence.source import SourceError, Tier
from agent.evidence.sources import Sources
from agent.evidence.summary import joined, summary_of
from agent.evidence.taking import Before, Taking
from agent.evidence.turn import TakenError, our_turn
from agent.logs import log_event
from agent.model import Evidence
from agent.text import reason
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from agent.evidence.baselines import Baselines
    from agent.evidence.governor import Conditions
    from agent.evidence.options import EvidenceOptions
    from agent.evidence.source import Source
    from agent.model import Alert, Instant, Process, ProcessKey

    Report = Callable[[dict[str, Any], Alert | None], bytes]
    """Makes the page of a capture out of what `evidence.json` holds and the alert that it was taken for."""
    SourcesOf = Callable[[Process, Consent], Sequence[Source]]
    """Gives the sources to be asked about a process."""
    Look = Callable[[HeldProcess, int], Conditions]
    """Reads what there is for a process, given the bytes that may still be written."""

logger = logging.getLogger(__name__)

NO_CONSENT = Consent()
GROWTH = "growth.json"
"""The course that the alert draws: a page that is made again draws it too."""


class _Recent(NamedTuple):
    """The newest capture of a process."""

    t_s: float
    tier: Tier
    evidence: Evidence


class Captures:
    """Takes captures, one at a time on the host, and keeps them under `directory` within the budget."""

    def __init__(
        self,
        directory: Path,
        options: EvidenceOptions,
        sources: SourcesOf | Sequence[Source] | None = None,
        report: Report | None = None,
        baselines: Baselines | None = None,
        look: Look = pressure.look,
        host_lock: Path | None = None,
    ) -> None:
        """`host_lock` is the folder where every leakwatch of the host finds the same lock."""
        self._folders = CaptureFolders(directory)
        self._options = options
        self._bounds = Bounds(options.max_pause_s, options.max_heavy_pause_s, options.disk_budget_bytes)
        self._sources_of = _handed_out(sources)
        self._report = report
        self._baselines = baselines
        self._look = look
        self._host_lock = host_lock
        self._recent: dict[ProcessKey, _Recent] = {}
        self._unpaired: set[ProcessKey] = set()

    def capture(
        self,
        process: Process,
        label: str,
        now: Instant,
        *,
        consent: Consent = NO_CONSENT,
        tier: Tier = Tier.MEDIUM,
        alert: Alert | None = None,
    ) -> Evidence:
        """Take what can be taken of a process; what cannot is a sentence in `missing`. Never raises.

        Nothing above `tier` is taken. `alert` is what it is taken for, told by the page (report.html).
        Within the cooldown of a process the earlier capture is given again, if it was no lesser one. Its
        disproof is not: that says nothing of what has grown since.
        """
        earlier = self._within_cooldown(process.key, now, tier)
        if earlier is not None:
            return earlier

        def take() -> Evidence:
            with HeldProcess(process.key) as held, self._folders.create(label, now.wall_s) as folder:
                taking = self._taking(process, held, folder, now, consent)
                taking.alert = alert
                return self._fill(taking, folder, range(1, tier + 1))

        evidence = self._guarded(label, take)
        if evidence.directory:
            self._recent[process.key] = _Recent(now.t_s, tier, evidence)
        return evidence

    def deepen(
        self,
        process: Process,
        evidence: Evidence,
        now: Instant,
        *,
        consent: Consent,
        alert: Alert | None = None,
    ) -> Evidence:
        """Add what is heavy to a capture; return what is known then. Never raises.

        It may take minutes: a source of that tier says for how long.
        """
        path = Path(evidence.directory)

        def take() -> Evidence:
            with HeldProcess(process.key) as held, self._folders.reopen(path, evidence.files) as folder:
                taking = self._taking(process, held, folder, now, consent)
                taking.missing += evidence.missing
                taking.alert, taking.disproof = alert, evidence.disproof
                return self._fill(taking, folder, (Tier.HEAVY,), evidence.gist)

        added = self._guarded(path.parent.name, take)
        if not added.directory:
            return replace(evidence, missing=(*evidence.missing, *added.missing))
        recent = self._recent.get(process.key)
        if recent is not None and recent.evidence.directory == added.directory:
            self._recent[process.key] = _Recent(recent.t_s, Tier.HEAVY, added)
        return added

    def wants_heavy(self, process: Process, consent: Consent) -> bool:
        """Whether there is anything heavy to be taken of a process, it is allowed, and was not just taken."""
        recent = self._recent.get(process.key)
        taken = recent is not None and recent.tier is Tier.HEAVY
        return (consent.heavy and not taken) and any(
            source.cost.tier is Tier.HEAVY and source.suits(process, consent)
            for source in self._sources_of(process, consent)
        )

    def unpaired(self, key: ProcessKey) -> bool:
        """Whether the newest capture of a process could not tell what grew: a later one will."""
        return key in self._unpaired

    def baseline(self, process: Process, now: Instant, consent: Consent = NO_CONSENT) -> None:
        """Take what later captures are compared with, unless others are being taken. Never raises."""
        if self._baselines is not None:
            sources = self._sources_of(process, consent)
            self._baselines.take(process, now, consent, sources, self._options, self._look)

    def _guarded(self, label: str, take: Callable[[], Evidence]) -> Evidence:
        """Take a capture in its turn; why there is none is a sentence."""
        try:
            self._folders.make(label)
            with our_turn(self._folders.directory, self._options.timeout_s, self._host_lock):
                return take()
        except (ProcessGoneError, FolderError, TakenError) as error:
            return Evidence("", missing=(str(error),))
        except OSError as error:
            return Evidence("", missing=(f"captures: {reason(error)}",))
        except Exception as error:  # noqa: BLE001 - evidence never costs the alert
            log_event(logger, "refused", level=logging.ERROR, capture=label, error=repr(error))
            return Evidence("", missing=(f"captures: failed with {type(error).__name__}",))

    def _within_cooldown(self, key: ProcessKey, now: Instant, tier: Tier) -> Evidence | None:
        cooldown_s = self._options.cooldown_s
        self._recent = {k: one for k, one in self._recent.items() if 0 <= now.t_s - one.t_s < cooldown_s}
        recent = self._recent.get(key)
        if recent is None or recent.tier < tier:
            return None
        age, cooldown = format_duration(now.t_s - recent.t_s), format_duration(cooldown_s)
        note = f"a newer capture: this one is {age} old, the next is taken after {cooldown}"
        return replace(recent.evidence, missing=(*recent.evidence.missing, note), disproof="")

    def _taking(
        self, process: Process, held: HeldProcess, folder: CaptureFolder, now: Instant, consent: Consent
    ) -> Taking:
        def before(name: str) -> Before | None:
            return self._before(folder, process.key, name, now)

        return Taking(process, held, folder, now, self._options, consent, before)

    def _fill(
        self, taking: Taking, folder: CaptureFolder, tiers: Sequence[int], told: Sequence[str] = ()
    ) -> Evidence:
        """Take every source of these tiers and write page and summary; `told` is what was found before."""
        try:
            for source in self._sources_of(taking.process, taking.consent):
                self._take(source, taking, tiers)
            taking.held.check()
        except ProcessGoneError as error:
            taking.missing.append(f"{error} during the capture")
        self._note_pairs(taking)
        if folder.files:
            self._finish(taking, folder, told)
        found = taking.evidence()
        return replace(found, gist=joined(told, found.gist))

    def _note_pairs(self, taking: Taking) -> None:
        key = taking.process.key
        self._unpaired = {k for k in self._unpaired if k in self._recent} - {key}
        if taking.unpaired:
            self._unpaired.add(key)

    def _take(self, source: Source, taking: Taking, tiers: Sequence[int]) -> None:
        """Take one source if it may be; why it was not is noted. Raises ProcessGoneError."""
        if source.cost.tier not in tiers or not source.suits(taking.process, taking.consent):
            return
        taking.held.check()
        try:
            why = self._refusal(source, taking, max(tiers))
            if why:
                raise SourceError(f"{source.name}: {why}")  # noqa: TRY301 - told as its own failure would be
            source.take(taking)
        except SourceError as error:
            taking.held.check()
            taking.missing.append(str(error))
        except ProcessGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - made of what programs of others have said; the next source is taken
            taking.held.check()
            taking.missing.append(f"{source.name}: {reason(error)}")

    def _refusal(self, source: Source, taking: Taking, most: int) -> str:
        """Return why the governor does not let a source be taken. Raises OSError, ProcessGoneError."""
        if governor.free_of_cost(source.cost):
            return ""
        conditions = self._look(taking.held, self._folders.free_bytes())
        if governor.tier_of(source.cost, conditions.heap_bytes) > most:
            pause = governor.short(governor.pause_s(source.cost, conditions.heap_bytes))
            return f"would hold the process for about {pause}: taken when a leak turns critical"
        if source.cost.tier is not Tier.CHEAP and (why := source.why_not(taking.process, taking.held)):
            return why
        refused = governor.refusal(source.cost, conditions, self._bounds)
        return f"not taken, {refused}" if refused else ""

    def _before(self, folder: CaptureFolder, key: ProcessKey, name: str, now: Instant) -> Before | None:
        """Return a file of the first capture of this incident that saw the process, else of its baseline."""
        for summary, content in self._folders.earlier(folder, name):
            with suppress(ValueError, KeyError, TypeError):  # cut off by a full disk, or of another version
                told = json.loads(summary)
                if told["process"]["key"] == str(key):
                    return Before(content, now.t_s - float(told["taken_t_s"]))
        return None if self._baselines is None else self._baselines.before(key, name, now)

    def _finish(self, taking: Taking, folder: CaptureFolder, told: Sequence[str]) -> None:
        """Write page and summary, then make room: the newest capture is worth more than old ones."""
        label, alert = folder.path.parent.name, taking.alert
        summary = summary_of(taking, told)
        self._write_report(taking, folder, summary)
        try:
            if alert is not None and alert.course:
                folder.replace(GROWTH, json.dumps(alert.course).encode())
            summary["files"] = [name for name in folder.files if name != SUMMARY]
            folder.replace(SUMMARY, json.dumps(summary, indent=1).encode("utf-8", "backslashreplace"))
            removed = self._folders.keep_within(self._options.disk_budget_bytes, label)
        except (OSError, FolderError) as error:
            taking.missing.append(f"captures: {reason(error)}")
            return
        if removed:
            log_event(logger, "evidence", removed=len(removed), why="disk budget")

    def _write_report(self, taking: Taking, folder: CaptureFolder, summary: dict[str, Any]) -> None:
        """Write the page; one that cannot be made costs a sentence, not the capture."""
        if self._report is None:
            return
        try:
            folder.replace(REPORT, self._report(summary, taking.alert))
        except Exception as error:  # noqa: BLE001 - made of what programs of others have said
            taking.missing.append(f"report: {reason(error)}")


def _handed_out(sources: SourcesOf | Sequence[Source] | None) -> SourcesOf:
    """Return what gives the sources of a process: all there are, or those given whatever the process."""
    if sources is None:
        return Sources()
    if callable(sources):
        return sources
    given = sources
    return lambda *_: given
