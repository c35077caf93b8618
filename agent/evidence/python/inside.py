"""The few lines that run inside a Python process: its text is handed over, so it needs nothing of ours.

From Python 3.7 on. It imports built-in modules only and runs no code of the program's classes. Listing the
objects is one pause; after that the interpreter's lock is given up every few milliseconds.
"""

# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, UP031 - typing is not imported into programs of others, and they may be of 3.7
from __future__ import annotations

import gc
import itertools
import sys
from _collections import _count_elements, deque
from _signal import sigtimedwait
from posix import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, close, write
from posix import open as open_file

MAX_BLOCKS = 10_000_000
"""Above so many allocated blocks nothing is counted: the pause would be seconds."""
MAX_REFERRED = 2_000_000
"""Above so many objects nobody searches for who holds the largest containers."""
MAX_ANSWER_BYTES = 60_000
"""What a pipe takes at once (pipe(7): 65,536): a reader who has gone never blocks the program."""
CHUNK = 5_000
"""Objects looked at in one go, 1 to 3 ms."""
REST_S = 0.0003
"""Others would wait five milliseconds for a lock that nobody gives up (sys.getswitchinterval)."""
SAMPLES = 20_000
SAMPLES_AT_ONCE = 250
SCATTER = 2_654_435_761
"""A prime far from all periods: objects are often made in turns of two or three."""
TOP_TYPES = 200
LEAST_ENTRIES = 1000
TOP_CONTAINERS = 12
TOP_SEARCHED = 4
MAX_REFERENTS = 1000

DICT, LIST, TUPLE, CLASS = (1 << bit for bit in (29, 25, 26, 31))
"""Bits of a class's flags that say what it is derived from (object.h, Py_TPFLAGS_*_SUBCLASS)."""
module_of, name_of, flags_of, namespace_of = (
    type.__dict__[name].__get__ for name in ("__module__", "__qualname__", "__flags__", "__dict__")
)


def run(path, work):
    """Do the work and write its lines to the FIFO; nothing at all happens where nobody reads it."""
    fd = open_file(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
    try:
        text = "".join("\t".join(map(plain, line)) + "\n" for line in work())
        write(fd, (text[:MAX_ANSWER_BYTES].rpartition("\n")[0] + "\nend\n").encode("ascii"))
    finally:
        close(fd)


def collect():
    """Yield the allocated blocks before and after a full collection."""
    before = sys.getallocatedblocks()
    gc.collect()
    yield "collected", before, sys.getallocatedblocks()


def count():
    """Yield objects by class with what they hold themselves, and the largest containers with their names."""
    blocks = sys.getallocatedblocks()
    if blocks > MAX_BLOCKS:
        yield "refused", blocks, MAX_BLOCKS
        return
    objects = gc.get_objects()
    total = len(objects)
    sample = [objects[at * SCATTER % total] for at in range(SAMPLES)] if total > SAMPLES else objects[:]
    counts, large, caches = {}, [], []
    kinds, cache = container_classes(), cache_class()
    try:
        while objects:
            chunk = objects[-CHUNK:]
            del objects[-CHUNK:]
            _count_elements(counts, map(id, map(type, chunk)))
            for one in itertools.compress(chunk, map(kinds.__contains__, map(id, map(type, chunk)))):
                if type(one) is cache:
                    caches.append(one)
                elif len(one) >= LEAST_ENTRIES:
                    large.append(one)
            rest()
        yield "total", total, blocks
        yield from filled(caches)
        yield from holders(sorted(large, key=len, reverse=True)[:TOP_CONTAINERS], total)
        yield from classes(sample, counts)
    finally:  # this generator is among the objects: a circle that only the collector would find
        for kept in (objects, sample, large, caches):
            kept.clear()


def classes(sample, counts):
    """Yield class, file of its module, number and bytes: of a sample, where what is shared counts twice."""
    seen = {}
    for at, one in enumerate(sample):
        if not at % SAMPLES_AT_ONCE:
            rest()
        entry = seen.setdefault(id(type(one)), [type(one), 0, 0])
        entry[1] += 1
        entry[2] += held(one)
    rows = [(counts.get(key, 0), size, looked, kind) for key, (kind, looked, size) in seen.items()]
    rows = [(number, number * size // looked, kind) for number, size, looked, kind in rows]
    top = (
        sorted(rows, key=lambda row: -row[0])[:TOP_TYPES] + sorted(rows, key=lambda row: -row[1])[:TOP_TYPES]
    )
    for number, size, kind in {id(row): row for row in top}.values():
        yield "class", class_name(kind), file_of(kind), number, size


def held(one):
    """Return the bytes of an object and of the texts and bytes it refers to, which the list does not have."""
    flags, size = flags_of(type(one)), object.__sizeof__
    for bit, base in ((DICT, dict), (LIST, list), (TUPLE, tuple)):
        if flags & bit:
            size = base.__sizeof__
    total = size(one) + 16
    for part in itertools.islice(gc.get_referents(one), MAX_REFERENTS):
        kind = type(part)
        if kind is str or kind is bytes or kind is bytearray:
            total += kind.__sizeof__(part)
        elif kind is dict and not flags & (DICT | LIST | TUPLE):
            total += sum(type(v).__sizeof__(v) for v in part.values() if type(v) is str or type(v) is bytes)
    return total


def rest():
    """Give up the interpreter's lock for a moment; time.sleep may be somebody's own (gevent)."""
    sigtimedwait((), REST_S)


def container_classes():
    """Return the built-in classes that leaks are kept in, by id."""
    module = sys.modules["_collections"].__dict__
    kinds = [dict, list, set, deque, module["OrderedDict"], module["defaultdict"], cache_class()]
    return {id(kind): kind for kind in kinds}


def cache_class():
    """Return the class of what functools.lru_cache makes; None where nobody has imported it."""
    functools = sys.modules.get("_functools")
    return None if functools is None else functools.__dict__["_lru_cache_wrapper"]


def filled(caches):
    """Yield name, kind and number of entries of large lru_caches."""
    for one in caches:
        entries = cache_class().cache_info(one)[3]
        if entries >= LEAST_ENTRIES:
            yield "holder", "%s.%s" % (one.__module__, one.__qualname__), "lru_cache", entries


def holders(large, total):
    """Yield name, kind and number of entries of containers, e.g. "shop.Cart.kept", "list", 12000."""
    names = {}
    global_names({id(one) for one in large}, names)
    unnamed = [one for one in large if id(one) not in names][:TOP_SEARCHED]
    if unnamed and total <= MAX_REFERRED:
        attribute_names(unnamed, names, {id(large), id(unnamed), id(names)})
    for one in large:
        yield "holder", names.get(id(one), ""), type(one).__name__, len(one)


def global_names(wanted, names):
    """Name those that are globals of modules or attributes of their classes."""
    for module_name, module in list(sys.modules.items()):
        if type(module) is not type(sys) or type(module_name) is not str:
            continue
        for name, value in list(module.__dict__.items()):
            if id(value) in wanted:
                names.setdefault(id(value), "%s.%s" % (module_name, name))
            elif flags_of(type(value)) & CLASS and module_of(value) == module_name:
                for inner, kept in list(namespace_of(value).items()):
                    if id(kept) in wanted:
                        names.setdefault(id(kept), "%s.%s" % (class_name(value), inner))


def attribute_names(unnamed, names, own):
    """Name those that are attributes of objects: two searches through all objects."""
    direct = [one for one in gc.get_referrers(*unnamed) if id(one) not in own]
    dicts = [one for one in direct if type(one) is dict]
    owners = gc.get_referrers(*dicts) if dicts else []
    for one in direct + owners:
        if not flags_of(type(one)) & (DICT | LIST | TUPLE):
            for name, value in list(attributes_of(one).items()):
                if any(value is wanted for wanted in unnamed):
                    names.setdefault(id(value), "%s.%s" % (class_name(type(one)), name))


def attributes_of(one):
    """Return an object's own attributes."""
    try:
        found = object.__getattribute__(one, "__dict__")
    except Exception:  # noqa: BLE001 - objects of others
        return {}
    return found if type(found) is dict else {}


def class_name(kind):
    """Return "module.Class", and the bare name of built-in classes."""
    module, name = module_of(kind), name_of(kind)
    plain_module = module if type(module) is str else "?"
    return name if plain_module == "builtins" else "%s.%s" % (plain_module, name)


def file_of(kind):
    """Return the file of a class's module; empty where it has none."""
    module = sys.modules.get(module_of(kind)) if type(module_of(kind)) is str else None
    found = module.__dict__.get("__file__") if type(module) is type(sys) else None
    return found if type(found) is str else ""


def plain(value):
    """Return a value as printable ASCII without tabs."""
    return ascii(value)[1:-1][:300] if type(value) is str else str(value)
