"""What is read out of a metrics page, known by name or not, and out of pages that lie."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from agent.watch.probes import expvar
from agent.watch.probes.base import ProbeError, RuntimeFigures
from agent.watch.probes.exposition import MAX_LABELS_BYTES, MAX_LINE_BYTES, MAX_SAMPLES, Exposition, Sample
from agent.watch.probes.families import NAMES, figures

PAGES = Path(__file__).parents[1] / "data" / "pages"
NAME = "app_heap_bytes"
LABEL_VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def samples(page: bytes, *names: str, piece_bytes: int = 65_536) -> tuple[Sample, ...]:
    exposition = Exposition(names or (NAME,))
    for at in range(0, len(page), piece_bytes):
        exposition.feed(page[at : at + piece_bytes])
    return exposition.end()


def told(page: str, runtime: str, heap_metric: str | None = None) -> RuntimeFigures:
    names = NAMES | ({heap_metric} if heap_metric else set())
    return figures(samples(page.encode(), *names), runtime, heap_metric)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("app_heap_bytes 12", ({}, 12.0)),
        ("app_heap_bytes 1.5e+07 1395066363000", ({}, 1.5e7)),
        ("app_heap_bytes\t12\r", ({}, 12.0)),
        ("app_heap_bytes{} 12", ({}, 12.0)),
        ('app_heap_bytes{space="old",} 12', ({"space": "old"}, 12.0)),
        ('app_heap_bytes{a="1", b = "2"} 12', ({"a": "1", "b": "2"}, 12.0)),
        (r'app_heap_bytes{a="}\" \\ \n#"} 12', ({"a": '}" \\ \n#'}, 12.0)),
        ('app_heap_bytes{a="1"} 12 # {trace_id="x"} 0.5', ({"a": "1"}, 12.0)),
        ("app_heap_bytes 12 # EOF", ({}, 12.0)),
    ],
)
def test_a_line_is_read_as_the_format_says(line: str, expected: tuple[dict[str, str], float]) -> None:
    page = f"# HELP app_heap_bytes the heap\n# TYPE app_heap_bytes gauge\n{line}\nother 3\n".encode()

    assert samples(page) == (Sample(NAME, *expected),)


@pytest.mark.parametrize(
    "line",
    [
        "app_heap_bytes",
        "app_heap_bytes twelve",
        "app_heap_bytes{ 12",
        'app_heap_bytes{a="1 12',
        "app_heap_bytes_total 12",
        "my_app_heap_bytes 12",
        "# app_heap_bytes 12",
        " app_heap_bytes 12",
        "app_heap_bytes" + " " * 10 + "9" * 500,
    ],
)
def test_what_is_no_line_of_the_metric_is_left_out(line: str) -> None:
    assert samples(f"{line}\n".encode()) == ()


@given(
    labels=st.lists(LABEL_VALUES, min_size=1, max_size=4, unique=True),
    piece_bytes=st.integers(1, 60),
    openmetrics=st.booleans(),
)
def test_what_an_exporter_writes_is_read_however_it_is_cut(
    labels: list[str], piece_bytes: int, *, openmetrics: bool
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge(NAME, "the\nheap", ["space"], registry=registry)
    for number, label in enumerate(labels):
        gauge.labels(label).set(number + 0.5)
    page = (generate_openmetrics if openmetrics else generate_latest)(registry)

    read = samples(page, piece_bytes=piece_bytes)

    assert read == tuple(Sample(NAME, {"space": label}, n + 0.5) for n, label in enumerate(labels))


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_page_raises(page: bytes, piece_bytes: int) -> None:
    samples(b"app_heap_bytes{" + page, piece_bytes=piece_bytes)


def test_a_line_without_an_end_is_dropped_and_the_next_one_read() -> None:
    exposition = Exposition([NAME])
    exposition.feed(b'app_heap_bytes{a="')
    for _ in range(40):
        exposition.feed(b"x" * (MAX_LINE_BYTES // 2))
        assert len(exposition._rest) <= 2 * MAX_LINE_BYTES  # noqa: SLF001 - what is kept is what counts
    exposition.feed(b"app_heap_bytes 1\napp_heap_bytes 2\n")

    assert exposition.end() == (Sample(NAME, {}, 2.0),)


def test_labels_that_are_endless_names_cost_no_time() -> None:
    """The expression holds the interpreter's lock: for as long as it searches, nobody is polled."""
    line = b"app_heap_bytes{" + b"x" * (MAX_LABELS_BYTES - 1) + b"} 1\n"
    began_s = time.process_time()

    assert len(samples(line * MAX_SAMPLES)) == MAX_SAMPLES
    assert time.process_time() - began_s < 1.0


def test_a_sample_with_a_flood_of_labels_is_left_out() -> None:
    flood = b'a="",' * (MAX_LABELS_BYTES // 5 + 1)

    assert samples(b"app_heap_bytes{" + flood + b"} 1\napp_heap_bytes 2\n") == (Sample(NAME, {}, 2.0),)


def test_of_endless_samples_a_thousand_are_kept() -> None:
    assert len(samples(b"app_heap_bytes 1\n" * 5000)) == MAX_SAMPLES


def test_a_real_page_of_prom_client_tells_v8s_heap_and_its_whole_collections() -> None:
    page = (PAGES / "prom_client.txt").read_text()

    assert told(page, "node") == RuntimeFigures(5_113_464, 1, None, garbage=True)


def test_without_the_sum_of_the_heap_its_spaces_are_added_up() -> None:
    lines = (PAGES / "prom_client.txt").read_text().splitlines()
    page = "\n".join(line for line in lines if not line.startswith("nodejs_heap_size_used"))

    assert told(page, "node").heap_bytes == 221_920 + 4_395_112 + 241_296 + 262_160


def test_a_real_page_of_expvar_tells_the_heap_of_go() -> None:
    page = (PAGES / "expvar.json").read_bytes()

    assert expvar.figures(page) == RuntimeFigures(188_664, None, None, garbage=True)


MICROMETER = """\
jvm_memory_used_bytes{area="heap",id="G1 Eden Space",} 2.0E7
jvm_memory_used_bytes{area="heap",id="G1 Old Gen",} 4.0E7
jvm_memory_used_bytes{area="nonheap",id="Metaspace",} 9.0E7
jvm_gc_pause_seconds_count{action="end of minor GC",cause="G1 Evacuation Pause",gc="G1 Young Generation",} 7.0
jvm_gc_pause_seconds_count{action="end of major GC",cause="System.gc()",gc="G1 Old Generation",} 1.0
"""
SIMPLECLIENT = """\
jvm_memory_bytes_used{area="heap",} 6.0E7
jvm_memory_bytes_used{area="nonheap",} 9.0E7
jvm_gc_collection_seconds_count{gc="ZGC Minor Cycles",} 5.0
jvm_gc_collection_seconds_count{gc="ZGC Minor Pauses",} 15.0
"""
OPENTELEMETRY_JVM = """\
jvm_memory_used_bytes{jvm_memory_type="heap",jvm_memory_pool_name="G1 Old Gen"} 4e+07
jvm_memory_used_bytes{jvm_memory_type="non_heap",jvm_memory_pool_name="Metaspace"} 9e+07
jvm_gc_duration_seconds_count{jvm_gc_name="G1 Young Generation",jvm_gc_action="end of minor GC"} 3
"""
GO = "go_goroutines 8\ngo_memstats_heap_alloc_bytes 1.8e+06\ngo_memstats_heap_inuse_bytes 3e+06\n"
OPENTELEMETRY_DOTNET = """\
dotnet_gc_last_collection_heap_size_bytes{gc_heap_generation="gen0"} 1000
dotnet_gc_last_collection_heap_size_bytes{gc_heap_generation="gen2"} 5000
dotnet_gc_last_collection_heap_size_bytes{gc_heap_generation="loh"} 300
dotnet_gc_collections_total{gc_heap_generation="gen0"} 90
dotnet_gc_collections_total{gc_heap_generation="gen2"} 2
"""
PROMETHEUS_NET = """\
dotnet_collection_count_total{generation="0"} 23
dotnet_collection_count_total{generation="2"} 1
dotnet_total_memory_bytes 1571080
"""
PYTHON = 'python_gc_collections_total{generation="0"} 71.0\npython_gc_collections_total{generation="2"} 4.0\n'


@pytest.mark.parametrize(
    ("page", "runtime", "expected"),
    [
        (MICROMETER, "jvm", RuntimeFigures(60_000_000, 8, None, garbage=True)),
        (SIMPLECLIENT, "jvm", RuntimeFigures(60_000_000, 5, None, garbage=True)),
        (OPENTELEMETRY_JVM, "jvm", RuntimeFigures(40_000_000, 3, None, garbage=True)),
        (GO, "go", RuntimeFigures(1_800_000, None, None, garbage=True)),
        (GO + "go_gc_heap_live_bytes 1.2e+06\n", "go", RuntimeFigures(1_200_000, None, None)),
        (OPENTELEMETRY_DOTNET, "native", RuntimeFigures(6300, 2, None)),
        (PROMETHEUS_NET, "native", RuntimeFigures(1_571_080, 1, None, garbage=True)),
        (PROMETHEUS_NET, "unknown", RuntimeFigures(1_571_080, 1, None, garbage=True)),
        (PYTHON, "python", RuntimeFigures(None, 4, None)),
    ],
    ids=[
        "micrometer", "client_java", "OpenTelemetry's JVM", "client_golang", "live heap of Go",
        "OpenTelemetry's .NET", "prometheus-net", "unreadable process", "client_python",
    ],
)  # fmt: skip
def test_the_metrics_of_a_runtime_are_known_by_name(
    page: str, runtime: str, expected: RuntimeFigures
) -> None:
    assert told(page, runtime) == expected


def test_a_metric_of_ones_own_is_added_up_over_its_labels() -> None:
    page = 'app_heap_bytes{space="a"} 5\napp_heap_bytes{space="b"} 7\n' + PYTHON

    assert told(page, "python", NAME) == RuntimeFigures(12, 4, None, garbage=True)
    assert told(page, "native", NAME) == RuntimeFigures(12, None, None, garbage=True)


@pytest.mark.parametrize(
    ("page", "runtime", "heap_metric", "sentence"),
    [
        (GO, "native", None, "its page has no heap that is known by name for .NET"),
        (GO, "node", None, "its page has no heap that is known by name for Node"),
        ('nodejs_gc_duration_seconds_count{kind="major"} 1\n', "node", None, "for Node"),
        (PYTHON, "python", NAME, "its page has no metric app_heap_bytes"),
        ("", "unknown", None, "for any runtime"),
        ("nodejs_heap_size_used_bytes -1\n", "node", None, "its page says what cannot be: -1"),
        ("nodejs_heap_size_used_bytes NaN\n", "node", None, "its page says what cannot be: nan"),
        ("nodejs_heap_size_used_bytes +Inf\n", "node", None, "its page says what cannot be: inf"),
        ("nodejs_heap_size_used_bytes 1e300\n", "node", None, "its page says what cannot be: 1e+300"),
    ],
    ids=["exporter beside it", "other runtime", "no heap", "not there", "empty", "-1", "NaN", "Inf", "huge"],
)  # fmt: skip
def test_what_tells_nothing_or_nonsense_is_said(
    page: str, runtime: str, heap_metric: str | None, sentence: str
) -> None:
    with pytest.raises(ProbeError, match=sentence.replace("+", r"\+")):
        told(page, runtime, heap_metric)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (b"{}", "not that of Go's expvar"),
        (b"{", "not that of Go's expvar"),
        (b'{"memstats": 3}', "not that of Go's expvar"),
        (b'{"memstats": {"HeapAlloc": "much"}}', "make no sense"),
        (b'{"memstats": {"HeapAlloc": true}}', "make no sense"),
        (b'{"memstats": {"HeapAlloc": -5}}', "make no sense"),
        (b'{"memstats": {"HeapAlloc": ' + b"9" * 5000 + b"}}", "not that of Go's expvar"),
        (b'{"a":' + b"[" * 100_000, "not that of Go's expvar"),
        (b"{" + b" " * expvar.MAX_BYTES, "longer than 1MB"),
        (b'{"memstats": {"HeapAlloc": 1}}\xff', "not that of Go's expvar"),
    ],
)
def test_what_is_no_expvar_page_is_said(page: bytes, sentence: str) -> None:
    with pytest.raises(ProbeError, match=sentence):
        expvar.figures(page)
