"""A shop that is quiet for a while, then keeps a record of every order in a list that nothing empties.

Arguments: seconds of quiet, bytes kept a second after them.
"""

from __future__ import annotations

import sys
import threading

STEP_S = 0.05
PAUSE = threading.Event()
"""Never set: to wait on."""

catalogue = [bytes(1000) + str(number).encode() for number in range(60_000)]
orders: list[bytes] = []


def remember(order: bytes) -> None:
    """Keep an order."""
    orders.append(order)
    PAUSE.wait(STEP_S)


def answer() -> None:
    """Make garbage, as every request does."""
    while not PAUSE.wait(0.2):
        _cart = [bytearray(4000) for _ in range(500)]


def main(quiet_s: float, bytes_per_s: float) -> None:
    """Serve for ever."""
    for _ in range(2):
        threading.Thread(target=answer, name="answer", daemon=True).start()
    PAUSE.wait(quiet_s)
    while True:
        remember(b"x" * int(bytes_per_s * STEP_S))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
