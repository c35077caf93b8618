"""Secrets of the file: given as they are, from the environment, from a file, or as a systemd credential."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agent.decode.document import MAX_SECRET_BYTES, read_bounded
from agent.decode.problems import sentence
from agent.decode.scalars import INVALID, NULL, is_known_tag, is_storable, shown_kind
from agent.decode.walk import Located, Place, Walk
from agent.secret import HIDDEN, Secret

if TYPE_CHECKING:
    from agent.decode.schema import Key

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Set by systemd for LoadCredential= and SetCredential= (systemd.exec(5), "Credentials")."""


def decode_secret(walk: Walk, key: Key, spelling: str, node: yaml.Node, place: Place) -> Any:
    """Return the Secret that `spelling` gives, None for an optional one left empty, or INVALID.

    A required secret may be empty: that is a way to turn a channel off, and is told by the caller.
    """
    if key.optional and node.tag == NULL:
        return None
    text = _inline(walk, node, place)
    if text is not None and spelling != key.name:
        text = _from_elsewhere(walk, spelling.removeprefix(key.name), text, place)
    if text is None:
        return INVALID
    words = key.spec.check(Secret(text)) if key.spec.check is not None and text else None
    if words is not None:
        walk.note(place, sentence(words, "another text (not shown)"))
        return INVALID
    return Secret(text) if text or not key.optional else None


def _inline(walk: Walk, node: yaml.Node, place: Place) -> str | None:
    if not isinstance(node, yaml.ScalarNode) or node.tag == NULL or not is_known_tag(node):
        walk.note(place, sentence("a text", shown_kind(node)))
        return None
    scalar = walk.fill(node, place)
    if scalar is None:
        return None
    if not is_storable(scalar.text):
        walk.note(place, sentence("a text", "a character that no text can hold"))
        return None
    walk.located[place.path] = Located(place, Secret(scalar.text), HIDDEN, scalar.names)
    return scalar.text


def _from_elsewhere(walk: Walk, suffix: str, text: str, place: Place) -> str | None:
    # Neither the path nor the name is repeated: the secret itself may have been put there.
    if suffix == "_file":
        return _contents(walk, Path(walk.file).parent / text, "a readable file", place)
    directory = walk.env.get(CREDENTIALS_DIRECTORY)
    if not directory:
        words = sentence(f"a systemd credential in ${CREDENTIALS_DIRECTORY}", "that variable not set")
        walk.note(place, words)
        return None
    if "/" in text or text in ("", ".", ".."):
        walk.note(place, sentence("the name of a systemd credential", "a path"))
        return None
    return _contents(
        walk, Path(directory) / text, f"a credential of that name in ${CREDENTIALS_DIRECTORY}", place
    )


def _contents(walk: Walk, path: Path, expected: str, place: Place) -> str | None:
    try:
        text = read_bounded(path, MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        walk.note(place, sentence("a file of text in UTF-8", "other bytes"))
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        walk.note(place, sentence(expected, reason))
        return None
    if not text or not is_storable(text):
        walk.note(
            place, sentence("a file that holds the secret", "an empty one" if not text else "other bytes")
        )
        return None
    return text
