"""The daemon with services that name a metrics page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from children import LeakyChild
from daemon_rig import FINDER, DaemonRig
from receiver import Receiver

from agent.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path


def entry(child: LeakyChild, page: str) -> dict[str, Any]:
    return {"match": {"pid": child.pid}, "metrics": page, "heap_metric": "app_heap_bytes"}


def test_ticks_go_on_beside_a_page_that_hangs_and_it_is_said_once(tmp_path: Path) -> None:
    clock = SystemClock()
    with Receiver() as page, LeakyChild() as child:
        page.hang()
        with DaemonRig(tmp_path, {"api": entry(child, page.url)}) as rig:
            rig.tick()
            page.wait_for(1)
            began_s = clock.now().t_s
            rig.run(120)
            took_s = clock.now().t_s - began_s
            said = rig.said("probe")
            page_requests = len(page.requests)

    assert page_requests == 1
    assert took_s < 1.0  # of the two seconds that the page is given
    assert [line.pairs["why"] for line in said] == ["no answer yet"]


def test_a_reload_asks_at_the_new_address(tmp_path: Path) -> None:
    with Receiver() as old, Receiver() as new, LeakyChild() as child:
        for page in (old, new):
            page.respond_with(200, body=b"app_heap_bytes 5e6\n")
        with DaemonRig(tmp_path, {"api": entry(child, old.url)}) as rig:
            rig.tick()
            old.wait_for(1)
            rig.configure({"api": entry(child, new.url)})
            assert rig.daemon is not None
            rig.daemon.reload()
            rig.clock.rests(FINDER)
            rig.tick()
            new.wait_for(1)
