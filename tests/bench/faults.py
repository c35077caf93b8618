"""Runs random schedules of faults against the outbox and prints the figures of docs/reliability.md.

python tests/bench/faults.py 1000
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parents[1]))

from outbox_machine import OutboxMachine


def main(schedules: int) -> None:
    logging.disable(logging.CRITICAL)
    profile = settings(
        max_examples=schedules,
        stateful_step_count=50,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OutboxMachine, settings=profile)
    lines = [f"{count:>9}  {what}" for what, count in sorted(OutboxMachine.tally.items())]
    sys.stdout.write("\n".join([*lines, "        0  violations", ""]))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
