"""Sources that fall back on the helper: taken here where the right is there, else by those who have it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.capture_helper.client import NAME, CaptureHelper, HelperAbsentError, HelperError, NotSuitedError
from agent.capture_helper.rules import LOOKING
from agent.evidence.python import pyspy
from agent.evidence.source import SourceError
from agent.evidence.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.options import EvidenceOptions
    from agent.evidence.source import Cost, Source
    from agent.evidence.taking import Taking
    from agent.model import Process

RUNTIMES = ("python", "node", "jvm", "go", "native")
"""Of `Process.runtime`, those that are known."""


def sources_of(options: EvidenceOptions, find_py_spy: Callable[[], Path | None] = pyspy.find) -> Sources:
    """Return every source there is, with the configured helper behind it."""
    helper = CaptureHelper(options.helper)
    return Sources(find_py_spy, lambda source: HelpedSource(source, helper), helper.listens)


def helped(sources: Iterable[Source], helper: CaptureHelper) -> tuple[Source, ...]:
    """Return the same sources, each of them with the helper behind it."""
    return tuple(HelpedSource(source, helper) for source in sources)


class HelpedSource:
    """One source; where nobody helps it is as it was."""

    def __init__(self, source: Source, helper: CaptureHelper) -> None:
        self._source = source
        self._helper = helper

    @property
    def name(self) -> str:
        """The source's."""
        return self._source.name

    @property
    def cost(self) -> Cost:
        """The source's: what it costs the process is the same whoever takes it."""
        return self._source.cost

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it can tell anything, or could if the helper sees of which kind the process is."""
        return self._source.suits(process, consent) or self._may_suit(process, consent)

    def why_not(self, process: Process, held: HeldProcess) -> str:
        """Return why neither of the two could take it."""
        own = self._source.why_not(process, held)
        if not own:
            return ""
        try:
            theirs = self._helper.why_not(self.name, process.key)
        except HelperAbsentError:
            return own
        except NotSuitedError:
            return "not for this runtime"
        except HelperError as error:
            return _both(own, str(error))
        return _both(own, theirs) if theirs else ""

    def take(self, taking: Taking) -> None:
        """Take it here, or let it be taken."""
        suits_here = self._source.suits(taking.process, taking.consent)
        own = self._source.why_not(taking.process, taking.held)
        if suits_here and not own:
            self._source.take(taking)
            return
        try:
            self._helper.take(self._source, taking)
        except NotSuitedError:
            return
        except HelperAbsentError:
            if suits_here:
                self._source.take(taking)
        except HelperError as error:
            raise SourceError(f"{self.name}: {_both(own, str(error))}") from None

    def _may_suit(self, process: Process, consent: Consent) -> bool:
        """Whether it suits one of the kinds that a process may be whose executable we may not read."""
        unsure = process.runtime == "unknown" and self.name in LOOKING and self._helper.listens()
        kinds = (replace(process, runtime=runtime) for runtime in RUNTIMES) if unsure else ()
        return any(self._source.suits(kind, consent) for kind in kinds)


def _both(own: str, theirs: str) -> str:
    return theirs if own in ("", theirs) else f"{own}; {NAME}: {theirs}"
