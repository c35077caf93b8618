"""What JVMs answer, as text: every collector, every release, and answers that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from peaks import peak_bytes

from agent.evidence.jvm import histogram, hotspot, memory, threads
from agent.evidence.jvm.histogram import Change, Count
from agent.evidence.jvm.memory import Heap, Memory

if TYPE_CHECKING:
    from collections.abc import Callable

JDK_8 = """
 num     #instances         #bytes  class name
----------------------------------------------
   1:           471        1138488  [B
   2:          1500          36000  java.lang.String
   3:           100           2400  [[Lshop.Order;
Total          2071        1176888
"""
JDK_17 = """ num     #instances         #bytes  class name (module)
-------------------------------------------------------
   1:          9054        1426480  [B (java.base@17.0.15)
   2:           100           2400  shop.Order
   3:            40            960  shop.Order
   4:             7          33472  shop.Cart$$Lambda$18/0x00007f169c000a08
   5:             9         959856  [Ljdk.internal.vm.FillerElement; (java.base@25.0.3)
"""
KB, MB = 1 << 10, 1 << 20


def test_histograms_of_all_releases_are_read() -> None:
    assert histogram.parse(JDK_8) == {
        "byte[]": Count(471, 1138488),
        "java.lang.String": Count(1500, 36000),
        "shop.Order[][]": Count(100, 2400),
    }


def test_modules_loaders_addresses_and_fillers_are_not_told_apart() -> None:
    assert histogram.parse(JDK_17) == {
        "byte[]": Count(9054, 1426480),
        "shop.Order": Count(140, 3360),
        "shop.Cart$$Lambda$18": Count(7, 33472),
    }


@pytest.mark.parametrize("text", ["", "\x00\xff", "1: 2", "   1:    x   y  z", "No such command"])
def test_an_answer_that_is_no_histogram_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="without a histogram"):
        histogram.parse(text)


def test_a_class_name_from_outside_stays_on_one_bounded_line() -> None:
    (name,) = histogram.parse("   1:   1   16  evil\x1b[31m" + "x" * 5000)

    assert name.startswith("evil\\x1b[31m")
    assert len(name) <= histogram.MAX_CLASS_CHARS


def test_growth_is_told_by_the_applications_class_and_what_holds_it() -> None:
    grown = [
        Change("byte[]", 9000, 5_150_000),
        Change("java.util.HashMap$Node", 4990, 159_680),
        Change("shop.Session", 5000, 80_000),
        Change("shop.Config", 30, 900),
    ]

    assert histogram.tell_growth(grown, "12m") == (
        "grew: shop.Session +5,000 (+80kB) in 12m, as many HashMap$Node (+160kB)",
        "kept in: a HashMap or HashSet (java.util.HashMap$Node +4,990 (+160kB))",
        "grew most: byte[] +9,000 (+5.15MB) in 12m",
    )


def test_without_a_class_of_its_own_the_platforms_are_told() -> None:
    grown = [Change("byte[]", 9000, 5_150_000), Change("java.util.LinkedList$Node", 9000, 216_000)]

    assert histogram.tell_growth(grown, "1h") == (
        "kept in: a LinkedList (java.util.LinkedList$Node +9,000 (+216kB))",
        "grew most: byte[] +9,000 (+5.15MB) in 1h",
    )


def test_a_few_objects_are_no_growth() -> None:
    assert histogram.tell_growth([Change("shop.Config", 3, 120), Change("int[]", 13, 40_600)], "12m") == ()


def test_what_shrank_is_no_growth() -> None:
    assert histogram.changes({"a": Count(5, 50)}, {"a": Count(4, 40), "b": Count(1, 16)}) == [
        Change("b", 1, 16)
    ]


def test_lines_of_the_gist_fit_whatever_classes_are_called() -> None:
    long = "com.example." + "deeply." * 20 + "NestedConfigurationFactoryBeanProvider"
    lines = histogram.tell_growth(
        [
            Change(long, 123_456_789, 12_345_678_900),
            Change("java.util.concurrent.ScheduledThreadPoolExecutor$ScheduledFutureTask", 123_456_700, 9),
        ],
        "23h59m",
    )

    assert len(lines) == 2
    assert all(len(line) <= 140 for line in lines)
    assert "NestedConfigurationFactoryBeanProvider" in lines[0]


HEAPS = {
    "g1-17": (
        (
            " garbage-first heap   total 397312K, used 6317K [0x0000000687400000, 0x0000000800000000)\n"
            "  region size 4096K, 1 young (4096K), 0 survivors (0K)\n"
            " Metaspace       used 332K, committed 512K, reserved 1114112K\n"
            "  class space    used 21K, committed 128K, reserved 1048576K\n"
        ),
        Heap(6317 * KB, 397312 * KB, 0x687400000, 0x800000000),
    ),
    "g1-25": (
        (
            "garbage-first heap   total reserved 262144K, committed 262144K, used 3501K"
            " [0x00000000f0000000, 0x0000000100000000)\n"
        ),
        Heap(3501 * KB, 262144 * KB, 0xF0000000, 0x100000000),
    ),
    "serial": (
        (
            " def new generation   total 78656K, used 5597K"
            " [0x00000000f0000000, 0x00000000f5550000, 0x00000000f5550000)\n"
            "  eden space 69952K,   8% used [0x00000000f0000000, 0x00000000f05774e8, 0x00000000f4450000)\n"
            " tenured generation   total 174784K, used 3K"
            " [0x00000000f5550000, 0x0000000100000000, 0x0000000100000000)\n"
        ),
        Heap(5600 * KB, (78656 + 174784) * KB, 0xF0000000, 0x100000000),
    ),
    "parallel": (
        (
            " PSYoungGen      total 76288K, used 6554K"
            " [0x00000000fab00000, 0x0000000100000000, 0x0000000100000000)\n"
            " ParOldGen       total 175104K, used 0K"
            " [0x00000000f0000000, 0x00000000fab00000, 0x00000000fab00000)\n"
        ),
        Heap(6554 * KB, (76288 + 175104) * KB, 0xF0000000, 0x100000000),
    ),
    "z": (
        " ZHeap           used 6M, capacity 256M, max capacity 256M\n Metaspace       used 405K\n",
        Heap(6 * MB, 256 * MB, 0, 0),
    ),
    "shenandoah": (
        (
            "Shenandoah Heap\n 256M max, 256M soft max, 256M committed, 2560K used\n"
            " 1024 x 256K regions\nReserved region:\n - [0x00000000f0000000, 0x0000000100000000) \n"
        ),
        Heap(2560 * KB, 256 * MB, 0xF0000000, 0x100000000),
    ),
}


@pytest.mark.parametrize("collector", HEAPS)
def test_the_heap_of_every_collector_is_read(collector: str) -> None:
    text, heap = HEAPS[collector]

    assert memory.parse_heap(text) == heap


def test_an_answer_without_a_heap_is_an_error() -> None:
    with pytest.raises(ValueError, match="size of its heap"):
        memory.parse_heap("Metaspace used 3K")


def test_native_memory_is_read_by_category_and_its_absence_is_told() -> None:
    text = (
        "-                 Java Heap (reserved=6172672KB, committed=397312KB)\n"
        "                            (mmap: reserved=6172672KB, committed=397312KB) \n"
        "-                     Other (reserved=30KB, committed=30KB)\n"
    )

    assert memory.parse_native(text) == {"Java Heap": 397312 * KB, "Other": 30 * KB}
    assert memory.parse_native("Native memory tracking is not enabled\n") is None


SMAPS = [
    b"f0000000-f5550000 rw-p 00000000 00:00 0 \n", b"Rss: 4 kB\n", b"Anonymous:  200 kB\n", b"Swap: 56 kB\n",
    b"7f0000000000-7f0000100000 rw-p 00000000 00:00 0 [stack]\n", b"Anonymous:  8 kB\n", b"Swap: 0 kB\n",
]  # fmt: skip


def test_anonymous_memory_is_split_at_the_borders_of_the_heap() -> None:
    heap = Heap(0, 0, 0xF0000000, 0x100000000)

    assert memory.split_anonymous(SMAPS, heap) == (256 * KB, 8 * KB)


BEFORE = Memory(10 * MB, 20_000_000, 30_000_000, {"Java Heap": 99 * MB, "Other": 1_000_000})


def test_growth_outside_the_heap_names_the_category() -> None:
    now = Memory(10 * MB, 84_000_000, 36_000_000, {"Java Heap": 199 * MB, "Other": 64_000_000})

    assert memory.tell_outside(BEFORE, now, "12m", tracked=True) == (
        "outside the heap: +64MB of +70MB in 12m, +63MB in Other (direct buffers and Unsafe)"
    )


def test_growth_that_the_jvm_does_not_know_is_a_librarys() -> None:
    now = BEFORE._replace(outside_bytes=84_000_000)

    told = memory.tell_outside(BEFORE, now, "12m", tracked=True)

    assert told.endswith("not by the JVM itself: a native library or the allocator")


def test_growth_within_the_heap_is_not_told_as_outside() -> None:
    now = BEFORE._replace(outside_bytes=26_000_000, inside_bytes=130_000_000)

    assert memory.tell_outside(BEFORE, now, "12m", tracked=False) == ""


STACKS = """2026-11-23 01:31:02
Full thread dump OpenJDK 64-Bit Server VM (17.0.15 mixed mode, sharing):

"main" #1 prio=5 os_prio=0 cpu=67.33ms elapsed=5.49s tid=0x00007f61 nid=0x5ece waiting  [0x00007f61a83fe000]
   java.lang.Thread.State: TIMED_WAITING (sleeping)
\tat java.lang.Thread.sleep(java.base@17.0.15/Native Method)
\t- locked <0x000000069ec02f40> (a java.lang.ref.ReferenceQueue$Lock)
\tat shop.Handler.park(shop@1.2/Handler.java:12)

"pool-3-thread-17" #12 [4866] daemon prio=10 os_prio=0 cpu=0.32ms tid=0x00007f48880dd0a0 nid=4866 waiting
   java.lang.Thread.State: RUNNABLE
\tat app//shop.Handler.park(Handler.java:12)

"VM Thread" os_prio=0 cpu=1.20ms elapsed=5.46s tid=0x00007f61a00ff3f0 nid=0x5ed4 runnable
"""


def test_threads_are_read_with_their_calls() -> None:
    main, worker, vm = threads.parse(STACKS)

    assert main.frames == ("java.lang.Thread.sleep (Native Method)", "shop.Handler.park (Handler.java:12)")
    assert worker == threads.Thread("pool-*-thread-*", ("shop.Handler.park (Handler.java:12)",))
    assert vm == threads.Thread("VM Thread", ())
    assert threads.places([main, worker, vm]) == {"shop.Handler.park (Handler.java:12)": 2}


def test_threads_are_told_when_they_have_become_more() -> None:
    found = [threads.Thread("pool-*", ("Handler.park (Handler.java:12)",))] * 60

    assert threads.tell(found, {"Handler.park (Handler.java:12)": 10}, "12m") == (
        "threads: +50 in 12m, 60 of 60 in Handler.park (Handler.java:12), named pool-*"
    )
    assert threads.tell(found, {"Handler.park (Handler.java:12)": 55}, "12m") == ""
    assert threads.tell(found, None, "") == ""
    assert threads.tell(found * 2, None, "").startswith("threads: 120 of 120 in Handler.park")


def test_an_answer_without_threads_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a thread"):
        threads.parse("garbage")


@pytest.mark.parametrize("parse", [histogram.parse, threads.parse])
def test_millions_of_lines_are_not_held_at_once(parse: Callable[[str], object]) -> None:
    bomb = "ab\n" * 300_000

    assert peak_bytes(lambda: parse(bomb), ValueError) < 1_000_000


def test_threads_of_endless_different_calls_are_bounded() -> None:
    calls = [f"\tat shop.C.m{number}(C.java:1)\n" for number in range(2 * threads.MAX_CALLS)]
    text = "".join('"t" #1\n' + "".join(calls[at : at + 50]) for at in range(0, len(calls), 50))

    found = threads.parse(text)

    assert len(found) == len(calls) // 50
    assert len({call for thread in found for call in thread.frames}) == threads.MAX_CALLS + 1


def test_only_what_catches_the_signals_of_a_jvm_is_one() -> None:
    hotspot.check_signals(b"SigIgn:\t0000000000000000\nSigCgt:\t2000000181005ccf\n")
    for status in (b"SigCgt:\t0000000000000000\n", b"SigCgt:\t0000000000000400\n", b""):
        with pytest.raises(hotspot.RefusedError, match="does not catch SIGQUIT"):
            hotspot.check_signals(status)
