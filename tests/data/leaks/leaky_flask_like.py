"""A small web service with a bug: every request it has answered stays in a list for ever.

Its visitors are made up, so that it leaks by itself: so many megabytes a second, told as the only argument.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from dataclasses import dataclass, field

BODY_BYTES = 64 * 1024
CATALOGUE_BYTES = 60_000_000
WORKERS = 4


@dataclass
class Request:
    """One visit."""

    number: int
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Shop:
    """Answers requests; `answered` is the leak."""

    def __init__(self, requests_per_s: float) -> None:
        self.catalogue = b"." * CATALOGUE_BYTES
        self.answered: list[Request] = []
        self._numbers = itertools.count()
        self._requests_per_s = requests_per_s
        self._opened_s = time.perf_counter()
        self._written = threading.Event()

    def work(self) -> None:
        """Answer one request after the other."""
        for number in self._numbers:
            self.remember_request(receive(number))

    def remember_request(self, request: Request) -> None:
        """Keep the request "for the statistics", and wait until the database has it as well."""
        self.answered.append(request)
        due_s = self._opened_s + request.number / self._requests_per_s
        self._written.wait(max(0.0, due_s - time.perf_counter()))


def receive(number: int) -> Request:
    """Return the next visit."""
    return Request(number, f"/orders/{number}", b"%16d" % number * (BODY_BYTES // 16), {"Host": "shop"})


def main() -> None:
    """Serve until killed."""
    shop = Shop(float(sys.argv[1]) * 1e6 / BODY_BYTES)
    workers = [threading.Thread(target=shop.work, name=f"worker-{n}") for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
