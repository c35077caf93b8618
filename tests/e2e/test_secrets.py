"""No secret of any channel is found anywhere but where it is sent: the installed daemon, searched all over.

Every kind of channel is configured twice, against a receiver that takes alerts and one that refuses them and
echoes every secret. A program leaks until all of them have been tried; then everything that the daemon wrote,
said, served and handed to its children is searched.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from channel_cases import HTTP, LOCAL, PATIENT, PROXY_PASSWORD
from installed import COMMAND, InstalledDaemon, LeakingProgram, own_name
from ports import free_port
from receiver import Receiver

from agent.decode.encode import to_plain
from agent.decode.schema import keys_of
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALE = 60
SCRIPT = "leaky_flask_like.py"
BYTES_PER_S = 12e6
WEB_TOKEN = "webTokenSecret"
ALL_SECRETS = (
    *(secret for case in HTTP.values() for secret in case.secrets),
    *(secret for case in LOCAL.values() for secret in case.secrets),
    PROXY_PASSWORD,
    WEB_TOKEN,
)
PLANTED = ("dbPasswordOfTheShop", "urlPasswordOfTheShop")
"""They stand in the command line of the program that leaks."""
COMMAND_LINE = (f"--db-password={PLANTED[0]}", f"postgres://shop:{PLANTED[1]}@db/orders", "--port=8080")
SHOWN = b"--db-password=<hidden> postgres://<hidden>@db/orders --port=8080"


@dataclass(slots=True)
class File:
    """A configuration file in the making: its secrets stand in the environment."""

    channels: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, kind: str, options: Any) -> None:
        self.channels[name] = {"type": kind, **self._section(options)}

    def secret(self, value: str) -> str:
        name = f"LW_SECRET_{len(self.environ)}"
        self.environ[name] = value
        return f"${{{name}}}"

    def text(self, web_port: int) -> str:
        values = {
            "poll_interval": "10s",
            "log": {"level": "debug"},
            "thresholds": {"growth_for": "1m", "growth_critical_for": "1m"},
            "watch": [{"service": "shop", "match": {"command": own_name(SCRIPT)}}],
            "channels": self.channels,
            "web": {"listen": f"127.0.0.1:{web_port}", "token": self.secret(WEB_TOKEN)},
        }
        return yaml.safe_dump(values, sort_keys=False)

    def _section(self, options: Any) -> dict[str, Any]:
        plain = to_plain(options)
        kind: type = type(options)
        values = {
            key.name: self._value(getattr(options, key.attribute), plain[key.name])
            for key in keys_of(kind).values()
        }
        return {name: value for name, value in values.items() if value is not None}

    def _value(self, value: Any, plain: Any) -> Any:
        if isinstance(value, Secret):
            return self.secret(value.reveal())
        if is_dataclass(value):
            return self._section(value)
        if isinstance(value, tuple):
            return [self._value(*pair) for pair in zip(value, plain, strict=True)]
        if isinstance(value, dict):
            return {name: self._value(inner, plain[name]) for name, inner in value.items()}
        return plain


def tattling_program(folder: Path) -> Path:
    """A command that keeps what it was given, and what it sees of the daemon without being it."""
    script, told = folder / "tattle", folder / "tattled"
    script.write_text(
        f'#!/bin/sh\nexec >>"{told}"\ncat; env; cat /proc/$$/environ /proc/$$/cmdline /proc/$PPID/cmdline\n'
    )
    script.chmod(0o700)
    return script


def every_channel(file: File, folder: Path, stack: ExitStack) -> dict[str, Receiver]:
    """Configure all of them; return who is sent what by those that send over HTTP."""
    receivers = {}
    for kind, case in HTTP.items():
        taking, refusing = (stack.enter_context(Receiver()) for _ in range(2))
        taking.respond_with(200, body=case.welcome)
        echo = " ".join(case.secrets)
        refusing.respond_with(400, {"X-Sentry-Error": echo}, f'{{"errors": ["{echo}"]}}'.encode())
        receivers[kind] = taking
        file.add(kind, kind, case.options(taking.url, PATIENT))
        file.add(f"refused-{kind}", kind, case.options(refusing.url, PATIENT))
    for kind, local in LOCAL.items():
        place, elsewhere = folder / kind, folder / f"broken-{kind}"
        place.mkdir()
        elsewhere.mkdir()
        options, _ = stack.enter_context(local.working(place))
        file.add(kind, kind, options)
        file.add(f"broken-{kind}", kind, local.broken(elsewhere))
    proxy = stack.enter_context(Receiver())
    proxy.reset()
    http = {"proxy": file.secret(f"http://agent:{PROXY_PASSWORD}@127.0.0.1:{proxy.port}")}
    file.channels["proxied"] = {"type": "webhook", "url": "https://hooks.example/x", "http": http}
    file.channels["tattle"] = {"type": "command", "command": [str(tattling_program(folder))]}
    return receivers


@dataclass(frozen=True, slots=True)
class Searched:
    """Everything that could hold a secret and must not, by where it was found."""

    found: dict[str, bytes]
    sent: dict[str, bytes]
    """What channels have sent or written, which holds their own secrets."""

    def named(self, part: str) -> bytes:
        return b"\n".join(content for name, content in self.found.items() if part in name)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    folder, state = tmp_path_factory.mktemp("channels"), tmp_path_factory.mktemp("state")
    file, port = File(), free_port()
    with ExitStack() as stack:
        receivers = every_channel(file, folder, stack)
        config = tmp_path_factory.mktemp("config") / "leakwatch.yaml"
        config.write_text(file.text(port))
        arguments: list[str | Path] = ["--config", config, "--state-dir", state, "--time-scale", str(SCALE)]
        stack.enter_context(LeakingProgram(sys.executable, SCRIPT, BYTES_PER_S, folder, *COMMAND_LINE))
        daemon = stack.enter_context(InstalledDaemon(arguments, file.environ))
        for name in file.channels:
            daemon.wait_for(f" channel={name} ", "attempt=")
        daemon.wait_for("evidence ", "remember_request")
        found = running(daemon, port) | said(config, state, file.environ)
        found |= contents("while it runs", state)
        daemon.terminate()
        found |= contents("after its end", state) | {"log": "\n".join(daemon.lines).encode()}
        found["what a command was given"] = (folder / "tattled").read_bytes()
        sent = {f"sent to {kind}": told(receiver) for kind, receiver in receivers.items()}
        yield Searched(found, sent | contents("written", folder))


def contents(when: str, folder: Path) -> dict[str, bytes]:
    return {f"{when}: {path}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(receiver: Receiver) -> bytes:
    """Return all that was sent, as it is and unpacked."""
    bodies = [request.body for request in receiver.requests]
    packed = [gzip.decompress(body) for body in bodies if body.startswith(b"\x1f\x8b")]
    return b"\n".join((*bodies, *packed, *(request.path.encode() for request in receiver.requests)))


def running(daemon: InstalledDaemon, port: int) -> dict[str, bytes]:
    pages = {}
    for path in ("/", "/health", "/healthz", "/metrics", "/missing"):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {WEB_TOKEN}"}
        )
        pages[f"served at {path}"] = fetched(request)
    return pages | {"cmdline": Path(f"/proc/{daemon.pid}/cmdline").read_bytes()}


def fetched(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return bytes(answer.read()) + str(answer.headers).encode()
    except urllib.error.HTTPError as error:
        with error:
            return error.read() + str(error.headers).encode()


def said(config: Path, state: Path, environ: dict[str, str]) -> dict[str, bytes]:
    commands = (
        ("check", config),
        ("status", "--state-dir", state),
        ("status", "--json", "--state-dir", state),
    )
    return {
        f"said by {' '.join(map(str, arguments))}": subprocess.run(
            [COMMAND, *arguments],
            env={"PATH": "/usr/bin:/bin", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        ).stdout
        for arguments in commands
    }


def test_the_places_that_are_searched_hold_what_they_should(searched: Searched) -> None:
    assert b"py-spy" in searched.named("captures") or b"remember_request" in searched.named("captures")
    assert b"leakwatch" in searched.named("served at /metrics")
    assert b"SQLite format 3" in searched.named("state.db")
    assert b"LEAKWATCH_SERVICE=shop" in searched.named("given")
    assert b"run\0--config" in searched.named("given")
    assert b"<hidden>" in searched.named("said by check")
    assert b"refused-slack" in searched.named("said by status")


def test_no_secret_is_found_anywhere(searched: Searched) -> None:
    leaks = {
        (secret, name)
        for name, content in searched.found.items()
        for secret in ALL_SECRETS
        if secret.encode() in content
    }

    assert leaks == set()


def test_no_secret_of_a_watched_command_line_is_found_anywhere(searched: Searched) -> None:
    leaks = {
        (secret, name)
        for name, content in (searched.found | searched.sent).items()
        for secret in PLANTED
        if secret.encode() in content
    }

    assert leaks == set()


@pytest.mark.parametrize("kind", ["alertmanager", "sentry", "slack", "webhook"])
def test_channels_are_told_the_rest_of_the_command_line(searched: Searched, kind: str) -> None:
    plain = (
        searched.sent[f"sent to {kind}"]
        .replace(b"\\u003c", b"<")
        .replace(b"&lt;", b"<")
        .replace(b"&gt;", b">")
    )

    assert SHOWN in plain
