"""An application that serves requests and keeps every one of them: "grow N" keeps N more."""

import sys
import threading


def answer(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


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
            answer("grown")
        if word == "circles":
            for _ in range(int(count)):
                circle: list[object] = []
                circle.append(circle)
            answer("grown")
        if word == "block":
            threading.Thread(target=serve).start()
            threading.Event().wait()


answer("ready")
serve()
