"""An application that serves requests and keeps every one of them: "grow N" keeps N more."""

import sys
import threading


class Request:
    def __init__(self, number: int) -> None:
        self.path = f"/orders/{number}"
        self.body = b"x" * 400
        self.headers = {"host": "shop", "number": str(number)}


class Recorder:
    """Remembers requests, and forgets to forget."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    def remember(self, request: Request) -> None:
        self.seen.append(request)


recorder = Recorder()


def handle(number: int) -> None:
    recorder.remember(Request(number))


def serve() -> None:
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        if word == "grow":
            for number in range(int(count)):
                handle(number)
            print("grown", flush=True)
        if word == "circles":
            for _ in range(int(count)):
                circle: list[object] = []
                circle.append(circle)
            print("grown", flush=True)
        if word == "block":
            threading.Thread(target=serve).start()
            threading.Event().wait()


print("ready", flush=True)
serve()
