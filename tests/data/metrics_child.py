"""A server whose Prometheus page tells how much it keeps; speaks by lines on stdin and stdout."""

from __future__ import annotations

import sys

from prometheus_client import Gauge, start_http_server

KEPT = bytearray()


def main() -> None:
    heap = Gauge("app_heap_bytes", "Bytes kept")
    server, thread = start_http_server(0, addr="127.0.0.1")
    print(server.server_port)  # noqa: T201 - the answer
    print("ready")  # noqa: T201 - the answer
    for line in sys.stdin:
        KEPT.extend(b"x" * int(line.removeprefix("grow ")))
        heap.set(len(KEPT))
        print("grown")  # noqa: T201 - the answer
    server.shutdown()
    thread.join()


main()
