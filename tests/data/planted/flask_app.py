"""A Flask application that keeps every request: "grow N" serves N of them, and it serves HTTP beside that.

It prints "ready <port>".
"""

import logging
import sys
import threading

from flask import Flask, request
from werkzeug.serving import make_server

app = Flask(__name__)


class Basket:
    def __init__(self, path: str) -> None:
        self.path = path
        self.lines = [{"article": number, "count": 1} for number in range(10)]


baskets: list[Basket] = []


def remember(path: str) -> Basket:
    basket = Basket(path)
    baskets.append(basket)
    return basket


@app.get("/basket/<name>")
def basket(name: str) -> str:
    return f"{len(remember(request.path).lines)} articles for {name}"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve_all() -> None:
    client = app.test_client()
    for line in sys.stdin:
        for number in range(int(line.split()[1])):
            client.get(f"/basket/{number}")
        say("grown")


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
say(f"ready {server.port}")
serve_all()
