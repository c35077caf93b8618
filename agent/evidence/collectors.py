"""Everything that can ask a runtime for a full collection: a new one is added here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.go.collector import GoCollector
from agent.evidence.jvm.collector import JvmCollector
from agent.evidence.node.collector import node_collectors
from agent.evidence.python.collecting import PythonCollector

if TYPE_CHECKING:
    from agent.evidence.collection import Collector


def all_collectors() -> tuple[Collector, ...]:
    """Return the collectors, for each runtime the gentlest first."""
    return (GoCollector(), JvmCollector(), *node_collectors(), PythonCollector())
