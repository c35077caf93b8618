"""A file as YAML nodes: bounded, with a line for every node and a sentence for every way not to be YAML."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from agent.decode.problems import ConfigError, Problem, sentence

MAX_FILE_BYTES = 1_000_000
MAX_SECRET_BYTES = 65_536
CORE = "tag:yaml.org,2002:"
_QUOTED = re.compile(r"'([^']|[^'<][^']+)'")
_SYNTAX = {
    "mapping values are not allowed here": (
        '"key: value" with the indentation of its neighbours; a text that holds ": " needs quotes'
    ),
    "could not find expected ':'": '"key: value"',
    "but found another document": "a single document",
    "found character '\\t' that cannot start any token": "spaces for indentation, found a tab",
    "found unexpected end of stream": "a closing quote",
}
"""PyYAML's words for common slips, and ours."""
_BEGINS_AT_CONTEXT = ("found unexpected end of stream", "could not find expected ':'")
"""Noticed only later: the line to look at is where the text began."""


def read(path: str) -> bytes:
    """Return the bytes of a configuration file. Raises ConfigError when it cannot be used."""
    try:
        data = read_bounded(Path(path), MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(path, 0, "", sentence("a readable file", reason))]) from None
    return data


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Return a file's bytes. Raises OSError, and ValueError for a file that is larger than the limit."""
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f"more than {limit_bytes} bytes")
    return data


def compose(data: bytes, file: str) -> yaml.Node | None:
    """Return the root node, None for an empty file. Raises ConfigError for what is not YAML."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "", sentence("text in UTF-8", "other bytes"))]) from None
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(error, text, file)]) from None
    except RecursionError:
        raise ConfigError([Problem(file, 0, "", sentence("a file that is not nested so deeply"))]) from None
    except (ValueError, OverflowError):
        # PyYAML lets through what int() and chr() say of directives and escapes.
        raise ConfigError([Problem(file, 0, "", sentence("YAML", "a malformed number or escape"))]) from None
    return root


def _syntax(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, int(error.position)) + 1
        return Problem(file, line, "", sentence("printable text", "a control character"))
    mark = getattr(error, "problem_mark", None)
    if getattr(error, "problem", None) in _BEGINS_AT_CONTEXT:
        mark = getattr(error, "context_mark", None) or mark
    return Problem(file, mark.line + 1 if mark else 0, "", f"not YAML: {_syntax_words(error)}")


def _syntax_words(error: yaml.YAMLError) -> str:
    problem, context = str(getattr(error, "problem", "")), str(getattr(error, "context", ""))
    if problem in _SYNTAX:
        return sentence(_SYNTAX[problem])
    if problem.startswith("expected <block end>"):
        return sentence("the indentation of its neighbours")
    if problem.startswith("expected ',' or"):
        return sentence('"," or the closing bracket; between brackets a text such as "${NAME}" needs quotes')
    if "alias" in problem or "alias" in context:
        return sentence('quotes around a text that begins with "*"')
    if "cannot start any token" in problem:
        return sentence('quotes around a text that begins with "@", "`" or "%"')
    # What stands in quotes may be a piece of a secret.
    return (
        _QUOTED.sub(lambda quoted: quoted[0] if len(quoted[1]) == 1 else "that name", problem)
        or "not readable"
    )
