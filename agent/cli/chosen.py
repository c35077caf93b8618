"""Which configuration and which state directory a command speaks of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from agent import statedir
from agent.config import DEFAULT_PATH, Config, ConfigError, default_config, load
from agent.decode.document import compose, read
from agent.decode.scalars import NULL
from agent.decode.walk import Place, Walk

if TYPE_CHECKING:
    from collections.abc import Mapping


def config_file(given: str | None) -> str | None:
    """Return the file that is given, else the installed one; None where there is none."""
    if given is not None:
        return given
    return DEFAULT_PATH if Path(DEFAULT_PATH).exists() else None


def config(file: str | None, env: Mapping[str, str]) -> Config:
    """Return what a file says, the built-in values for None. Raises ConfigError."""
    return default_config() if file is None else load(file, env)


def state_directory(given: str | None, file: str | None, env: Mapping[str, str]) -> Path:
    """Return the directory that is given, else the file's, else the user's own.

    Of the file only `state_dir` is read: its secrets may be known to the service alone.
    Raises ConfigError and StateError.
    """
    configured = given
    if configured is None and file is not None:
        configured = _state_dir_in(file, env)
    return statedir.choose(configured, env, os.geteuid())


def _state_dir_in(file: str, env: Mapping[str, str]) -> str | None:
    root, walk, place = compose(read(file), file), Walk(file, env), Place((), 1)
    entries = (None if root is None else walk.entries(root, place)) or {}
    node = entries["state_dir"].node if "state_dir" in entries else None
    if not isinstance(node, yaml.ScalarNode) or node.tag == NULL:
        return None
    filled = walk.fill(node, place.inside("state_dir", entries["state_dir"].line))
    if filled is None:
        raise ConfigError(walk.problems)
    return filled.text
