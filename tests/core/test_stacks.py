"""Python stacks for people: what a dump is boiled down to, and what py-spy's refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from agent.evidence.python import pyspy, stacks

NO_NAME = "Error: Failed to get process executable name. Check that the process is running.\n\nCaused by:\n"
STDLIB = "/usr/lib/python3.11/threading.py"


def frame(name: str, path: str, line: int, variables: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "filename": path,
        "short_filename": path.rpartition("/")[2],
        "line": line,
        "locals": variables,
    }


def thread(
    *frames: dict[str, Any], active: bool = False, gil: bool = False, name: str = "w"
) -> dict[str, Any]:
    return {"thread_name": name, "os_thread_id": 7, "active": active, "owns_gil": gil, "frames": list(frames)}


WAIT = frame("Condition.wait", STDLIB, 327)
RUN = frame("Thread.run", STDLIB, 982)
REMEMBER = frame("remember", "/srv/app/handlers.py", 88)
DRIVER = frame("recv", "/srv/venv/lib/python3.11/site-packages/driver/net.py", 5)
MAIN = frame("<module>", "/srv/app/main.py", 3)


def summary(*threads: dict[str, Any]) -> tuple[str, ...]:
    return stacks.summarise(stacks.read(threads))


def test_threads_that_wait_count_for_the_application_line_they_are_in() -> None:
    workers = [thread(WAIT, DRIVER, REMEMBER, RUN)] * 11

    assert summary(*workers, thread(WAIT, MAIN)) == (
        "top stack: remember (handlers.py:88) in 11 of 12 threads",
        "also: <module> (main.py:3) in 1",
    )


def test_a_package_is_told_where_there_is_no_application() -> None:
    assert summary(thread(WAIT, DRIVER, RUN)) == ("top stack: recv (net.py:5) in 1 of 1 thread",)


def test_idle_threads_of_the_standard_library_do_not_outvote_the_application() -> None:
    assert summary(*[thread(WAIT, RUN)] * 9, thread(REMEMBER)) == (
        "top stack: remember (handlers.py:88) in 1 of 10 threads",
    )


def test_the_thread_that_runs_is_told_beside_the_many_that_wait() -> None:
    places = [frame(f"f{number}", "/srv/a.py", number) for number in range(3)]
    waiting = [thread(place) for place in places for _ in range(2)]

    assert (
        summary(*waiting, thread(REMEMBER, active=True, gil=True))[-1] == "running: remember (handlers.py:88)"
    )


def test_a_process_without_python_threads_has_no_summary() -> None:
    assert summary() == ()
    assert summary(thread()) == ()


def test_names_out_of_a_foreign_memory_are_safe_to_print() -> None:
    hostile = frame("f\x1b[31m\nLEAK", "/srv/a\n.py", 1)

    lines = (*summary(thread(hostile)), stacks.readable(stacks.read([thread(hostile, name="\x07")])))

    assert all(char.isprintable() or char == "\n" for line in lines for char in line)
    assert "\n" not in lines[0]


def test_the_readable_dump_shows_locals_only_where_the_dump_has_them() -> None:
    secret = [{"name": "token", "repr": '"hunter2"'}]

    with_locals = stacks.readable(stacks.read([thread(frame("f", "/a.py", 1, secret))]))

    assert with_locals.splitlines() == [
        'thread 7 "w" (waiting)',
        "    f (a.py:1)",
        '        token = "hunter2"',
    ]


@pytest.mark.parametrize("dump", [[{}], [{"thread_name": "x"}], 5, [7], {"a": 1}])
def test_a_dump_of_another_form_is_refused(dump: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        stacks.read(dump)


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("Permission Denied: Try running again with elevated permissions", "CAP_SYS_PTRACE"),
        (
            f"{NO_NAME}    0: Permission denied (os error 13)",
            "CAP_SYS_PTRACE",
        ),
        (
            f"{NO_NAME}    0: No such file or directory (os error 2)",
            "process 42 has ended",
        ),
        (
            "Error: Failed to find python version from target process\n\nStack backtrace:\n   0: x",
            "not a Python process",
        ),
        ("Error: Unsupported version of Python: 3.99.0", "does not know"),
        ("Error: something new\nmore", "py-spy: something new"),
        ("", "without a word"),
    ],
    ids=["denied", "denied-early", "gone", "not-python", "too-new", "unknown", "silent"],
)
def test_a_refusal_becomes_a_reason(errors: str, words: str) -> None:
    reason = pyspy.reason(errors, 42)

    assert words in reason
    assert "\n" not in reason
