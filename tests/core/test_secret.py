from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import dataclass

import pytest

from agent.secret import HIDDEN, Secret

VALUE = "hooks-T0-B0-xyz"


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(VALUE)),
        repr(Secret(VALUE)),
        f"{Secret(VALUE)}",
        f"{Secret(VALUE)!r}",
        "%s" % Secret(VALUE),  # noqa: UP031 - the form that logging uses
        str([Secret(VALUE)]),
        str({"key": Secret(VALUE)}),
    ],
)
def test_no_way_of_printing_tells_it(shown: str) -> None:
    assert VALUE not in shown
    assert HIDDEN in shown


def test_padding_does_not_tell_its_length() -> None:
    assert f"{Secret('a'):>10}" == f"{Secret('a' * 50):>10}"


def test_a_dataclass_that_holds_it_does_not_tell_it() -> None:
    @dataclass(frozen=True)
    class Options:
        token: Secret

    assert VALUE not in repr(Options(Secret(VALUE)))


def test_a_log_line_does_not_tell_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("agent.test").warning("sending to %s", Secret(VALUE))

    assert VALUE not in caplog.text


def test_json_refuses_it() -> None:
    with pytest.raises(TypeError):
        json.dumps({"token": Secret(VALUE)})


def test_pickle_and_copies_refuse_it() -> None:
    with pytest.raises(TypeError, match="never serialised"):
        pickle.dumps(Secret(VALUE))
    with pytest.raises(TypeError, match="never serialised"):
        copy.copy(Secret(VALUE))


def test_only_reveal_gives_it_away() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_equal_secrets_are_equal_and_hash_alike() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert hash(Secret(VALUE)) == hash(Secret(VALUE))
    assert Secret(VALUE) != Secret("another")


def test_it_never_equals_its_own_text() -> None:
    assert Secret(VALUE) != VALUE


def test_an_empty_secret_is_false() -> None:
    assert not Secret("")
    assert Secret("x")
