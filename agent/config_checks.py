"""What must hold between the values of a file, beyond each being well-formed."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.alerts.base import ChannelOptions
from agent.alerts.options import HttpOptions, Route
from agent.decode.encode import write_percent, write_rate
from agent.decode.problems import nearest, sentence, shown_key
from agent.decode.schema import keys_of, one_of
from agent.decode.walk import Place, Walk
from agent.detect.options import Thresholds
from agent.evidence.options import EvidenceOptions
from agent.secret import Secret
from agent.watch.options import Match, WatchEntry
from agent.web.options import WebOptions, listen_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.decode.schema import Key
    from agent.decode.walk import Located

LEAST_TIMEOUT_S = 0.1
MAX_SERVICE_CHARS = 100
MAX_PORT = 65535
_CHANNEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_parts(walk: Walk, channel_lines: dict[str, int] | None) -> None:
    """Note what is wrong with sound parts, also when others are broken.

    `channel_lines` are the channels as the file names them, and where; None where it cannot be told.
    """
    for located in list(walk.located.values()):
        check = _PART_CHECKS.get(type(located.value))
        if check is not None:
            check(walk, located)
        if isinstance(located.value, ChannelOptions):
            _channel(walk, located)
    _own_names(walk)
    state_dir = walk.located.get(("state_dir",))
    if state_dir is not None and not state_dir.value.startswith(("/", "~/")):
        walk.note(state_dir.place, sentence("an absolute path, or one under ~/", state_dir.shown))
    if channel_lines is not None:
        _known_channels(walk, channel_lines)


def check_whole(walk: Walk, channels: dict[str, Any], routes: tuple[Route, ...], *, discovers: bool) -> None:
    """Note what is wrong with the file as a whole; only for one whose every part could be decoded."""
    named = {located.value for located in _channel_references(walk)}
    for name in channels if routes else ():
        if name not in named:
            _note(
                walk, ("channels", name), sentence("a route or a watch entry that names this channel", "none")
            )
    services = [located.value for located in _values(walk, "watch", "service")]
    if not services and not discovers:
        _note(walk, ("discover", "enabled"), sentence('true, or services under "watch"', "nothing to watch"))
    for located in _values(walk, "routes", "services", None) if not discovers else ():
        if not any(fnmatchcase(service, located.value) for service in services):
            expected = 'a name or pattern that fits a service under "watch"'
            walk.note(located.place, sentence(expected, located.shown, nearest(located.value, services)))


def off_channels(walk: Walk) -> dict[str, str]:
    """Return the channels whose secret is empty, each with the reason."""
    off = {}
    for path, located in walk.located.items():
        if len(path) != 2 or path[0] != "channels":  # noqa: PLR2004 - channels.NAME
            continue
        kind: type = type(located.value)
        alternatives = located.value.ALTERNATIVES
        for key in keys_of(kind).values():
            value = getattr(located.value, key.attribute)
            needed = key.required or (key.name in alternatives and _is_given(walk, path, key))
            if key.secret and needed and not (value or _any(located.value, alternatives)):
                off[str(path[1])] = f"{key.name} is empty" + _whose(walk, (*path, key.name))
            for at in _empty_secrets(value):
                off[str(path[1])] = f"{key.name}[{at}] is empty" + _whose(walk, (*path, key.name, at))
    return off


def _empty_secrets(value: Any) -> list[int]:
    """Return which items of a list of secrets are empty."""
    items = value if isinstance(value, tuple) else ()
    return [at for at, item in enumerate(items) if isinstance(item, Secret) and not item]


def _any(options: Any, secrets: tuple[str, ...]) -> bool:
    """Whether one of these secrets is there."""
    return any(getattr(options, name) for name in secrets)


def _is_given(walk: Walk, path: tuple[str | int, ...], key: Key) -> bool:
    """Whether the file gives a key, empty or not, in any of its spellings."""
    return any((*path, spelling) in walk.located for spelling in key.spellings)


def _whose(walk: Walk, path: tuple[str | int, ...]) -> str:
    names = walk.located[path].names if path in walk.located else ()
    reasons = [f"{name} is {'empty' if name in walk.env else 'not set'}" for name in names]
    return f": {', '.join(reasons)}" if reasons else ""


def _note(walk: Walk, path: tuple[str | int, ...], message: str) -> None:
    """Note a problem at a key, or at what holds it when the file does not give the key."""
    holders = (path[:length] for length in range(len(path), 0, -1))
    line = next((walk.located[at].place.line for at in holders if at in walk.located), 1)
    walk.note(Place(path, line), message)


def _values(walk: Walk, section: str, *keys: str | None) -> Iterator[Located]:
    """Yield the decoded values of `section[*].key`, in the order of the file; None stands for an index."""
    for path, located in walk.located.items():
        if len(path) == 2 + len(keys) and path[0] == section and path[2 : 2 + len(keys)] == _like(keys, path):
            yield located


def _like(keys: tuple[str | None, ...], path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(part if key is None else key for key, part in zip(keys, path[2:], strict=True))


def _channel_references(walk: Walk) -> list[Located]:
    return [*_values(walk, "routes", "channels", None), *_values(walk, "watch", "channels", None)]


def _known_channels(walk: Walk, lines: dict[str, int]) -> None:
    names = tuple(lines)
    for name, line in lines.items():
        if not _CHANNEL_NAME.fullmatch(name):
            words = sentence("a name of letters, digits, -, _ and .", f'"{shown_key(name)}"')
            walk.note(Place(("channels",), line), words)
    known = (
        f"the name of a channel ({', '.join(names)})" if names else 'the name of a channel under "channels"'
    )
    for located in _channel_references(walk):
        if located.value not in names:
            close = None if located.names else nearest(located.value, names)
            walk.note(located.place, sentence(known, located.shown, close))


def _own_names(walk: Walk) -> None:
    first: dict[str, Located] = {}
    for located in _values(walk, "watch", "service"):
        other = first.setdefault(located.value, located)
        if other is not located:
            found = f"{located.shown} again (first on line {other.place.line})"
            walk.note(located.place, sentence("a name that no other entry has", found))


def _refuse(walk: Walk, owner: Located, key: str, expected: str, found: str | None = None) -> None:
    path = (*owner.place.path, key)
    _note(
        walk, path, sentence(expected, found or (walk.located[path].shown if path in walk.located else None))
    )


def _match(walk: Walk, located: Located) -> None:
    match: Match = located.value
    given = {key.name: getattr(match, key.attribute) for key in keys_of(Match).values()}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        walk.note(located.place, sentence(f"at least {one_of(tuple(keys_of(Match)))}", "nothing"))
    if match.pid is not None and match.pidfile is not None:
        _refuse(walk, located, "pidfile", "either pid or pidfile", "both")
    for name, (holds, expected) in _MATCH_KEYS.items():
        if name in given and not holds(given[name]):
            _refuse(walk, located, name, expected)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return bool(text)


_MATCH_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "pid": (lambda pid: pid >= 1, "a whole number from 1"),
    "port": (lambda port: 1 <= port <= MAX_PORT, f"a port from 1 to {MAX_PORT}"),
    "pidfile": (lambda path: path.startswith("/"), "an absolute path"),
    "cgroup": (
        lambda path: path.startswith(("/", "*")),
        'a cgroup path or pattern that begins with "/" or "*"',
    ),
    "command": (_is_pattern, "a regular expression"),
    "exe": (bool, "a name or a path"),
    "user": (bool, "a user name or uid"),
    "unit": (bool, "the name of a systemd unit"),
}


def _thresholds(walk: Walk, located: Located) -> None:
    own: Thresholds = located.value
    if own.growth_critical_bytes_per_hour < own.growth_bytes_per_hour:
        expected = f"at least growth ({write_rate(own.growth_bytes_per_hour)})"
        _refuse(walk, located, "growth_critical", expected, write_rate(own.growth_critical_bytes_per_hour))
    if own.heap_percent_critical < own.heap_percent:
        expected = f"at least heap_percent ({write_percent(own.heap_percent)})"
        _refuse(walk, located, "heap_percent_critical", expected, write_percent(own.heap_percent_critical))


def _entry(walk: Walk, located: Located) -> None:
    service = located.value.service
    if not service.strip() or not service.isprintable() or len(service) > MAX_SERVICE_CHARS:
        _refuse(walk, located, "service", f"a printable name of 1 to {MAX_SERVICE_CHARS} characters")
    if located.value.heap_metric is not None and located.value.metrics is None:
        _refuse(walk, located, "heap_metric", "metrics beside it", "none")


def _route(walk: Walk, located: Located) -> None:
    for key in ("channels", "services"):
        if not getattr(located.value, key):
            _refuse(walk, located, key, "at least one name", "none")
    if located.value.quiet is None:
        needless = [k for k in ("days", "timezone") if getattr(located.value, k) != getattr(Route(()), k)]
        for key in needless:
            _refuse(walk, located, key, 'quiet hours beside it (quiet: "22:00-07:00")', "none")


def _channel(walk: Walk, located: Located) -> None:
    path, kind = located.place.path, located.value.__class__
    keys = keys_of(kind)
    for mistake in located.value.mistakes(lambda name: _is_given(walk, path, keys[name])):
        _note(walk, (*path, *mistake.path), sentence(mistake.expected, mistake.found))


def _http(walk: Walk, located: Located) -> None:
    _timeout(walk, located)
    bundle = located.value.ca_bundle
    if bundle is not None and not _is_file(bundle):
        _refuse(walk, located, "ca_bundle", "a file of certificates that exists")


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False


def _timeout(walk: Walk, located: Located) -> None:
    if located.value.timeout_s < LEAST_TIMEOUT_S:
        _refuse(walk, located, "timeout", "at least 100ms")


def _web(walk: Walk, located: Located) -> None:
    web: WebOptions = located.value
    token = (*located.place.path, "token")
    exposed = not listen_address(web.listen).is_loopback
    if web.token or not (exposed or token in walk.located):
        return
    expected = "a token, as anything but loopback needs one" if exposed else "a token, or no such key"
    found = f"an empty text{_whose(walk, token)}" if token in walk.located else "nothing"
    _refuse(walk, located, "token", expected, found)


_PART_CHECKS: dict[type, Callable[[Walk, Located], None]] = {
    Match: _match,
    Thresholds: _thresholds,
    WatchEntry: _entry,
    Route: _route,
    HttpOptions: _http,
    EvidenceOptions: _timeout,
    WebOptions: _web,
}
