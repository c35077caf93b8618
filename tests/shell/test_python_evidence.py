"""What is told of real Python programs that leak: classes with consent, lines of code and threads without."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from children import process_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.python import exchange, inject, memory, newthread, objects, tracing
from agent.evidence.python.collecting import PythonCollector
from agent.evidence.python.sources import PythonObjects, PythonStacks
from agent.evidence.source import SourceError
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Evidence

PLANTED = Path(__file__).parents[1] / "data" / "planted"
NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
INJECT = Consent(inject=True)
TIMEOUT_S = 20.0


class Planted:
    """A planted program that grows by handshake."""

    def __init__(self, command: list[str], **how: object) -> None:
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
        )
        if self._answer() != "ready":
            self.__exit__()
            raise RuntimeError("the program did not start")
        self.process = process_of(self._child.pid)

    def tell(self, command: str) -> str:
        self.send(command)
        return self._answer()

    def send(self, command: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(command.encode() + b"\n")
        self._child.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Let it end by itself; return its code and what it complained of."""
        _, errors = self._child.communicate(timeout=TIMEOUT_S)
        return self._child.returncode, errors.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.communicate()

    def _answer(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode().strip()


def planted(name: str, interpreter: str = sys.executable, **how: object) -> Planted:
    return Planted([interpreter, str(PLANTED / name)], **how)


def needs_injection(program: Planted) -> None:
    """Skip with the reason where nothing can be run in others here."""
    with HeldProcess(program.process.key) as held:
        why = inject.why_not(held)
    if why:
        if os.environ.get("REQUIRE_PYSPY") == "1":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture
def shop() -> Iterator[Planted]:
    with planted("flask_like.py") as program:
        needs_injection(program)
        yield program


def capture(program: Planted, folder: Path, now: Instant = NOW) -> Evidence:
    options = EvidenceOptions(timeout_s=TIMEOUT_S, cooldown_s=1.0)
    return Captures(folder, options, [PythonObjects()]).capture(program.process, "x", now, consent=INJECT)


def test_the_class_that_grew_is_named_and_where_it_is_kept(shop: Planted, tmp_path: Path) -> None:
    shop.tell("grow 2000")
    capture(shop, tmp_path)
    shop.tell("grow 12000")

    evidence = capture(shop, tmp_path, LATER)

    assert evidence.missing == ()
    grew, *others = evidence.gist
    assert grew.startswith("grew: __main__.Request +12,000 (+")
    assert grew.endswith("MB) in 12m")
    assert others[-1] == "kept in: __main__.Recorder.seen (list) 14,000 entries, +12,000"
    assert evidence.files[0] == "objects.txt"


def test_the_program_runs_on_and_nothing_is_left_in_it(shop: Planted, tmp_path: Path) -> None:
    capture(shop, tmp_path)
    capture(shop, tmp_path, LATER)

    assert shop.tell("grow 1") == "grown"
    tasks = list(Path(f"/proc/{shop.process.key.pid}/task").iterdir())
    assert len(tasks) <= 2  # its own, and ours where it has not quite ended
    assert shop.end() == (0, "")


NO_SAMPLES_S = 2.9


def stacks_of(
    program: Planted, folder: Path, now: Instant = NOW, timeout_s: float = NO_SAMPLES_S
) -> Evidence:
    options = EvidenceOptions(timeout_s=timeout_s, cooldown_s=1.0)
    evidence = Captures(folder, options, [PythonStacks()]).capture(program.process, "x", now)
    if evidence.missing and os.environ.get("REQUIRE_PYSPY") != "1":
        pytest.skip(evidence.missing[0])
    return evidence


def test_the_function_whose_threads_became_more_is_named(tmp_path: Path) -> None:
    with planted("thread_leak.py") as program:
        program.tell("grow 2")
        stacks_of(program, tmp_path)
        program.tell("grow 60")

        evidence = stacks_of(program, tmp_path, LATER)

    assert evidence.gist[0] == (
        "grew: +60 threads started with poll_queue (thread_leak.py:15) in 12m, 62 of 63 now"
    )


def test_very_many_threads_of_one_function_are_told_on_the_first_look(tmp_path: Path) -> None:
    with planted("thread_leak.py") as program:
        program.tell("grow 40")

        evidence = stacks_of(program, tmp_path)

    assert "threads: 40 of 41 were started with poll_queue (thread_leak.py:15)" in evidence.gist


def test_without_consent_the_code_at_work_is_a_hint(tmp_path: Path) -> None:
    with planted("flask_like.py") as program:
        program.send("grow 1000000000")

        evidence = stacks_of(program, tmp_path, timeout_s=TIMEOUT_S)

    hints = [line for line in evidence.gist if line.startswith("hint: at work in ")]
    assert len(hints) == 1
    assert re.search(r"samples: [\w.]*(remember|handle|__init__|serve) \(flask_like.py:\d+\)$", hints[0])


def test_a_program_that_only_waits_gives_no_hint(tmp_path: Path) -> None:
    with planted("thread_leak.py") as program:
        evidence = stacks_of(program, tmp_path, timeout_s=TIMEOUT_S)

    assert not [line for line in evidence.gist if line.startswith("hint")]


INTERPRETERS = [
    "python3.7",
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.12",
    "python3.13",
    "python3.14",
    "python3.15",
]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_every_version_of_the_interpreter_tells_its_classes(interpreter: str, tmp_path: Path) -> None:
    if not runs(interpreter):
        pytest.skip(f"{interpreter} is not installed")
    with planted("flask_like.py", interpreter) as program:
        needs_injection(program)
        program.tell("grow 2000")
        rounds = threading.Thread(target=keep_talking, args=(program,))
        rounds.start()

        evidence = capture(program, tmp_path)
        rounds.join()

        assert evidence.missing == ()
        assert any("__main__.Request 2,0" in line for line in evidence.gist)
        assert program.end() == (0, "")


def runs(interpreter: str) -> bool:
    found = shutil.which(interpreter)
    return (
        found is not None
        and subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0
    )


def keep_talking(program: Planted) -> None:
    """Let its main thread come by now and then, as a server's does."""
    pause = threading.Event()
    for _ in range(20):
        program.tell("grow 1")
        pause.wait(0.02)


def test_a_main_thread_that_waits_for_ever_is_no_obstacle(shop: Planted, tmp_path: Path) -> None:
    shop.tell("grow 2000")
    shop.send("block")  # it reads on in another thread
    shop.tell("grow 1")

    evidence = capture(shop, tmp_path)

    assert evidence.missing == ()


RESTLESS = """
import time
print("ready", flush=True)
while True:
    sum(range(20_000))
    time.sleep(0.0003)
"""
"""It waits when it is looked at and works when it is stopped, or the other way round."""


def test_a_program_that_hardly_ever_waits_is_looked_at_until_it_does() -> None:
    with Planted([sys.executable, "-c", RESTLESS]) as program:
        needs_injection(program)
        with HeldProcess(program.process.key) as held:
            for _ in range(10):
                inject.run("objects", held, "collect", TIMEOUT_S)


@pytest.mark.parametrize("interpreter", ["python3.14", "python3.15"])
@pytest.mark.parametrize("switch", [["-X", "disable-remote-debug"], []], ids=["option", "variable"])
def test_what_its_owner_has_switched_off_stays_so(interpreter: str, switch: list[str]) -> None:
    if not runs(interpreter):
        pytest.skip(f"{interpreter} is not installed")
    environment = {**os.environ} if switch else {**os.environ, "PYTHON_DISABLE_REMOTE_DEBUG": "1"}
    command = [interpreter, *switch, str(PLANTED / "flask_like.py")]
    with Planted(command, env=environment) as program, HeldProcess(program.process.key) as held:
        assert "switched off" in inject.why_not(held)
        with pytest.raises(SourceError, match="switched off"):
            inject.run("objects", held, "count", 1.0)


ASK_WHY_NOT = """
import os, sys
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.python import inject
from agent.model import ProcessKey
os.setgroups([])  # what is imported may lie in a folder that only its owner opens
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
with HeldProcess(ProcessKey.parse(sys.argv[1])) as held:
    print(inject.why_not(held))
"""


def test_without_the_right_to_trace_that_is_the_reason(shop: Planted) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    asked = subprocess.run(
        [sys.executable, "-c", ASK_WHY_NOT, str(shop.process.key)], check=True, capture_output=True
    )

    assert asked.stdout.decode().startswith("needs CAP_SYS_PTRACE")


TRY_TO_WRITE = """
import ctypes, os, struct, sys
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.python import inject
from agent.evidence.source import SourceError
from agent.model import ProcessKey
libc, bits = ctypes.CDLL(None), 1 << 19 | 1 << 2  # CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH
libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", bits, bits, bits, 0, 0, 0))
with HeldProcess(ProcessKey.parse(sys.argv[1])) as held:
    print(inject.why_not(held))
    try:
        inject.run("objects", held, "count", 1.0)
    except SourceError as error:
        print(error)
"""


def test_what_reads_another_users_memory_and_may_not_write_says_which_right_is_missing(shop: Planted) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    asked = subprocess.run(
        [sys.executable, "-c", TRY_TO_WRITE, str(shop.process.key)], check=True, capture_output=True
    )

    needs = "needs CAP_SYS_PTRACE and CAP_DAC_OVERRIDE, or its user where ptrace_scope is 0"
    assert asked.stdout.decode().splitlines() == [needs, f"objects: {needs}"]


def test_a_program_of_another_user_is_counted_too(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    interpreter = "/usr/bin/python3.11"  # one that another user may run
    if not os.access(interpreter, os.X_OK):
        pytest.skip("needs an interpreter that others may run")
    script = tmp_path.parent / "served.py"
    shutil.copy(PLANTED / "flask_like.py", script)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    with Planted(
        [interpreter, "-c", script.read_text()], user=65534, group=65534, extra_groups=[]
    ) as program:
        needs_injection(program)
        program.tell("grow 2000")

        evidence = capture(program, tmp_path)

        assert evidence.missing == ()
        assert any("__main__.Request 2,000" in line for line in evidence.gist)


def test_nothing_that_was_counted_is_kept_alive(shop: Planted, tmp_path: Path) -> None:
    shop.tell("grow 2000")
    capture(shop, tmp_path)

    second = capture(shop, tmp_path, LATER)

    told = json.loads((Path(second.directory) / "objects.json").read_text())
    assert not [one for one in told["holders"] if one["entries"] > 6000]  # lists of what was looked at


def test_what_a_killed_capture_has_left_is_removed_later(shop: Planted, tmp_path: Path) -> None:
    left = Path("/tmp") / f"leakwatch-{os.urandom(16).hex()}"
    left.mkdir()
    (left / "answer").touch()
    young = Path("/tmp") / f"leakwatch-{os.urandom(16).hex()}"
    young.mkdir()
    os.utime(left, (0, 0))

    capture(shop, tmp_path)

    assert not left.exists()
    assert young.exists()
    young.rmdir()


def test_a_stopped_program_is_left_alone(shop: Planted, tmp_path: Path) -> None:
    os.kill(shop.process.key.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, shop.process.key.pid, os.WSTOPPED | os.WNOWAIT)

    evidence = capture(shop, tmp_path)

    assert evidence.missing == ("objects: the process is stopped",)


def test_without_consent_nothing_runs_in_it(shop: Planted) -> None:
    assert not PythonObjects().suits(shop.process, Consent())
    assert not PythonCollector().suits(shop.process, Consent(heavy=True, collect=True))


def test_a_collection_takes_back_what_only_circles_hold(shop: Planted) -> None:
    shop.tell("grow 10")
    collector = PythonCollector()
    with HeldProcess(shop.process.key) as held:
        assert collector.why_not(shop.process, held) == ""
        collector.collect(held, TIMEOUT_S)
        shop.tell("circles 600")

        found = collector.collect(held, TIMEOUT_S)

    assert found.taken_bytes > 0


def test_what_is_no_python_has_a_reason() -> None:
    with subprocess.Popen(["sleep", "600"]) as other, HeldProcess(process_of(other.pid).key) as held:
        why = inject.why_not(held)
        with pytest.raises(SourceError, match=r"^objects: "):
            inject.run("objects", held, "count", 1.0)
        other.kill()

    assert why.endswith(" is not to be found in it") or "CAP_SYS_PTRACE" in why


CAPTURE_FOR_EVER = """
import sys
from pathlib import Path
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.python import inject
from agent.model import ProcessKey
with HeldProcess(ProcessKey.parse(sys.argv[1])) as held:
    print("ready", flush=True)
    while True:
        inject.run("objects", held, sys.argv[2], 5.0)
        print("done", flush=True)
"""


@pytest.mark.parametrize("round_ms", [0, 4, 9, 15, 25])
def test_a_capture_that_is_killed_leaves_the_program_running(shop: Planted, round_ms: int) -> None:
    key = str(shop.process.key)
    shop.tell("grow 2000")
    with subprocess.Popen(
        [sys.executable, "-c", CAPTURE_FOR_EVER, key, "collect"], stdout=subprocess.PIPE
    ) as capturing:
        assert capturing.stdout is not None
        assert capturing.stdout.readline() == b"ready\n"
        threading.Event().wait(round_ms / 1000)
        capturing.kill()
        capturing.communicate()

    assert shop.tell("grow 1") == "grown"
    assert not is_stopped(shop)
    with HeldProcess(shop.process.key) as held:
        assert inject.run("objects", held, "count", TIMEOUT_S)
    assert shop.end() == (0, "")


def is_stopped(program: Planted) -> bool:
    with HeldProcess(program.process.key) as held:
        return held.check().stopped


def test_a_thread_is_held_still_for_milliseconds_only(shop: Planted) -> None:
    pid = shop.process.key.pid
    with tracing.stopped(pid) as thread:
        registers = thread.registers()
        assert Path(f"/proc/{pid}/stat").read_text().split()[2] == "t"

    assert registers["rip"] > 0
    assert shop.tell("grow 1") == "grown"


def test_the_room_for_the_instructions_is_used_again(shop: Planted) -> None:
    with HeldProcess(shop.process.key) as held, memory.opened(held, writable=False) as mem:
        before = newthread.find(mem, memory.regions(held)).room
        for _ in range(3):
            inject.run("objects", held, "collect", TIMEOUT_S)

        assert newthread.find(mem, memory.regions(held)).room == before


@contextmanager
def in_own_view(folder: Path, prepare: str) -> Iterator[Planted]:
    """Start the planted program with mounts of its own."""
    command = f"{prepare}; exec {Path(sys.executable).resolve()} {PLANTED / 'flask_like.py'}"
    try:
        program = Planted(["unshare", "--mount", "sh", "-c", command], cwd=folder)
    except RuntimeError:
        pytest.skip("no mount namespaces here")
    with program:
        needs_injection_rights(program)
        yield program


def needs_injection_rights(program: Planted) -> None:
    with HeldProcess(program.process.key) as held:
        if "CAP_SYS_PTRACE" in inject.why_not(held):
            pytest.skip("no right to trace")


def test_a_program_with_mounts_of_its_own_is_counted_in_its_own_tmp(tmp_path: Path) -> None:
    with in_own_view(tmp_path, "mount -t tmpfs -o mode=1777 none /tmp") as program:
        program.tell("grow 2000")

        evidence = capture(program, tmp_path / "captures")

        assert evidence.missing == ()
        assert list(Path(f"/proc/{program.process.key.pid}/root/tmp").iterdir()) == []  # nothing is left


def test_a_planted_link_for_tmp_leads_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o777)
    victim.chmod(0o1777)
    prepare = (
        f"mkdir {tmp_path}/root && mount -t tmpfs -o mode=755 none {tmp_path}/root && cd {tmp_path}/root"
        f" && ln -s {victim} tmp && ln -s {victim} dev && ln -s {victim} var"
    )
    with (
        in_own_view(tmp_path, prepare) as program,
        HeldProcess(program.process.key) as held,
        held.folder("cwd") as root,
        pytest.raises(PermissionError),
        exchange._shared(root),  # noqa: SLF001 - the one door
    ):
        pass

    assert list(victim.iterdir()) == []


def test_a_folder_that_is_not_for_everybody_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir(mode=0o755)
    root = os.open(tmp_path, os.O_RDONLY)

    with pytest.raises(PermissionError), exchange._shared(root):  # noqa: SLF001 - the one door
        pass
    os.close(root)


def answering(shop: Planted, written: bytes, *, close: bool = True, timeout_s: float = 2.0) -> bytes | None:
    """Return what is read where the program writes that for an answer."""
    with HeldProcess(shop.process.key) as held, exchange.opened(held) as place:
        fd = os.open(place.answer_path, os.O_WRONLY | os.O_NONBLOCK)
        writer = threading.Thread(target=flood, args=(fd, written))
        writer.start()
        if close:
            writer.join()
            os.close(fd)
            return place.read(timeout_s)
        answer = place.read(timeout_s)
    os.close(fd)
    writer.join()
    return answer


def flood(fd: int, written: bytes) -> None:
    os.set_blocking(fd, True)
    with suppress(BrokenPipeError, OSError):
        while written:
            written = written[os.write(fd, written) :]


def test_an_answer_without_an_end_is_bounded(shop: Planted) -> None:
    assert answering(shop, b"class" * 2_000_000, close=False) is None


def test_half_an_answer_is_none(shop: Planted) -> None:
    assert answering(shop, b"total\t1\t1\n") is None


def test_a_silent_program_is_waited_for_in_vain_only_for_a_while(shop: Planted) -> None:
    assert answering(shop, b"", close=False, timeout_s=0.2) is None


def test_an_executable_that_was_deleted_makes_no_difference(tmp_path: Path) -> None:
    if not os.access("/usr/bin/python3.11", os.X_OK):
        pytest.skip("needs an interpreter that runs from anywhere")
    copied = tmp_path / "python3.11"
    shutil.copy("/usr/bin/python3.11", copied)
    with planted("flask_like.py", str(copied)) as program:
        needs_injection(program)
        copied.unlink()
        program.tell("grow 2000")

        evidence = capture(program, tmp_path / "captures")

        assert any("__main__.Request 2,000" in line for line in evidence.gist)


def test_somebody_elses_tracer_is_a_reason(shop: Planted) -> None:
    with tracing.stopped(shop.process.key.pid), HeldProcess(shop.process.key) as held:
        assert newthread.why_not(held) == "somebody traces it already"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["total", "class", "holder", "", "9" * 30, "-1", "a.B", "/x/y.py", "\x1b["]))
    )
)
def test_whatever_a_program_answers_is_read_or_refused(lines: list[list[str]]) -> None:
    try:
        counted = objects.parse(lines)
    except ValueError:
        return
    told = [
        *objects.largest(counted),
        *objects.growth(counted, counted, 60.0),
        objects.readable(counted, None),
    ]
    assert objects.Counted.from_json(json.loads(json.dumps(counted.to_json()))) == counted
    assert all(len(line) <= 140 and line.isprintable() for line in told[:-1])
