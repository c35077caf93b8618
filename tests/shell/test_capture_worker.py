"""Captures in the background: every job is answered once, whatever happens."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from children import LeakyChild, process_of

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.governor import Conditions
from agent.evidence.kernel.sources import Mappings
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Cost, Tier
from agent.evidence.taking import CODE
from agent.evidence.worker import MAX_WAITING, CaptureWorker, Order
from agent.model import Evidence, Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

NOW = Instant(10_000.0, 1_800_000_000.0)


def captures(directory: Path) -> Captures:
    return Captures(directory, EvidenceOptions(cooldown_s=0.0))


def native(child: LeakyChild) -> Process:
    return process_of(child.pid, runtime="native")


class _Answers:
    """Collects what a worker answers."""

    def __init__(self) -> None:
        self.found: dict[str, Evidence] = {}
        self._changed = threading.Condition()

    def __call__(self, job_id: str, evidence: Evidence) -> None:
        with self._changed:
            self.found[job_id] = evidence
            self._changed.notify_all()

    def wait_for(self, job_id: str) -> Evidence:
        with self._changed:
            assert self._changed.wait_for(lambda: job_id in self.found, 10.0)
        return self.found[job_id]


@contextmanager
def running(worker: CaptureWorker) -> Iterator[CaptureWorker]:
    worker.start()
    try:
        yield worker
    finally:
        assert worker.stop(10.0)


def test_the_worker_answers_with_the_capture(tmp_path: Path, child: LeakyChild) -> None:
    answers = _Answers()
    with running(CaptureWorker(captures(tmp_path))) as worker:
        worker.submit(Order("job", native(child), "7f3a", NOW), answers)

        assert answers.wait_for("job").directory.endswith("7f3a/001-20270115T080000Z")


def test_a_full_queue_is_answered_at_once(tmp_path: Path, child: LeakyChild) -> None:
    answers = _Answers()
    worker = CaptureWorker(captures(tmp_path))
    for number in range(MAX_WAITING + 1):
        worker.submit(Order(str(number), native(child), "7f3a", NOW), answers)

    assert answers.found == {
        str(MAX_WAITING): Evidence("", missing=("captures: not taken, 8 captures are waiting already",))
    }


def test_what_waits_at_the_end_is_answered_without_a_capture(tmp_path: Path, child: LeakyChild) -> None:
    answers = _Answers()
    worker = CaptureWorker(captures(tmp_path))
    worker.submit(Order("waiting", native(child), "7f3a", NOW), answers)
    worker.stop(1.0)
    worker.submit(Order("late", native(child), "7f3a", NOW), answers)

    refusal = Evidence("", missing=("captures: not taken, leakwatch is stopping",))
    assert answers.found == {"waiting": refusal, "late": refusal}
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_fails_does_not_end_the_worker(tmp_path: Path, child: LeakyChild) -> None:
    def fail(job_id: str, evidence: Evidence) -> None:
        raise RuntimeError(job_id, evidence)

    answers = _Answers()
    with running(CaptureWorker(captures(tmp_path))) as worker:
        worker.submit(Order("bad", native(child), "a", NOW), fail)
        worker.submit(Order("good", native(child), "b", NOW), answers)

        assert answers.wait_for("good").directory


class _Heavy:
    """Allowed and heavy: writes a file when everybody else has been answered."""

    name = "heap dump"
    cost = Cost(Tier.HEAVY)

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's
        return consent.heavy

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        return ""

    def take(self, taking: Taking) -> None:
        self._before()
        taking.write_raw("heap.dump", b"all of it")
        taking.tell(CODE, "dump: written")


def calm(*_: object) -> Conditions:
    return Conditions(10**6, 5, (), (), 0.1, 10**12)


def test_heavy_evidence_follows_after_the_answer(tmp_path: Path, child: LeakyChild) -> None:
    answers, answered = _Answers(), threading.Event()

    def wait_for_the_first_answer() -> None:
        assert answers.wait_for("job").files == ("smaps.json", "evidence.json")
        answers.found.clear()
        answered.set()

    taker = Captures(tmp_path, EvidenceOptions(), (Mappings(), _Heavy(wait_for_the_first_answer)), look=calm)
    with running(CaptureWorker(taker)) as worker:
        order = Order("job", native(child), "x", NOW, Consent(heavy=True))
        worker.submit(order, answers)
        assert answered.wait(10.0)
        deeper = answers.wait_for("job")

    assert deeper.gist[0] == "dump: written"
    assert "heap.dump" in deeper.files


def test_what_is_only_a_warning_is_not_followed_by_heavy_evidence(tmp_path: Path, child: LeakyChild) -> None:
    answers = _Answers()
    with running(
        CaptureWorker(Captures(tmp_path, EvidenceOptions(), (Mappings(), _Heavy()), look=calm))
    ) as w:
        w.submit(Order("job", native(child), "x", NOW, Consent(heavy=True), Tier.CHEAP), answers)
        answers.wait_for("job")
        w.submit(Order("next", native(child), "y", NOW, Consent(), Tier.CHEAP), answers)
        answers.wait_for("next")

    assert list(tmp_path.rglob("heap.dump")) == []


def test_a_baseline_waits_for_an_idle_moment(tmp_path: Path, child: LeakyChild) -> None:
    answers = _Answers()
    worker = CaptureWorker(captures(tmp_path))
    worker.submit(Order("job", native(child), "x", NOW), answers)

    assert not worker.baseline(native(child), NOW, Consent())
    worker.stop(1.0)
    assert not worker.baseline(native(child), NOW, Consent())
