"""The JVM probe and a process that really has its file mapped, with something else in its place since."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import process_of
from perf_memory import MB, SERIAL, perf_memory

from agent.watch.probes.base import RuntimeFigures
from agent.watch.probes.jvm import JvmProbe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Process

SCRIPT = Path(__file__).parents[1] / "data" / "hostile" / "false_perf_data.py"
FIGURES = RuntimeFigures(21 * MB, 9, 122_880_000)
POLLS = 500


@contextmanager
def publishing(how: str) -> Iterator[Process]:
    content = perf_memory(SERIAL).hex()
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), how, content], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield process_of(child.pid, runtime="jvm")
        child.communicate()


@pytest.fixture
def probe() -> Iterator[JvmProbe]:
    probe = JvmProbe()
    yield probe
    probe.close_all()


def test_the_file_of_a_real_process_is_read(probe: JvmProbe) -> None:
    with publishing("honestly") as process:
        assert probe.open(process), probe.why(process.key)
        assert probe.read(process.key) == FIGURES


def test_ten_gigabytes_behind_it_are_not_read(probe: JvmProbe) -> None:
    with publishing("sparse") as process:
        assert probe.open(process), probe.why(process.key)
        assert probe.read(process.key) == FIGURES


@pytest.mark.parametrize("how", ["link", "fifo", "folder"])
def test_what_took_its_place_is_not_opened(probe: JvmProbe, how: str) -> None:
    with publishing(how) as process:
        assert not probe.open(process)
        assert "has been deleted" in probe.why(process.key)


def test_a_file_that_is_cut_off_at_every_moment_is_read_or_a_gap(probe: JvmProbe) -> None:
    with publishing("flicker") as process:
        told = [probe.read(process.key) for _ in range(POLLS) if probe.open(process)]
        why = probe.why(process.key)

    assert told
    assert all(one is None or 0 <= (one.heap_bytes or 0) <= 21 * MB for one in told)
    assert why == "" or "makes no sense" in why
