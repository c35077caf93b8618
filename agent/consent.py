"""What the owner of a service allows beyond looking: each of it changes or slows the process for a moment."""

from __future__ import annotations

from dataclasses import dataclass

from agent.options import HTTP_HOST, PORT, fits, option

_PPROF = rf"{HTTP_HOST}(:({PORT}))?(/[!\"$->@-~]*)?"
"""Neither query nor fragment: what is asked for is put after it."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What an entry allows; without it nothing is done that a process could notice."""

    heavy: bool = option(
        default=False, describe="heap dumps and snapshots: seconds of pause, as much memory again"
    )
    collect: bool = option(
        default=False, describe="ask the runtime for a full collection at the verdict, and judge what is left"
    )
    inspector: bool = option(
        default=False,
        describe="open Node's inspector by SIGUSR1 (local users can then run code in the process)",
    )
    inject: bool = option(
        default=False, describe="run our own few lines in a Python process: counts of objects by type"
    )
    trace: bool = option(
        default=False, describe="trace the allocations of a native program for a while with BPF"
    )
    pprof: str | None = option(
        None,
        describe="where a Go program serves pprof: http://127.0.0.1:6060/debug/pprof",
        check=fits(_PPROF, "an address such as http://127.0.0.1:6060/debug/pprof"),
    )
