"""A pool that starts workers and never ends them: "grow N" starts N more."""

import sys
import threading

forever = threading.Event()


def answer(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def poll_queue() -> None:
    forever.wait()


def start_worker() -> None:
    threading.Thread(target=poll_queue, daemon=True).start()


answer("ready")
for line in sys.stdin:
    for _ in range(int(line.split()[1])):
        start_worker()
    answer("grown")
