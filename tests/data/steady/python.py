"""A server with objects to look at: `python.py MEGABYTES` prints its port and answers every GET."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

kept: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    """Does a little work for each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer with a sum."""
        body = str(sum(len(row["name"]) for row in kept[:200])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Fill the heap and serve."""
    kept.extend({"name": f"row {i}", "text": "x" * 600} for i in range(int(sys.argv[1]) * 1000))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
