"""Checks of what the file says and where the agent would put things: secrets, channels, state, web."""

from __future__ import annotations

import os
import socket
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from agent import statedir
from agent.decode.schema import keys_of
from agent.diagnosis.checks import Check, Grade
from agent.secret import Secret
from agent.status_file import holder
from agent.units import format_bytes
from agent.watch.host import free_disk_bytes, listener
from agent.web.options import Address, listen_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.config import Config, Problem

AREA = "configuration"
STATE = "state"
WEB = "web"
PRIVATE = "private"
"""Where systemd keeps the state of a service that has DynamicUser= (systemd.exec(5))."""
LEAST_FREE_BYTES = 10_000_000
"""Incidents and history need a few megabytes; below this nothing can be promised."""


def mistakes(problems: tuple[Problem, ...]) -> list[Check]:
    """Return a failed check for each mistake of a file."""
    checks = [Check(AREA, "file", Grade.FAIL, str(problem)) for problem in problems]
    hint = (
        "variables and credentials are looked for where doctor runs: the service may have others "
        "(Environment=, EnvironmentFile=, LoadCredential=)"
    )
    if any("environment variable" in p.message or "credential" in p.message for p in problems):
        checks.append(Check(AREA, "environment", Grade.WARN, hint))
    return checks


def configuration(file: str | None, config: Config) -> list[Check]:
    """Return that the file can be used, and what of it is off."""
    text = f"{file} can be used" if file else "no file: the built-in configuration is in force"
    return [Check(AREA, "file", Grade.OK, text), *_secrets(config), *_channels(config)]


def state_directory(directory: Path, config: Config) -> list[Check]:
    """Return whether the state can be written, by whom it is used, and how much room there is."""
    try:
        place = _existing(directory)
        return [_writable(directory, place), *_owner(directory), _room(place, config), lock(directory)]
    except statedir.StateError as error:
        return [Check(STATE, "directory", Grade.FAIL, str(error))]
    except OSError as error:
        return [Check(STATE, "directory", Grade.FAIL, f"state directory {directory}: {error.strerror}")]


def lock(directory: Path) -> Check:
    """Return whether another instance uses the directory. Raises StateError."""
    pid = holder(directory)
    if pid is None:
        return Check(STATE, "lock", Grade.OK, "the lock is free: leakwatch is not running", {"pid": None})
    return Check(
        STATE, "lock", Grade.OK, f"the lock is held: leakwatch runs as pid {pid or 'unknown'}", {"pid": pid}
    )


def web(config: Config, running_pid: int | None) -> Check:
    """Return whether the address of the health page is free, or served by the running instance."""
    if config.web is None:
        return Check(WEB, "listen", Grade.OK, "off (no web section)")
    listen = config.web.listen
    address = listen_address(listen)
    why = _bind(address)
    if why is None:
        return Check(WEB, "listen", Grade.OK, f"{listen} is free")
    pid = listener(address.port)
    if pid is not None and pid == running_pid:
        return Check(WEB, "listen", Grade.OK, f"{listen} is served by the running leakwatch")
    whose = "" if pid is None else f": pid {pid} listens there"
    return Check(WEB, "listen", Grade.FAIL, f"{listen} cannot be listened on ({why}){whose}")


def _secrets(config: Config) -> Iterator[Check]:
    """Yield each secret that a channel or the page uses; that of a channel that is off is told with it."""
    live = config.live_channels
    sections: list[tuple[str, Any]] = [(f"channels.{name}", live[name]) for name in live]
    if config.web is not None:
        sections.append(("web", config.web))
    for path, options in sections:
        for key, secret in _secrets_of(path, options):
            yield _secret(key, secret)


def _secrets_of(path: str, options: Any) -> Iterator[tuple[str, Secret]]:
    """Yield the secrets that are given, those of inner sections too."""
    kind: type = type(options)
    for key in keys_of(kind).values():
        value = getattr(options, key.attribute)
        if key.secret and value is not None:
            yield f"{path}.{key.name}", value
        elif is_dataclass(value):
            yield from _secrets_of(f"{path}.{key.name}", value)
        elif isinstance(value, dict):
            named = ((f"{path}.{key.name}.{name}", inner) for name, inner in value.items())
            yield from ((name, inner) for name, inner in named if isinstance(inner, Secret))


def _secret(key: str, secret: Secret) -> Check:
    resolved = bool(secret)
    text = f"secret {key}: {'resolved' if resolved else 'empty'}"
    return Check(
        AREA, "secret", Grade.OK if resolved else Grade.WARN, text, {"key": key, "resolved": resolved}
    )


def _channels(config: Config) -> Iterator[Check]:
    for name in config.channels:
        off = config.off.get(name)
        text = f"channel {name} is on" if off is None else f"channel {name} is off: {off}"
        grade = Grade.OK if off is None else Grade.WARN
        yield Check(AREA, "channel", grade, text, {"channel": name, "on": off is None})
    if not config.live_channels:
        yield Check(AREA, "channel", Grade.WARN, "no channel is on: leaks are only logged")


def _existing(directory: Path) -> Path:
    """Return the directory, or the nearest one above it that exists."""
    return next(place for place in (directory, *directory.parents) if place.exists())


def _writable(directory: Path, place: Path) -> Check:
    if place == directory:
        statedir.create(directory)  # it exists: only its rights are looked at
        return Check(STATE, "directory", Grade.OK, f"{directory} is writable")
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        why = f"state directory {directory} does not exist and cannot be made in {place}"
        return Check(STATE, "directory", Grade.FAIL, why)
    return Check(STATE, "directory", Grade.OK, f"{directory} does not exist yet; it can be made")


def _owner(directory: Path) -> Iterator[Check]:
    """Tell that the service is another user, who may read less or more than the one who asks."""
    if not directory.exists() or directory.stat().st_uid == os.geteuid():
        return
    owner, own = (statedir.user_name(uid) for uid in (directory.stat().st_uid, os.geteuid()))
    better = f"try: sudo -u {owner} leakwatch doctor"
    if directory.resolve().parent.name == PRIVATE:  # its number tells nothing outside of the service
        owner, better = "the user of the service", "how to ask as the service: docs/guide.md, Install"
    text = (
        f"{directory} belongs to {owner}, and these checks run as {own}: "
        f"what follows holds for {own} ({better})"
    )
    yield Check(STATE, "owner", Grade.WARN, text)


def _room(place: Path, config: Config) -> Check:
    free, budget = free_disk_bytes(place), config.evidence.disk_budget_bytes
    facts = {"free_bytes": free, "evidence_budget_bytes": budget}
    text = f"{format_bytes(free)} free"
    if free < LEAST_FREE_BYTES:
        return Check(STATE, "room", Grade.FAIL, f"{text}: too little to keep incidents", facts)
    if config.evidence.enabled and free < budget:
        text = f"{text}: less than evidence may take (evidence.disk_budget {format_bytes(budget)})"
        return Check(STATE, "room", Grade.WARN, text, facts)
    return Check(STATE, "room", Grade.OK, f"{text}, evidence takes {format_bytes(budget)} at most", facts)


def _bind(address: Address) -> str | None:
    """Return why an address cannot be listened on, as the server would."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address.host, address.port))
            tried.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None
