"""Does what a request asks for: one source of one process, into a folder of its own, one at a time."""

from __future__ import annotations

import logging
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from agent.capture_helper.protocol import FILE_NAME, MAX_LINE_CHARS, MAX_LINES, Ask
from agent.capture_helper.rules import LOCALS, NotServedError, RefusedError, Rules, consent_of
from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Source, SourceError
from agent.evidence.taking import Before, Line, Taking
from agent.logs import log_event
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.capture_helper.protocol import Request
    from agent.clock import Clock
    from agent.model import Process, ProcessKey

logger = logging.getLogger(__name__)

TURN_WAIT_S = 10.0
"""How long a request waits for the one before it."""


class Done(NamedTuple):
    """What a request has given."""

    files: tuple[Path, ...] = ()
    """They are gone when the request is."""
    lines: tuple[Line, ...] = ()
    missing: tuple[str, ...] = ()
    why_not: str = ""
    """Why it could not be taken, without the source's name; empty where it could."""
    served: bool = True
    """False where the helper has nothing to do with it."""
    suits: bool = True
    """False where the source has nothing to tell of this process, as the helper sees it."""
    disproof: str = ""
    """Why the heap's growth until then is no leak; empty where nothing proves that."""


class RequestFolder:
    """The files of one request, as they are: the client keeps them its own way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[str] = []

    def write(self, name: str, content: bytes) -> None:
        """Write a new file. Raises OSError, ValueError for what cannot be handed over under that name."""
        with self.open(name) as file:
            file.write(content)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file, gone again when the block fails. Raises OSError, ValueError."""
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file")
        file = self.path / name
        try:
            with file.open("xb") as opened:
                yield opened
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        self.files.append(name)


class Work:
    """Answers requests by the rules; every process is looked up anew and held, whatever the client says."""

    def __init__(
        self,
        rules: Rules,
        sources: Sequence[Source],
        find_process: Callable[[ProcessKey], Process | None],
        clock: Clock,
    ) -> None:
        self._rules = rules
        self._sources = {source.name: source for source in sources}
        self._find_process = find_process
        self._clock = clock
        self._turn = threading.Lock()

    @property
    def rules(self) -> Rules:
        """What it works by."""
        return self._rules

    @contextmanager
    def done(self, request: Request, before: Callable[[str], Before | None]) -> Iterator[Done]:
        """Do it, and keep its files until the context ends; then nothing is left of it.

        `before` asks the client for an earlier file, and never raises.
        """
        with tempfile.TemporaryDirectory(prefix="leakwatch-") as path:
            try:
                found = self._do(request, Path(path), before)
            except NotServedError:
                found = Done(served=False)
            except (RefusedError, ProcessGoneError) as error:
                found = Done(why_not=str(error))
            yield found

    def _do(self, request: Request, path: Path, before: Callable[[str], Before | None]) -> Done:
        self._rules.check_served(request.name)
        source = self._sources[request.name]
        consent = self._rules.consent(request.consent)
        process = self._find_process(request.key)
        if process is None:
            raise ProcessGoneError(f"process {request.pid} has ended")
        if not source.suits(process, consent):
            refused = source.suits(process, consent_of(request.consent))
            return Done(why_not=self._rules.refusal(request.consent)) if refused else Done(suits=False)
        self._rules.check_tier(source.cost.tier, consent)
        with HeldProcess(request.key) as held:
            if request.ask is Ask.READY:
                return Done(why_not=source.why_not(process, held))
            locals_too = request.locals and LOCALS in self._rules.allowed
            options = replace(EvidenceOptions(), timeout_s=request.timeout_s, locals=locals_too)
            with self._own_turn():
                taking = Taking(
                    process, held, RequestFolder(path), self._clock.now(), options, consent, before
                )
                return _taken(source, taking)

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=TURN_WAIT_S):
            raise RefusedError("is busy with another capture")
        try:
            yield
        finally:
            self._turn.release()


def _taken(source: Source, taking: Taking) -> Done:
    """Take a source; files count only when the process was the same from beginning to end."""
    why = ""
    try:
        source.take(taking)
    except SourceError as error:
        why = str(error)
    except ProcessGoneError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - whatever a target or a client makes of it, the helper lives on
        log_event(logger, "refused", level=logging.ERROR, source=source.name, error=repr(error))
        why = f"failed with {type(error).__name__}"
    taking.held.check()
    return Done(
        tuple(taking.folder.path / name for name in taking.folder.files),
        tuple(Line(line.rank, one_line(line.text, MAX_LINE_CHARS)) for line in taking.lines[:MAX_LINES]),
        tuple(one_line(text, MAX_LINE_CHARS) for text in taking.missing[:MAX_LINES]),
        one_line(why.removeprefix(f"{source.name}: "), MAX_LINE_CHARS),
        disproof=one_line(taking.disproof, MAX_LINE_CHARS),
    )
