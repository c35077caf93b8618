from __future__ import annotations

from dataclasses import replace

import pytest
from bench.cost_table import (
    BEGIN,
    BY_PSUTIL,
    END,
    LEAKWATCH,
    OWN_SAMPLER,
    Measured,
    Pace,
    Results,
    comparison,
    fit_of,
    markdown,
    own_figures,
    pace_of,
    text,
    write,
)

PACE = Pace(start_s=0.8, latest_s=0.02, missed=0, written_bytes=60_000)
OWN = Measured(LEAKWATCH, 1000, 1.0, seconds=60.0, cpu_s=0.6, rss_bytes=50_000_000, pace=PACE)
PEER = Measured("monit", 1000, 1.0, seconds=60.0, cpu_s=4.8, rss_bytes=10_000_000)


def test_cost_is_told_by_process_and_poll() -> None:
    assert OWN.us == pytest.approx(10.0)
    assert OWN.core == pytest.approx(0.01)
    assert replace(OWN, interval_s=10.0).us == pytest.approx(100.0)


def test_bytes_written_are_told_by_process_and_minute() -> None:
    assert OWN.written_per_minute == pytest.approx(60.0)
    assert replace(OWN, seconds=120.0).written_per_minute == pytest.approx(30.0)


def test_bytes_written_in_less_than_a_minute_tell_nothing() -> None:
    assert replace(OWN, seconds=59.0).written_per_minute is None
    assert PEER.written_per_minute is None


def test_the_median_of_the_rounds_is_taken() -> None:
    rounds = [replace(OWN, cpu_s=cpu_s) for cpu_s in (0.6, 60.0, 0.66)]
    summary = Results(rounds).summary(LEAKWATCH, 1000)

    assert summary is not None
    assert summary.rounds == 3
    assert summary.us == pytest.approx(11.0)


def test_ticks_on_the_beat_are_not_late() -> None:
    assert pace_of([100.0, 101.0, 102.0, 103.0], 1.0) == {"latest_s": 0.0, "missed": 0}


def test_a_tick_is_late_by_what_it_lies_behind_the_most_punctual_one() -> None:
    found = pace_of([100.02, 101.0, 102.3, 103.01], 1.0)

    assert found["latest_s"] == pytest.approx(0.3)
    assert found["missed"] == 0


def test_a_beat_without_a_tick_is_missed() -> None:
    assert pace_of([0.0, 10.0, 40.0], 10.0)["missed"] == 2


def test_no_ticks_at_all_are_no_lateness() -> None:
    assert pace_of([], 1.0) == {"latest_s": 0.0, "missed": 0}


def test_a_line_tells_what_a_poll_and_what_each_process_costs() -> None:
    fit = fit_of({100: 1_500.0, 1000: 10_500.0, 5000: 50_500.0})

    assert fit is not None
    assert fit.fixed_us == pytest.approx(500.0)
    assert fit.each_us == pytest.approx(10.0)


def test_a_single_number_of_processes_makes_no_line() -> None:
    assert fit_of({100: 1_500.0}) is None


def test_tools_are_ordered_by_cost_and_told_as_multiples_of_leakwatch() -> None:
    head, *rows = comparison(Results([PEER, OWN]))

    assert [row[0] for row in rows] == [LEAKWATCH, "monit"]
    assert head[1:4] == ("1,000: us", "times", "RSS MB")
    assert rows[1][1:4] == ("80.0", "8.00", "10")


def test_what_was_not_measured_on_a_number_is_a_dash() -> None:
    rows = comparison(Results([OWN, replace(OWN, processes=100), PEER]))

    assert rows[-1][0] == "monit"
    assert rows[-1][1:4] == ("-", "-", "-")


def test_lateness_is_the_worst_of_the_rounds() -> None:
    late = replace(OWN, pace=replace(PACE, latest_s=0.35, missed=2, start_s=1.5))
    _, row = own_figures(Results([OWN, late, OWN]))

    assert row == ("1,000", "1s", "1.00", "10.0", "50", "1.50", "350", "2", "60")


def test_the_difference_between_psutil_and_own_reads_is_told() -> None:
    sampler, other = replace(PEER, tool=OWN_SAMPLER, cpu_s=0.6), replace(PEER, tool=BY_PSUTIL, cpu_s=3.0)

    assert "1,000 processes by psutil takes 5.0 times as long" in text(Results([sampler, other]))


def test_what_was_skipped_is_told_by_name() -> None:
    assert "Not measured: atop 1 (not installed)." in text(Results([OWN], ["atop 1 (not installed)"]))


def test_the_document_keeps_what_stands_around_the_table() -> None:
    before = f"# Cost\n{BEGIN}\nold\n{END}\nafter\n"
    results = Results([OWN, PEER], help_s=0.08)

    written = write(before, results)
    assert written == f"# Cost\n{BEGIN}\n{markdown(results)}\n{END}\nafter\n"
    assert write(written, results) == written


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="cost: begin"):
        write("# Cost\n", Results([OWN]))
