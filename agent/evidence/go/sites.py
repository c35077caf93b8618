"""Sums a Go profile up by the line of the application that allocates or waits, and compares two sums."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.evidence.go.profile import Frame, Profile

MAX_SITE_CHARS = 200
MAX_TOLD_CHARS = 72
"""Of a site in the alert's gist, so that the numbers beside it stay on one line of a phone."""

STANDARD_LIBRARY = frozenset(
    {
        "archive", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto", "database",
        "debug", "embed", "encoding", "errors", "expvar", "flag", "fmt", "go", "hash", "html", "image",
        "index", "internal", "io", "iter", "log", "maps", "math", "mime", "net", "os", "path", "plugin",
        "reflect", "regexp", "runtime", "slices", "sort", "strconv", "strings", "structs", "sync",
        "syscall", "testing", "text", "time", "type", "unicode", "unique", "unsafe", "vendor", "weak",
    }
)  # fmt: skip
"""First elements of its import paths (pkg.go.dev/std)."""
WAITS = (
    ("runtime.chanrecv", "chan receive"),
    ("runtime.chansend", "chan send"),
    ("runtime.selectgo", "select"),
    ("runtime.block", "select without cases"),
    ("runtime.netpollblock", "IO wait"),
    ("time.Sleep", "sleep"),
    ("sync.(*WaitGroup).Wait", "WaitGroup wait"),
    ("sync.(*Cond).Wait", "Cond wait"),
    ("sync.(*Mutex).Lock", "Mutex lock"),
    ("sync.(*RWMutex).", "RWMutex lock"),
    ("runtime.semacquire", "semaphore"),
)
"""What a parked goroutine waits for, by the calls below the application's (runtime/runtime2.go)."""


class Change(NamedTuple):
    """A site, what it holds now, and by how much more than before."""

    site: str
    now: int
    change: int


def held_by_site(profile: Profile, kind: str) -> Counter[str]:
    """Return the sum of a type of value by site, e.g. bytes in use. Raises ProfileError."""
    column = profile.column(kind)
    sums: Counter[str] = Counter()
    for sample in profile.samples:
        sums[site(sample.stack)] += sample.values[column]
    return sums


def waiting_by_site(profile: Profile) -> Counter[str]:
    """Return how many goroutines are at each site, and what they wait for there. Raises ProfileError."""
    column = profile.column("goroutine")
    counts: Counter[str] = Counter()
    for sample in profile.samples:
        reason = _waits_for(sample.stack)
        counts[f"{site(sample.stack)}{reason and ' '}{reason}"] += sample.values[column]
    return counts


def site(stack: Sequence[Frame]) -> str:
    """Return the innermost call of the application as one safe line, e.g. "shop/cache.Set (cache.go:88)".

    Where there is none: the innermost one outside of the runtime, else the innermost.
    """
    if not stack:
        return "(no stack)"
    found = next((frame for frame in stack if not _standard(frame)), None)
    found = found or next((frame for frame in stack if not frame.function.startswith("runtime.")), stack[0])
    place = f"{found.file.rpartition('/')[2]}:{found.line}"
    return one_line(f"{found.function} ({place})", MAX_SITE_CHARS)


def changes(before: Mapping[str, int], now: Mapping[str, int]) -> list[Change]:
    """Return every site of both, what grew most first."""
    found = [
        Change(name, now.get(name, 0), now.get(name, 0) - before.get(name, 0)) for name in {*now, *before}
    ]
    return sorted(found, key=lambda change: (-change.change, -change.now, change.site))


def told(name: str) -> str:
    """Return a site for the gist: the package's own name without the path to it."""
    return one_line(name.rpartition("/")[2], MAX_TOLD_CHARS)


def _standard(frame: Frame) -> bool:
    """Whether a call belongs to Go itself; "main.f" and "example.com/shop.f" do not."""
    return frame.function.partition("/")[0].partition(".")[0] in STANDARD_LIBRARY


def _waits_for(stack: Sequence[Frame]) -> str:
    """Return what a goroutine waits for; empty for one that runs."""
    for start, reason in WAITS:
        for frame in stack:
            if not _standard(frame):
                break
            if frame.function.startswith(start):
                return reason
    return ""
