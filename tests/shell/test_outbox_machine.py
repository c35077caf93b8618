"""The schedules of tests/outbox_machine.py; LEAKWATCH_FAULT_SCHEDULES says how many, chosen anew.

Without it they are always the same hundred.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from outbox_machine import OutboxMachine

TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    derandomize="LEAKWATCH_FAULT_SCHEDULES" not in os.environ,
    max_examples=int(os.environ.get("LEAKWATCH_FAULT_SCHEDULES", "100")),
    stateful_step_count=30,
    deadline=None,
    phases=set(Phase) - {Phase.explain},  # it takes minutes, and the steps say enough
    suppress_health_check=[HealthCheck.too_slow],
)
