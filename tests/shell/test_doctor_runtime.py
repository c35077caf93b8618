"""From where `leakwatch doctor` says that a runtime's own heap is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from probe_rig import MetricsChild, target_of
from receiver import Receiver

from agent.cli.doctor import command
from agent.diagnosis.runtime import RuntimeHeap, runtime_of

if TYPE_CHECKING:
    from pathlib import Path

    from children import LeakyChild


NODE_PAGE = b"nodejs_heap_size_used_bytes 7e6\n"
DOTNET_PAGE = b"dotnet_gc_last_collection_heap_size_bytes 5e6\n"
NO_FILE = (
    "it publishes no hsperfdata file (-XX:-UsePerfData, -XX:+PerfDisableSharedMem, or not a HotSpot JVM)"
)
NO_HEAP = "its page has no heap that is known by name for the JVM"


@pytest.mark.parametrize(
    ("status", "page", "runtime", "fails", "text"),
    [
        (200, NODE_PAGE, "node", False, "heap from 127.0.0.1:PORT (7MB, garbage included)"),
        (
            200,
            b"dotnet_gc_last_collection_heap_size_bytes 5e6\n",
            "native",
            False,
            "heap from 127.0.0.1:PORT (5MB)",
        ),
        (
            200,
            b'python_gc_collections_total{generation="2"} 4\n',
            "python",
            False,
            "collections from 127.0.0.1:PORT, no heap of its own",
        ),
        (200, NODE_PAGE, "jvm", True, f"no heap of the JVM's own: {NO_FILE}; {NO_HEAP}"),
        (404, b"", "node", True, "no heap of Node's own: 127.0.0.1:PORT answered 404"),
        (404, b"", "native", True, "no heap of the runtime's own: 127.0.0.1:PORT answered 404"),
    ],
)
def test_doctor_asks_a_page_as_the_daemon_would(
    child: LeakyChild, status: int, page: bytes, runtime: str, *, fails: bool, text: str
) -> None:
    with Receiver() as receiver:
        receiver.respond_with(status, body=page)
        told = runtime_of(target_of(child.pid, metrics=receiver.url, runtime=runtime))

    assert told == RuntimeHeap(text.replace("PORT", str(receiver.port)), fails)


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        ("node", "no heap of Node's own: no entry names its metrics"),
        ("go", "no heap of Go's own: no entry names its metrics"),
        ("python", ""),
        ("native", ""),
    ],
)
def test_doctor_says_what_could_be_known_of_a_runtime(child: LeakyChild, runtime: str, text: str) -> None:
    assert runtime_of(target_of(child.pid, runtime=runtime, named=False)) == RuntimeHeap(text)


def test_the_line_of_a_process_tells_its_runtimes_heap(tmp_path: Path) -> None:
    with MetricsChild() as running:
        running.grow(3_000_000)
        entry = (
            f"service: api, match: {{pid: {running.pid}}}, "
            f"metrics: 'http://127.0.0.1:{running.port}/metrics', heap_metric: app_heap_bytes"
        )
        path = tmp_path / "lw.yaml"
        path.write_text(f"state_dir: {tmp_path}/state\nwatch: [{{{entry}}}]\n")
        output = CliRunner().invoke(command, ["--config", str(path), "--json"]).stdout
    told = next(check for check in json.loads(output)["checks"] if check["name"] == "process")

    assert f"; heap and collections from 127.0.0.1:{running.port} (3MB, garbage included)" in told["text"]
    assert told["facts"]["runtime_heap"] in told["text"]
