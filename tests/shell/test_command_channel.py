"""The command channel with real programs: what they are given, how they end, and what they leave behind."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from alert_samples import alert
from channel_cases import failure_of

from agent.alerts.base import DeliveryError
from agent.alerts.command import MAX_OUTPUT_BYTES, CommandChannel, CommandOptions
from agent.alerts.message import document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENT_S = 20.0


def shell(script: str, *arguments: str, timeout_s: float = PATIENT_S) -> CommandChannel:
    return CommandChannel("ops", CommandOptions(("/bin/sh", "-c", script, "sh", *arguments), timeout_s))


def python(code: str, *arguments: str, timeout_s: float = PATIENT_S) -> CommandChannel:
    return CommandChannel("ops", CommandOptions((sys.executable, "-c", code, *arguments), timeout_s))


@contextmanager
def sign_of_life(path: Path) -> Iterator[int]:
    """A FIFO that a program opens to say that it lives; its end closes it."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)


def ended(reader: int, timeout_s: float = 10.0) -> bool:
    """Whether everybody who held a FIFO open has ended, after what they wrote is read."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(timeout_s * 1000):
        if not os.read(reader, 4096):
            return True
    return False


def test_the_document_is_the_whole_standard_input(tmp_path: Path) -> None:
    shell('cat >"$1"', f"{tmp_path}/told").send(alert())

    assert json.loads((tmp_path / "told").read_bytes()) == document(alert())


def test_a_program_that_reads_nothing_is_no_failure() -> None:
    CommandChannel("ops", CommandOptions(("/bin/true",))).send(alert(command="x" * 500_000))


def test_the_environment_is_three_variables_and_the_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example/xoxSecret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.delenv("HOME", raising=False)
    python(
        "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))", f"{tmp_path}/environ"
    ).send(alert(service="api\nX=1", drill=True))
    found = json.loads((tmp_path / "environ").read_text())

    own = {name: value for name, value in found.items() if not name.startswith("LEAKWATCH_")}
    assert own.keys() - {"LC_CTYPE"} == {"PATH", "LANG", "HOME"}
    assert (own["LANG"], own["HOME"], own["PATH"]) == ("de_DE.UTF-8", "/", os.environ["PATH"])
    assert {name: value for name, value in found.items() if name not in own} == {
        "LEAKWATCH_DELIVERY": "7f3a9c21/1",
        "LEAKWATCH_DEDUP_KEY": "leakwatch-7f3a9c21",
        "LEAKWATCH_INCIDENT": "7f3a9c21",
        "LEAKWATCH_SEQUENCE": "1",
        "LEAKWATCH_TRANSITION": "opened",
        "LEAKWATCH_EVENT": "leak",
        "LEAKWATCH_SUBJECT": "heap",
        "LEAKWATCH_SEVERITY": "critical",
        "LEAKWATCH_SERVICE": "api\\x0aX=1",
        "LEAKWATCH_HOST": "web-3",
        "LEAKWATCH_PID": "4211",
        "LEAKWATCH_DRILL": "yes",
        "LEAKWATCH_TITLE": document(alert(service="api\nX=1", drill=True))["title"],
    }


def test_arguments_are_no_shell_words(tmp_path: Path) -> None:
    odd = '$(id) ; `id` "quoted" *'
    python("import sys; open(sys.argv[1], 'w').write(sys.argv[2])", f"{tmp_path}/told", odd).send(alert())

    assert (tmp_path / "told").read_text() == odd


@pytest.mark.parametrize(
    ("code", "permanent", "ending"),
    [
        (1, False, "exited with 1"),
        (75, False, "exited with 75"),
        (3, False, "exited with 3"),
        (64, True, "exited with 64: it was called wrongly"),
        (65, True, "exited with 65: it does not take the alert"),
        (77, True, "exited with 77: it lacks a permission"),
        (78, True, "exited with 78: its configuration is wrong"),
        (126, True, "exited with 126: it may not be run"),
        (127, True, "exited with 127: it was not found"),
    ],
)
def test_the_exit_code_says_whether_to_try_again(code: int, permanent: bool, ending: str) -> None:  # noqa: FBT001 - a row
    error = failure_of(shell(f"exit {code}"))

    assert (str(error), error.permanent) == (f"/bin/sh {ending}", permanent)


def test_what_it_said_last_is_quoted_on_one_bounded_line() -> None:
    error = failure_of(shell("echo early; printf 'smtp: \\033[31mrefused\\n' >&2; exit 1"))
    long = failure_of(python("print('y' * 100_000, end=''); raise SystemExit(1)"))

    assert str(error) == "/bin/sh exited with 1 (smtp: \\x1b[31mrefused)"
    assert str(long).endswith("yyy...)")
    assert len(str(long)) < 400


def test_of_much_output_only_the_end_is_kept_and_none_blocks() -> None:
    many = 50 * MAX_OUTPUT_BYTES
    error = failure_of(python(f"print('x' * {many}); print('the end'); raise SystemExit(1)"))

    assert str(error).endswith("exited with 1 (the end)")


def test_a_signal_is_told_and_worth_another_try() -> None:
    error = failure_of(shell("kill -TERM $$"))

    assert (str(error), error.permanent) == (f"/bin/sh was ended by signal {signal.SIGTERM:d}", False)


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    hanging = 'exec 3>"$1"; sleep 1000 & echo waiting; sleep 1000'
    with sign_of_life(tmp_path / "alive") as reader:
        error = failure_of(shell(hanging, f"{tmp_path}/alive", timeout_s=0.5))

        assert ended(reader)
    assert (str(error), error.permanent) == ("/bin/sh was killed after 0.5 s (waiting)", False)


def test_a_program_that_ignores_every_polite_signal_is_killed_as_well(tmp_path: Path) -> None:
    stubborn = 'trap "" TERM INT HUP; exec 3>"$1"; while :; do sleep 1000; done'
    with sign_of_life(tmp_path / "alive") as reader:
        failure_of(shell(stubborn, f"{tmp_path}/alive", timeout_s=0.3))

        assert ended(reader)


@pytest.mark.parametrize("code", [0, 4])
def test_what_stays_in_the_background_with_the_pipes_in_hand_holds_nobody_up(
    code: int, tmp_path: Path
) -> None:
    background = 'echo done; setsid sh -c "exec 3>$1; cat $2" & exit $3'
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with sign_of_life(tmp_path / "alive") as reader:
        sender = shell(background, f"{tmp_path}/alive", str(gate), str(code))
        if code == 0:
            sender.send(alert())
        else:
            assert str(failure_of(sender)) == "/bin/sh exited with 4 (done)"
        gate.write_text("go\n")

        assert ended(reader)


def test_what_writes_for_ever_after_the_program_has_ended_holds_nobody_up(tmp_path: Path) -> None:
    background = "setsid sh -c \"exec 3>$1; trap '' PIPE; yes\" & exit 5"
    with sign_of_life(tmp_path / "alive") as reader:
        assert str(failure_of(shell(background, f"{tmp_path}/alive"))).startswith("/bin/sh exited with 5")
        assert ended(reader)


@pytest.mark.parametrize("flaw", ["missing", "not executable", "a folder", "no program"])
def test_a_program_that_cannot_be_started_is_a_permanent_failure(flaw: str, tmp_path: Path) -> None:
    path = tmp_path / "tell"
    if flaw == "a folder":
        path.mkdir()
    elif flaw != "missing":
        path.write_bytes(b"\x00not a program")
        path.chmod(0o700 if flaw == "no program" else 0o600)
    error = failure_of(CommandChannel("ops", CommandOptions((str(path),))))

    assert str(error).startswith(f"{path} does not start: ")
    assert error.permanent


def test_nothing_is_left_open_or_unreaped() -> None:
    def state() -> tuple[set[str], int]:
        return set(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - numbers, no paths

    def send_in_many_ways() -> None:
        CommandChannel("ops", CommandOptions(("/bin/true",))).send(alert())
        for sender in (shell("exit 1"), shell("sleep 1000", timeout_s=0.1), shell("kill -9 $$")):
            with pytest.raises(DeliveryError):
                sender.send(alert())
        for thread in threading.enumerate():
            if thread.name.startswith("wait-"):
                thread.join(10)

    send_in_many_ways()
    before = state()
    send_in_many_ways()

    assert state() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
