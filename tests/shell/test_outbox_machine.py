"""The schedules of tests/outbox_machine.py; LEAKWATCH_FAULT_SCHEDULES says how many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from outbox_machine import OutboxMachine

TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=int(os.environ.get("LEAKWATCH_FAULT_SCHEDULES", "100")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
