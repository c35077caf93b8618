"""The governor: what a source costs against what there is, refused with a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.evidence import governor
from agent.evidence.governor import Bounds, Conditions, Room, Stall, refusal, tier_of
from agent.evidence.pressure import parse_stall
from agent.evidence.source import Cost, Tier
from agent.redaction import redact

GB = 1_000_000_000
CALM = Conditions(
    heap_bytes=GB,
    threads=40,
    rooms=(Room(3 * GB, "memory.max of /api"), Room(8 * GB, "the host's memory")),
    stalls=(Stall(0.0, 0.0, "the host"),),
    load_per_cpu=0.5,
    free_disk_bytes=10 * GB,
)
BOUNDS = Bounds(pause_s=2.0, heavy_pause_s=60.0, disk_budget_bytes=5 * GB)
SNAPSHOT = Cost(Tier.HEAVY, memory_per_heap=1.5, pause_s_per_gb=10.0, disk_per_heap=1.2)
HISTOGRAM = Cost(Tier.MEDIUM, pause_s_per_gb=0.5)


@pytest.mark.parametrize("cost", [Cost(Tier.CHEAP), HISTOGRAM, SNAPSHOT])
def test_in_calm_conditions_nothing_is_refused(cost: Cost) -> None:
    assert refusal(cost, CALM, BOUNDS) == ""


@pytest.mark.parametrize(
    ("cost", "conditions", "said"),
    [
        pytest.param(
            SNAPSHOT,
            replace(CALM, rooms=(Room(8 * GB, "the host's memory"), Room(GB, "memory.max of /api"))),
            "needs about 1.5GB of memory, and 1GB are left of memory.max of /api",
            id="no-room",
        ),
        pytest.param(
            SNAPSHOT,
            replace(CALM, rooms=(Room(1_550_000_000, "the host's memory"),)),
            "needs about 1.5GB of memory, and 1.55GB are left of the host's memory",
            id="too-close",
        ),
        pytest.param(
            SNAPSHOT,
            replace(CALM, rooms=(Room(-5, "memory.high of /api"),)),
            "needs about 1.5GB of memory, and 0B are left of memory.high of /api",
            id="over-the-limit",
        ),
        pytest.param(
            HISTOGRAM,
            replace(CALM, heap_bytes=8 * GB),
            "would hold the process for about 4s, evidence.max_pause is 2s",
            id="long-pause",
        ),
        pytest.param(
            replace(SNAPSHOT, memory_per_heap=0.0, disk_per_heap=0.0),
            replace(CALM, heap_bytes=8 * GB),
            "would hold the process for about 1m20s, evidence.max_heavy_pause is 1m",
            id="long-heavy-pause",
        ),
        pytest.param(
            SNAPSHOT,
            replace(CALM, free_disk_bytes=GB),
            "would write about 1.2GB, and 1GB of the disk may be used",
            id="disk",
        ),
        pytest.param(
            SNAPSHOT,
            replace(CALM, stalls=(Stall(0.0, 0.0, "the host"), Stall(8.0, 0.5, "its cgroup"))),
            "memory is short: tasks of its cgroup waited for it 8% of the time",
            id="pressure",
        ),
        pytest.param(HISTOGRAM, replace(CALM, load_per_cpu=20.0), "20 tasks wait for each CPU", id="load"),
        pytest.param(
            HISTOGRAM, replace(CALM, threads=6120), "6,120 threads would have to be stopped", id="threads"
        ),
    ],
)
def test_each_refusal_is_a_sentence_with_its_numbers(cost: Cost, conditions: Conditions, said: str) -> None:
    assert refusal(cost, conditions, BOUNDS) == said


def test_what_would_not_fit_the_budget_at_all_is_refused() -> None:
    said = refusal(SNAPSHOT, CALM, replace(BOUNDS, disk_budget_bytes=GB))

    assert said == "would write about 1.2GB, evidence.disk_budget is 1GB"


def test_pressure_that_a_histogram_may_add_to_keeps_a_snapshot_away() -> None:
    strained = replace(CALM, stalls=(Stall(8.0, 0.5, "the host"),), load_per_cpu=10.0)

    assert refusal(HISTOGRAM, strained, BOUNDS) == ""
    assert refusal(SNAPSHOT, strained, BOUNDS) != ""


def test_a_cheap_look_is_taken_in_any_trouble() -> None:
    trouble = Conditions(50 * GB, 9999, (Room(0, "x"),), (Stall(99.0, 99.0, "x"),), 99.0, 0)

    assert refusal(Cost(Tier.CHEAP), trouble, BOUNDS) == ""


def test_where_nothing_tells_what_is_left_it_is_not_held_against_a_source() -> None:
    assert refusal(SNAPSHOT, replace(CALM, rooms=(), stalls=()), BOUNDS) == ""


def test_what_holds_a_large_process_for_long_is_not_cheap() -> None:
    walks = Cost(Tier.CHEAP, pause_s_per_gb=0.02)

    assert tier_of(walks, 2 * GB) is Tier.CHEAP
    assert tier_of(walks, 3 * GB) is Tier.MEDIUM
    assert tier_of(SNAPSHOT, 0) is Tier.HEAVY
    assert not governor.free_of_cost(walks)
    assert governor.free_of_cost(Cost(Tier.CHEAP, baseline=True))


def test_pressure_is_read_as_the_kernel_writes_it() -> None:
    text = "some avg10=12.34 avg60=1.00 avg300=0.50 total=9\nfull avg10=2.00 avg60=0.10 avg300=0.00 total=3\n"

    assert parse_stall(text, "the host") == Stall(12.34, 2.0, "the host")
    assert parse_stall("", "the host") is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("api --db-password=hunter2 --port 80", "api --db-password=<hidden> --port 80"),
        ("api --token s3cr3t --verbose", "api --token <hidden> --verbose"),
        (
            "java -Dspring.datasource.password=abc -jar a.jar",
            "java -Dspring.datasource.password=<hidden> -jar a.jar",
        ),
        ("worker postgres://u:p@db/x", "worker postgres://<hidden>@db/x"),
        ("env API_KEY=abc run", "env API_KEY=<hidden> run"),
        ("node app.js ghp_16C7e42F292c6912E7710c838347Ae178B4a", "node app.js <hidden>"),
        ("curl Bearer abc.def", "curl Bearer <hidden>"),
        ("gunicorn: worker [shop.wsgi]", "gunicorn: worker [shop.wsgi]"),
        ("auth-service --listen 80 --author Bob", "auth-service --listen 80 --author Bob"),
        ("python /usr/lib/python3/dist-packages/a_rather_long_name_1.py", None),
        ("run --password --verbose", None),
    ],
)
def test_secrets_of_a_command_line_are_hidden_and_the_rest_stays(command: str, shown: str | None) -> None:
    assert redact(command) == (command if shown is None else shown)
