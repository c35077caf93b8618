"""Runs every program with a planted leak, takes captures of it, and prints what the findings named.

    python tests/bench/evidence.py [NAME...]

Each program grows a little, is captured as a baseline would be, grows much more, and is captured as at a
critical alert: once as an entry without `allow` has it, once with everything allowed but what is heavy. Those
that serve HTTP are asked for pages meanwhile, as they would be. Told is the line that names what is guilty.
What is not installed is said; Express is found by NODE_PATH. It takes about two minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from children import process_of

from agent.clock import SystemClock
from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Tier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLANTED = Path(__file__).parents[1] / "data" / "planted"
OPTIONS = EvidenceOptions(cooldown_s=0.0, timeout_s=20.0)
COMPILERS = {".c": "gcc", ".cc": "g++", ".java": "javac", ".go": "go"}
RUNTIMES = {".py": "python", ".js": "node", ".java": "jvm", ".go": "go"}


class Leak(NamedTuple):
    """One planted leak and how it is known that it was named."""

    file: str
    what: str
    grow: tuple[str, str]
    """What it is told before the first and before the second capture."""
    guilty: str
    """An expression for the function, class, type, mapping or descriptor that is to blame."""
    page: str = ""
    """What is asked for over HTTP while captures are taken."""
    module: str = ""
    """What the program needs beside its runtime."""


LEAKS = (
    Leak(
        "flask_app.py",
        "Flask: keeps requests",
        ("grow 500", "grow 4000"),
        r"\bBasket\b|\bremember\b",
        "/basket/ann",
        "flask",
    ),
    Leak(
        "express_app.js",
        "Express: keeps closures",
        ("grow 100", "grow 4000"),
        r"\bsubscribe\b|\bhandle\b",
        "/feed/ann",
        "express",
    ),
    Leak("flask_like.py", "Python: keeps requests", ("grow 1000", "grow 40000"), r"\bRequest\b|\bremember\b"),
    Leak("node_closures.js", "Node: keeps closures", ("grow 100", "grow 12000"), r"\bremember\b"),
    Leak("StaticMap.java", "JVM: static map", ("grow 1000", "grow 40000"), r"StaticMap\.Session|\$Session"),
    Leak("ThreadLocalLeak.java", "JVM: ThreadLocal", ("grow 1000", "grow 40000"), r"RequestContext"),
    Leak(
        "DirectBufferLeak.java",
        "JVM: direct buffers",
        ("grow 20", "grow 600"),
        r"DirectBuffer|DirectByteBuffer|Frame",
    ),
    Leak(
        "ThreadLeak.java",
        "JVM: threads",
        ("grow 10", "grow 300"),
        r"ThreadLeak\b.*\.java:\d+|ThreadLeak\.\w+",
    ),
    Leak("goroutine_leak.go", "Go: goroutines", ("goroutines 10", "goroutines 5000"), r"main\.leak\b"),
    Leak("goroutine_leak.go", "Go: keeps slices", ("grow 1000000", "grow 80000000"), r"main\.remember\b"),
    Leak("lost_malloc.c", "C: loses mallocs", ("grow 1000000", "grow 60000000"), r"\[heap\]|\bremember\b"),
    Leak("lost_objects.cc", "C++: keeps objects", ("grow 1000000", "grow 60000000"), r"shop::Request"),
    Leak("thread_leak.py", "Python: threads", ("grow 5", "grow 250"), r"poll_queue|start_worker"),
    Leak("fd_leak.py", "Python: descriptors", ("grow 5", "grow 400"), r"^descriptors: .*\bfile\b"),
)


def main(names: Sequence[str]) -> None:
    """Print the table, row by row."""
    _say("| leak | without `allow` | with everything but heavy allowed |\n|---|---|---|")
    for leak in LEAKS:
        if not names or any(name in leak.file for name in names):
            cells = [leak.what, *(_named(leak, allowed=allowed) for allowed in (False, True))]
            _say(f"| {' | '.join(cells)} |")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _named(leak: Leak, *, allowed: bool) -> str:
    """Return the line that names what is guilty, else what was said instead."""
    why = _cannot_run(leak)
    if why:
        return why
    gist, missing = _captured(leak, allowed=allowed)
    lines = [line for line in gist if re.search(leak.guilty, line)]
    told = lines or [line for line in gist if line.startswith("grew: ")] or [*gist, *missing, "nothing"]
    shown = f"`{told[0]}`".replace(f"{PLANTED}/", "").replace("|", "/")
    return shown if lines else f"not named; {shown}"


def _cannot_run(leak: Leak) -> str:
    if not (PLANTED / leak.file).exists():
        return "no such program"
    suffix = Path(leak.file).suffix
    needs = [COMPILERS.get(suffix, ""), {".js": "node", ".java": "java"}.get(suffix, "")]
    missing = [tool for tool in needs if tool and shutil.which(tool) is None]
    if not missing and leak.module:
        ask = ["node", "-e", f"require('{leak.module}')"]
        if suffix == ".py":
            ask = [sys.executable, "-c", f"import {leak.module}"]
        missing = [leak.module] if subprocess.run(ask, capture_output=True, check=False).returncode else []
    return f"not tried: {', '.join(missing)} is not installed" if missing else ""


def _captured(leak: Leak, *, allowed: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the second capture found, and what it could not take."""
    first, second = leak.grow
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder, _running(leak.file, Path(folder)) as (child, ready):
        process = process_of(child.pid, runtime=RUNTIMES.get(Path(leak.file).suffix, "native"))
        consent = _everything(ready) if allowed else Consent()
        captures = Captures(Path(folder) / "captures", OPTIONS)
        with _asked(leak, ready):
            _grow(leak, child, ready, first)
            captures.capture(process, "bench", clock.now(), consent=consent, tier=Tier.MEDIUM)
            _grow(leak, child, ready, second)
            evidence = captures.capture(process, "bench", clock.now(), consent=consent, tier=Tier.MEDIUM)
    return evidence.gist, evidence.missing


def _everything(ready: str) -> Consent:
    """Return what a generous entry allows; a program that serves says its port when it is ready."""
    port = ready.removeprefix("ready").strip()
    pprof = f"http://127.0.0.1:{port}/debug/pprof" if port else None
    return Consent(collect=True, inspector=True, inject=True, trace=True, pprof=pprof)


@contextmanager
def _running(file: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program; give it and the line that it is ready with."""
    command = _command(PLANTED / file, folder)
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True) as child:
        try:
            yield child, _answer(child)
        finally:
            child.kill()


@contextmanager
def _asked(leak: Leak, ready: str) -> Iterator[None]:
    """Ask a program that serves for a page again and again."""
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            _ask(leak, ready, 20)

    asking = threading.Thread(target=ask)
    if leak.page:
        asking.start()
    try:
        yield
    finally:
        enough.set()
        if leak.page:
            asking.join()


def _grow(leak: Leak, child: subprocess.Popen[str], ready: str, command: str) -> None:
    """Let a program grow: by requests where it serves, by what it is told elsewhere."""
    if leak.page:
        _ask(leak, ready, int(command.split()[1]))
    else:
        _tell(child, command)


def _ask(leak: Leak, ready: str, count: int) -> None:
    """Ask for a page so many times over one connection, as long as it is kept open."""
    with closing(HTTPConnection("127.0.0.1", int(ready.removeprefix("ready")), timeout=30)) as connection:
        for _ in range(count):
            connection.request("GET", leak.page)
            connection.getresponse().read()


def _command(program: Path, folder: Path) -> list[str]:
    """Return how a program is started, built where it needs that."""
    built = folder / program.stem
    match program.suffix:
        case ".py":
            return [sys.executable, "-u", str(program)]
        case ".js":
            return ["node", str(program)]
        case ".java":
            subprocess.run(["javac", "-d", str(folder), str(program)], check=True)
            return ["java", "-Xmx512m", "-cp", str(folder), program.stem]
        case ".go":
            subprocess.run(["go", "build", "-o", str(built), str(program)], check=True)
        case suffix:
            subprocess.run([COMPILERS[suffix], "-g", "-O1", "-o", str(built), str(program)], check=True)
    return [str(built)]


def _tell(child: subprocess.Popen[str], command: str) -> None:
    assert child.stdin
    child.stdin.write(f"{command}\n")
    child.stdin.flush()
    answer = _answer(child)
    if answer != "grown":
        raise RuntimeError(f"{command}: answered {answer!r}")


def _answer(child: subprocess.Popen[str]) -> str:
    assert child.stdout
    return child.stdout.readline().strip()


if __name__ == "__main__":
    main(sys.argv[1:])
