"""Whoever works beside a poll waits for it between two pieces of work."""

from __future__ import annotations

import threading

from agent.daemon.gate import Gate

PATIENCE_S = 30.0


def test_others_wait_until_the_poll_is_over() -> None:
    gate, asked, passed = Gate(), threading.Event(), threading.Event()

    def work() -> None:
        asked.set()
        gate.wait()
        passed.set()

    worker = threading.Thread(target=work, daemon=True)
    with gate:
        worker.start()
        assert asked.wait(PATIENCE_S)
        assert not passed.wait(0.05)
    assert passed.wait(PATIENCE_S)
    worker.join(PATIENCE_S)


def test_who_polls_does_not_wait_for_itself() -> None:
    gate = Gate()

    with gate:
        gate.wait()
        with gate:
            gate.wait()


def test_a_poll_that_hangs_holds_nobody_up_for_ever() -> None:
    gate, held, done = Gate(), threading.Event(), threading.Event()

    def hang() -> None:
        with gate:
            held.set()
            done.wait(PATIENCE_S)

    poll = threading.Thread(target=hang, daemon=True)
    poll.start()
    assert held.wait(PATIENCE_S)
    gate.wait()
    assert not done.is_set()
    done.set()
    poll.join(PATIENCE_S)
