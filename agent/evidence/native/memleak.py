"""Runs memleak of BCC or of libbpf-tools on one process for a while, and reads what it prints."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.native import files
from agent.evidence.native.mangled import readable
from agent.evidence.source import SourceError
from agent.evidence.tool import run
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.native.maps import Region

NAME = "memleak"
TOOLS = ("memleak-libbpf", "bpf-memleak", "memleak", "memleak-bpfcc", "/usr/share/bcc/tools/memleak")
"""As Debian, Fedora and BCC itself name it; those that need no compiler first."""
SETTING_UP_S = 4.0
"""To load the probes and to take them away again: 2.4 s were measured, more on a busy machine."""
TOP_STACKS = 20
MAX_OUTPUT_BYTES = 1_000_000
MAX_FRAMES = 40
MAX_LABEL_CHARS = 60

_ALLOCATORS = (b"jemalloc", b"tcmalloc", b"mimalloc", b"/libc.so.6", b"/libc-2.", b"/ld-musl-")
"""Which file's malloc is traced: the first that is mapped, else the executable's own."""
_LIBRARIES = re.compile(
    r"/(?:libc\.so|libc-2|libpthread|libstdc\+\+|libc\+\+|ld-|lib\w*(?:jemalloc|tcmalloc|mimalloc))"
)
_ALLOCATES = re.compile(
    r"_Zn[wa]|(?:malloc|calloc|realloc|memalign|posix_memalign|aligned_alloc|valloc|mmap)$"
)
_STACK = re.compile(r"\s*(\d{1,18}) bytes in (\d{1,18}) allocations from stack")
_FRAME = re.compile(
    r"\s+(?:\d+\s+)?(?:\[<([0-9a-f]{1,16})>\]|0x[0-9a-f]{1,16})?\s*"
    r"(?:\[unknown\]\s+|([^\s\[<][^\[]*?)(?:\+0x[0-9a-f]+)?\s+)?\[([^\]]+)\]\s*"
)
"""libbpf-tools: "0 [<0000561123444198>] remember+0xf [/usr/bin/shop]"; BCC: "remember+0xf [shop]"."""
_CAPABILITIES = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)
_SYS_ADMIN, _PERFMON, _BPF = 21, 38, 39
"""Bits of CapEff (linux/capability.h)."""


class Frame(NamedTuple):
    """One call of a stack; safe text."""

    function: str
    """Empty where the tool found no name."""
    file: str
    address: int | None


class Outstanding(NamedTuple):
    """What was allocated from one stack while the tool looked, and not given back."""

    size_bytes: int
    blocks: int
    frames: tuple[Frame, ...]


def find() -> Path | None:
    """Return the tool that is installed."""
    found = (shutil.which(name) for name in TOOLS)
    return next((Path(path) for path in found if path), None)


def refusal(tool: Path | None, status: str | None = None, root: Path = Path("/")) -> str:
    """Return why it could not trace anything here; empty where it could.

    By our rights in the text of /proc/self/status, and by what the kernel offers under `root`.
    """
    if tool is None:
        return "not installed (package libbpf-tools or bpfcc-tools)"
    rights = _CAPABILITIES.search(Path("/proc/self/status").read_text("ascii") if status is None else status)
    held = int(rights[1], 16) if rights else 0
    if not held >> _SYS_ADMIN & 1 and not (held >> _BPF & 1 and held >> _PERFMON & 1):
        return "needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN"
    if not (root / "sys/bus/event_source/devices/uprobe").exists():
        return "the kernel has no uprobes (CONFIG_UPROBE_EVENTS)"
    if _compiles(tool):
        headers = (root / "lib/modules" / os.uname().release / "build", root / "sys/kernel/kheaders.tar.xz")
        return "" if any(path.exists() for path in headers) else "the kernel's headers are not installed"
    if not (root / "sys/kernel/btf/vmlinux").exists():
        return "the kernel tells no types (CONFIG_DEBUG_INFO_BTF)"
    return ""


def trace(tool: Path, held: HeldProcess, regions: Sequence[Region], *, timeout_s: float) -> tuple[str, int]:
    """Trace the allocations of a process; return what the tool printed, and for how many seconds it looked.

    The tool is given the allocator's file as a descriptor: the very one that the process has mapped, also
    in a container. Raises SourceError, OSError, ProcessGoneError.
    """
    seconds = max(1, int(timeout_s - SETTING_UP_S))
    with files.mapped(held, _allocator(regions)) as file:
        held.check()
        older_ms = seconds * 1000 // 2
        command = [str(tool), "-p", str(held.key.pid), "-o", str(older_ms), "-T", str(TOP_STACKS)]
        command += ["-O", f"/proc/self/fd/{file}", str(seconds), "1"]
        outcome = run(NAME, command, timeout_s=timeout_s, max_bytes=MAX_OUTPUT_BYTES, pass_fds=(file,))
    held.check()
    output = outcome.output.decode("utf-8", "replace")
    if "outstanding allocations" not in output:
        first = outcome.errors.strip().partition("\n")[0] or f"ended with {outcome.code} and told nothing"
        raise SourceError(f"{NAME}: {one_line(first)}")
    return output, seconds


def parse(output: str) -> list[Outstanding]:
    """Return the stacks of the last report, those with the most bytes first; other lines are passed over."""
    stacks: list[tuple[int, int, list[Frame]]] = []
    for line in output.splitlines():
        if "outstanding allocations" in line:
            stacks = []
        if begin := _STACK.fullmatch(line):
            stacks.append((int(begin[1]), int(begin[2]), []))
        elif stacks and (frame := _FRAME.fullmatch(line)) and len(stacks[-1][2]) < MAX_FRAMES:
            stacks[-1][2].append(_frame(*frame.groups()))
    found = [Outstanding(size, count, tuple(frames)) for size, count, frames in stacks]
    return sorted(found, key=lambda stack: -stack.size_bytes)


def label(stack: Outstanding, regions: Sequence[Region]) -> str:
    """Return who allocates, e.g. "remember < serve (shop)", "shop+0x1198" for a program without symbols."""
    own = [frame for frame in stack.frames if not _of_library(frame)]
    named = [frame.function for frame in own if frame.function][:2]
    if named:
        return one_line(f"{' < '.join(named)} ({_base(own[0].file)})", MAX_LABEL_CHARS)
    if own:
        return one_line(_place(own[0], regions), MAX_LABEL_CHARS)
    through = stack.frames[0] if stack.frames else Frame("", "malloc", None)
    how = "operator new" if through.function.startswith("_Zn") else through.function or _base(through.file)
    return one_line(f"a caller without frame pointers, by {how}", MAX_LABEL_CHARS)


def _frame(address: str | None, function: str | None, file: str) -> Frame:
    name = "" if function is None else readable(function.strip())
    return Frame(one_line(name), one_line(file), int(address, 16) if address else None)


def _of_library(frame: Frame) -> bool:
    """Whether a call is only how everybody allocates."""
    file = frame.file if frame.file.startswith("/") else f"/{frame.file}"
    return bool(_ALLOCATES.match(frame.function) or _LIBRARIES.search(file))


def _place(frame: Frame, regions: Sequence[Region]) -> str:
    """Return file and place in it, as addr2line takes it."""
    for region in regions:
        if frame.address is not None and region.span.start <= frame.address < region.span.end:
            return f"{_base(frame.file)}+{frame.address - region.span.start + region.offset:#x}"
    return f"a function without a name ({_base(frame.file)})"


def _allocator(regions: Sequence[Region]) -> Region:
    """Return a mapping of the file whose malloc is called. Raises SourceError."""
    mapped = [region for region in regions if region.is_file]
    for part in _ALLOCATORS:
        for region in mapped:
            if part in region.path:
                return region
    for region in mapped:
        if "x" in region.permissions:
            return region
    raise SourceError(f"{NAME}: the process has no program mapped")


def _base(file: str) -> str:
    return file.rpartition("/")[2]


def _compiles(tool: Path) -> bool:
    """Whether it is BCC's, which compiles its probes; a script, where the other one is a program."""
    with tool.open("rb") as file:
        return b"python" in file.read(64).partition(b"\n")[0]
