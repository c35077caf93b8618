"""A pool that starts workers and never ends them: "grow N" starts N more."""

import sys
import threading

forever = threading.Event()


def poll_queue() -> None:
    forever.wait()


def start_worker() -> None:
    threading.Thread(target=poll_queue, daemon=True).start()


print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line.split()[1])):
        start_worker()
    print("grown", flush=True)
