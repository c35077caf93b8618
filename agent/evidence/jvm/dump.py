"""A heap dump of a JVM: written by itself into its own /tmp, then moved into the capture."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from agent import gz
from agent.evidence.files import check_room
from agent.evidence.jvm import attach, holders, hotspot, hprof, memory
from agent.evidence.jvm.hotspot import RefusedError
from agent.evidence.jvm.speaker import DUMP_FILE
from agent.evidence.kernel.procfs import parse_status
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.consent import Consent
    from agent.evidence.jvm.hotspot import Hotspot
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

NAME = "heap dump"
TIMEOUT_S = 120.0
"""For the JVM to write it; a dump that takes longer is swept away when the JVM is through with it."""
DISK_PER_HEAP = 1.5
"""Measured 1.44 on small objects; compressed a fifth of that is kept."""
LEAST_FREE_BYTES = 500_000_000
"""What must stay free where the JVM keeps its /tmp: others live there."""
MAX_ANSWER_BYTES = 100_000
CHUNK_BYTES = 1 << 20
COMPRESSION = 1
MOST_PER_MEMORY = 3
"""A dump that is longer than so many times the memory of the JVM is none."""
_IN_MEMORY = ("tmpfs", "ramfs")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class HeapDump:
    """All live objects, for Eclipse MAT or VisualVM; the dump holds whatever secrets the heap holds."""

    name = NAME
    cost = Cost(Tier.HEAVY, pause_s_per_gb=9.0, disk_per_heap=DISK_PER_HEAP)
    """Measured on 280 MB in 6 million small objects, JDK 17: Serial 7.0 s/GB, G1 9.4; both collect first."""

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a JVM, and its entry allows heavy evidence."""
        return process.runtime == "jvm" and consent.heavy

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why it cannot be attached to, or has no place for the dump."""
        why = attach.why_not(held)
        if why:
            return why
        try:
            with attach.tmp_folder(held) as tmp_fd:
                _check_disk(held, tmp_fd)
        except RefusedError as refusal:
            return str(refusal)
        except OSError as error:
            held.check()
            return error.strerror or str(error)
        return ""

    def take(self, taking: Taking) -> None:
        """Let the JVM write it, and keep it compressed. Takes up to `TIMEOUT_S`, and the time to copy it."""
        held = taking.held
        heap = memory.parse_heap(_ask(held, "GC.heap_info", taking.options.timeout_s))
        try:
            jvm = hotspot.prove(held)
            with attach.tmp_folder(held) as tmp_fd:
                _check_disk(held, tmp_fd, round(DISK_PER_HEAP * heap.used_bytes))
                with _folder(held, jvm, taking.options.timeout_s) as name:
                    _ask(held, f"GC.heap_dump /tmp/{name}/{DUMP_FILE}", TIMEOUT_S)
                    with _opened(tmp_fd, name, jvm.uid) as dump:
                        _keep(taking, dump)
        except RefusedError as refusal:
            raise SourceError(f"{NAME}: {refusal}") from None


def _keep(taking: Taking, dump: BinaryIO) -> None:
    """Copy it into the capture, and tell who holds most in it."""
    size_bytes = os.fstat(dump.fileno()).st_size
    most_bytes = _memory_bytes(taking.held) * MOST_PER_MEMORY + LEAST_FREE_BYTES
    if size_bytes > most_bytes:
        raise SourceError(f"{NAME}: its {format_bytes(size_bytes)} are more than there was to write")
    with taking.open_raw("heap.hprof.gz") as kept:
        _compress(dump, size_bytes, kept, taking.options.disk_budget_bytes)
    holder = holders.largest(dump, size_bytes)
    if holder is not None:
        taking.tell(CODE, str(holder))


def _memory_bytes(held: HeldProcess) -> int:
    """Return all memory of a process by the kernel, which does not lie."""
    status = parse_status(held.read("status"))
    return int(status["VmRSS_bytes"]) + int(status["VmSwap_bytes"])


def _ask(held: HeldProcess, command: str, timeout_s: float) -> str:
    return attach.ask(NAME, held, command, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES)


@contextmanager
def _folder(held: HeldProcess, jvm: Hotspot, timeout_s: float) -> Iterator[str]:
    """Make a folder of the JVM's user in its /tmp, gone at the end, as is what an earlier one has left."""
    name = f".leakwatch-heap-{jvm.inner_pid}"
    attach.speak(NAME, held, "make", name, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES)
    try:
        yield name
    finally:
        with suppress(SourceError):
            attach.speak(NAME, held, "sweep", name, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES)


def _check_disk(held: HeldProcess, tmp_fd: int, needs_bytes: int = 0) -> None:
    """Raise RefusedError where the dump would take memory in place of disk, or fill the disk."""
    if _file_system(held, os.fstat(tmp_fd).st_dev) in _IN_MEMORY:
        raise RefusedError("its /tmp, where it would write, lies in memory")
    about = os.statvfs(tmp_fd)
    free_bytes = about.f_bavail * about.f_frsize
    if free_bytes < needs_bytes + LEAST_FREE_BYTES:
        wanted = format_bytes(needs_bytes + LEAST_FREE_BYTES)
        raise RefusedError(f"{format_bytes(free_bytes)} free in its /tmp, {wanted} are needed")


def _file_system(held: HeldProcess, device: int) -> str:
    """Return the type of the file system with that device number (proc_pid_mountinfo(5)), else ""."""
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    for line in held.read("mountinfo").splitlines():
        mount, _, described = line.partition(b" - ")
        if mount.split()[2:3] == [number]:
            return described.split(maxsplit=1)[0].decode("ascii", "replace")
    return ""


@contextmanager
def _opened(tmp_fd: int, name: str, uid: int) -> Iterator[BinaryIO]:
    """Open what the JVM has written: a plain file of its user, with no other name, and no link on the way."""
    folder = os.open(name, _FOLDER_FLAGS, dir_fd=tmp_fd)
    try:
        fd = os.open(DUMP_FILE, _FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise SourceError(f"{NAME}: the JVM has written none") from None
    finally:
        os.close(folder)
    with os.fdopen(fd, "rb") as dump:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != uid or about.st_nlink != 1:
            raise SourceError(f"{NAME}: what lies in the place of the dump is not the JVM's file")
        yield dump


def _compress(dump: BinaryIO, size_bytes: int, kept: BinaryIO, most_bytes: int) -> None:
    """Copy it as gzip. Raises SourceError for what is no dump, or takes more than `most_bytes` compressed."""
    packer = gz.packer(COMPRESSION)
    chunk = dump.read(CHUNK_BYTES)
    if not chunk.startswith(hprof.MAGIC):
        raise SourceError(f"{NAME}: what the JVM has written is no heap dump")
    for _ in range(size_bytes // CHUNK_BYTES + 1):
        kept.write(packer.compress(chunk))
        check_room(NAME, kept, kept.tell(), most_bytes)
        chunk = dump.read(CHUNK_BYTES)
    kept.write(packer.flush())
