"""Tools that are run: who is looked at comes first."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from agent.evidence.tool import NICENESS, run

if TYPE_CHECKING:
    from pathlib import Path

HOW_NICE = [sys.executable, "-c", "import os; print(os.nice(0))"]


def test_a_tool_gives_way_to_who_is_looked_at() -> None:
    # The handshake: it is asked for its niceness only when it reads that it has been set.
    waits = "import os\nwhile not os.nice(0): os.sched_yield()\nprint(os.nice(0))"
    outcome = run("it", [sys.executable, "-c", waits], timeout_s=20.0, max_bytes=100)

    assert int(outcome.output) == max(NICENESS, os.nice(0))


def test_a_tool_of_one_that_gives_way_already_gives_way_no_less() -> None:
    asks = f"""
import os, sys
os.nice(15)
from agent.evidence.tool import run
sys.stdout.write(run("it", {HOW_NICE!r}, timeout_s=20.0, max_bytes=100).output.decode())
"""
    outcome = run("it", [sys.executable, "-c", asks], timeout_s=30.0, max_bytes=1000)

    assert (outcome.errors, int(outcome.output) >= 15) == ("", True)


def test_a_tool_in_python_leaves_no_compiled_module_that_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("values = " + repr(list(range(1000))))
    asks = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import long"
    outcome = run("it", [sys.executable, "-c", asks], timeout_s=20.0, max_bytes=100)

    assert (outcome.code, [path.name for path in tmp_path.iterdir()]) == (0, ["long.py"])
