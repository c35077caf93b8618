"""Gives a discovered process the service name a person would give it; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.watch.procfs import COMM_MAX_CHARS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import Process

_LAUNCHERS = frozenset({
    "atd", "containerd", "cron", "crond", "docker", "gdm", "gitlab-runner", "lightdm", "podman", "runit",
    "ssh", "sshd", "supervisor", "supervisord",
})  # fmt: skip
"""Units whose processes are other people's programs: the unit's name would say nothing about them."""
_SCRIPT_INTERPRETERS = frozenset(
    ("bash", "bun", "dash", "deno", "lua", "perl", "php", "ruby", "sh", "Rscript", "zsh")
)
_DULL_STEMS = frozenset({"__main__", "index", "main"})
_DULL_FOLDERS = frozenset({"bin", "build", "dist", "lib", "out", "src"})
_JAR_VERSION = re.compile(r"[-_]v?\d+(\.\d+)+.*$")
_NODE_VALUED = frozenset(
    ("-C", "-r", "--conditions", "--env-file", "--experimental-loader", "--import", "--loader", "--require")
)
_JAVA_VALUED = frozenset({
    "-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-exports", "--add-modules",
    "--add-opens", "--add-reads",
})  # fmt: skip


def service_name(process: Process, arguments: Sequence[str]) -> str:
    """Return the systemd unit, else the script, module, jar or class that runs, else the kernel's name."""
    return unit_name(process.cgroup) or _program(process, arguments) or _kernel_name(process)


def unit_name(cgroup: str) -> str | None:
    """Return the innermost service of a cgroup path without ".service"; None for sessions and launchers.

    >>> unit_name("/system.slice/api.service/worker")
    'api'
    """
    for part in reversed(cgroup.split("/")):
        name, suffix, _ = part.partition(".service")
        if suffix and part.endswith(".service"):
            return None if name.startswith("user@") or name.partition("@")[0] in _LAUNCHERS else name
    return None


def _program(process: Process, arguments: Sequence[str]) -> str | None:
    rest = arguments[1:]
    if process.runtime == "python":
        return python_program(rest)
    if process.runtime == "node":
        return _script(rest, _NODE_VALUED) or "node"
    if process.runtime == "jvm":
        return java_program(rest)
    interpreter = (arguments[0] if arguments else "").rpartition("/")[2]
    return _script(rest, frozenset()) if interpreter in _SCRIPT_INTERPRETERS else None


def python_program(arguments: Sequence[str]) -> str | None:
    """Return "worker" of `/srv/worker.py`, "foo.bar" of `-m foo.bar`; None for `-c` and for a prompt.

    https://docs.python.org/3/using/cmdline.html: letters may be joined, and m, c, W and X take a value.
    """
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            return _telling(argument)
        if argument.startswith("--") or argument == "-":
            continue
        letter = re.search(r"[cmWX]", argument[1:])
        if letter is None:
            continue
        value = argument[1 + letter.end() :] or next(rest, "")
        if letter[0] in "cm":
            return (value or None) if letter[0] == "m" else None
    return None


def java_program(arguments: Sequence[str]) -> str | None:
    """Return "api" of `-jar /srv/api-1.4.2.jar`, else the main class or module.

    https://docs.oracle.com/en/java/javase/21/docs/specs/man/java.html. The version is left out: the
    service keeps its name when a new one is rolled out.
    """
    rest = iter(arguments)
    for argument in rest:
        if argument == "-jar":
            return _JAR_VERSION.sub("", _stem(next(rest, ""))) or None
        if argument in ("-m", "--module"):
            return next(rest, "") or None
        if argument in _JAVA_VALUED:
            next(rest, "")
        elif not argument.startswith(("-", "@")):
            return argument
    return None


def _script(arguments: Sequence[str], valued: frozenset[str]) -> str | None:
    rest = iter(arguments)
    for argument in rest:
        if argument in ("-c", "-e", "-p", "--eval", "--print"):
            return None
        if argument in valued:
            next(rest, "")
        elif not argument.startswith("-"):
            return _telling(argument)
    return None


def _telling(path: str) -> str:
    """Return a script's name, or of `/srv/api/dist/index.js` the folder that says what it is."""
    stem = _stem(path)
    if stem not in _DULL_STEMS:
        return stem
    folders = reversed(path.split("/")[:-1])
    return next((f for f in folders if f not in _DULL_FOLDERS and f.strip(".")), stem)


def _stem(path: str) -> str:
    name = path.rstrip("/").rpartition("/")[2]
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def _kernel_name(process: Process) -> str:
    exe = process.exe.rpartition("/")[2]
    cut = len(process.name) == COMM_MAX_CHARS and exe.startswith(process.name)
    return exe if cut else process.name or exe or f"pid-{process.key.pid}"
