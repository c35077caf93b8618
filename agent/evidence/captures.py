"""One capture: what a leaking process holds and where, in private files and in a few lines for the alert."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.consent import Consent
from agent.evidence.folder import CaptureFolder, CaptureFolders, FolderError
from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError
from agent.evidence.source import SourceError, Tier
from agent.evidence.sources import all_sources
from agent.evidence.taking import Before, Taking
from agent.logs import log_event
from agent.model import Evidence
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from agent.evidence.options import EvidenceOptions
    from agent.evidence.source import Source
    from agent.model import Alert, Instant, Process, ProcessKey

    Report = Callable[[dict[str, Any], Alert | None], bytes]
    """Makes the page of a capture out of what `evidence.json` holds and the alert that it was taken for."""

logger = logging.getLogger(__name__)

SCHEMA = 2
"""The version of the files' form, kept in evidence.json."""
NO_CONSENT = Consent()
REPORT = "report.html"


class Captures:
    """Takes captures, one at a time, and keeps them under `directory` within the budget."""

    def __init__(
        self,
        directory: Path,
        options: EvidenceOptions,
        sources: Sequence[Source] | None = None,
        report: Report | None = None,
    ) -> None:
        self._folders = CaptureFolders(directory)
        self._options = options
        self._sources = all_sources() if sources is None else sources
        self._report = report
        self._recent: dict[ProcessKey, tuple[float, Evidence]] = {}

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
        Within the cooldown of a process the earlier capture is given again.
        """
        earlier = self._within_cooldown(process.key, now)
        if earlier is not None:
            return earlier
        try:
            evidence = self._capture(process, label, now, consent, tier, alert)
        except (ProcessGoneError, FolderError) as error:
            return Evidence("", missing=(str(error),))
        except OSError as error:
            return Evidence("", missing=(f"captures: {one_line(str(error))}",))
        except Exception as error:  # noqa: BLE001 - evidence never costs the alert
            log_event(logger, "refused", level=logging.ERROR, capture=label, error=repr(error))
            return Evidence("", missing=(f"captures: failed with {type(error).__name__}",))
        if evidence.directory:
            self._recent[process.key] = (now.t_s, evidence)
        return evidence

    def _within_cooldown(self, key: ProcessKey, now: Instant) -> Evidence | None:
        cooldown_s = self._options.cooldown_s
        self._recent = {k: taken for k, taken in self._recent.items() if 0 <= now.t_s - taken[0] < cooldown_s}
        if key not in self._recent:
            return None
        taken_t_s, evidence = self._recent[key]
        age, cooldown = format_duration(now.t_s - taken_t_s), format_duration(cooldown_s)
        note = f"a newer capture: this one is {age} old, the next is taken after {cooldown}"
        return replace(evidence, missing=(*evidence.missing, note))

    def _capture(
        self,
        process: Process,
        label: str,
        now: Instant,
        consent: Consent,
        tier: Tier,
        alert: Alert | None,
    ) -> Evidence:
        with HeldProcess(process.key) as held, self._folders.create(label, now.wall_s) as folder:

            def before(name: str) -> Before | None:
                return self._before(folder, process.key, name, now)

            taking = Taking(process, held, folder, now, self._options, consent, before)
            try:
                self._take_all(taking, tier)
                held.check()
            except ProcessGoneError as error:
                taking.missing.append(f"{error} during the capture")
            if folder.files:
                self._finish(taking, label, alert)
        return taking.evidence()

    def _take_all(self, taking: Taking, tier: Tier) -> None:
        for source in self._sources:
            if source.suits(taking.process, taking.consent) and source.cost.tier <= tier:
                _take(source, taking)

    def _before(self, folder: CaptureFolder, key: ProcessKey, name: str, now: Instant) -> Before | None:
        """Return a file of the first capture of this incident that saw the same process."""
        for summary, content in self._folders.earlier(folder, name):
            with suppress(ValueError, KeyError, TypeError):  # cut off by a full disk, or of another version
                told = json.loads(summary)
                if told["process"]["key"] == str(key):
                    return Before(content, now.t_s - float(told["taken_t_s"]))
        return None

    def _finish(self, taking: Taking, label: str, alert: Alert | None) -> None:
        """Write the page and the summary, then make room: the newest capture is worth more than old ones."""
        process, when = taking.process, datetime.fromtimestamp(taking.now.wall_s, UTC)
        summary = {
            "schema": SCHEMA,
            "taken_at": when.isoformat(timespec="seconds"),
            "taken_t_s": taking.now.t_s,
            "label": label,
            "process": asdict(process) | {"key": str(process.key)},
            "gist": list(taking.evidence().gist),
            "missing": taking.missing,
            "files": taking.folder.files,
        }
        self._write_report(taking, summary, alert)
        try:
            taking.write("evidence.json", summary)
            removed = self._folders.keep_within(self._options.disk_budget_bytes, label)
        except (OSError, FolderError) as error:
            taking.missing.append(f"captures: {one_line(str(error))}")
            return
        if removed:
            log_event(logger, "evidence", removed=len(removed), why="disk budget")

    def _write_report(self, taking: Taking, summary: dict[str, Any], alert: Alert | None) -> None:
        """Write the page; one that cannot be made costs a sentence, not the capture."""
        if self._report is None:
            return
        try:
            taking.write_raw(REPORT, self._report(summary, alert))
        except Exception as error:  # noqa: BLE001 - made of what programs of others have said
            taking.missing.append(f"report: {one_line(str(error) or type(error).__name__)}")


def _take(source: Source, taking: Taking) -> None:
    """Take one source; its failure is noted. Raises ProcessGoneError."""
    try:
        source.take(taking)
    except SourceError as error:
        taking.held.check()
        taking.missing.append(str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        taking.held.check()
        taking.missing.append(f"{source.name}: {one_line(str(error) or type(error).__name__)}")
