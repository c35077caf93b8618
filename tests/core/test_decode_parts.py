from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import yaml

from agent.decode.decoder import Decoder
from agent.decode.encode import to_plain
from agent.decode.expand import Expanded, escape, expand
from agent.decode.problems import ConfigError, Problem, dotted, nearest, sentence, shown_key
from agent.decode.scalars import INVALID
from agent.decode.schema import Kinds, Tagged, keys_of
from agent.decode.walk import Place, Walk
from agent.options import Duration, Percent, Rate, Size, at_least, option
from agent.secret import Secret


@dataclass(frozen=True, slots=True)
class Inner:
    level: Literal["low", "high"] = option("low", describe="how much")
    share: Percent = option(50.0)


@dataclass(frozen=True, slots=True)
class Other:
    token: Secret = option(describe="a key")


THINGS: Kinds[Any] = Kinds(__name__, inner="Inner", other="Other")


@dataclass(frozen=True, slots=True)
class Outer:
    wait_s: Duration = option(1.0, key="wait", check=at_least(1.0, "at least 1s"))
    room_bytes: Size = option(1000, key="room")
    rate: Rate = option(1e6)
    count: int | None = option(None)
    ratio: float = option(0.5)
    on: bool = option(default=False)
    inner: Inner = option(factory=Inner)
    maybe: Inner | None = option(None)
    names: tuple[str, ...] = option(())
    inners: tuple[Inner, ...] = option(())
    labels: dict[str, str] = option(factory=dict)
    ports: dict[str, int] = option(factory=dict)
    things: dict[
        str, Annotated[Inner | Other, Tagged("kind", Kinds(__name__, inner="Inner", other="Other"))]
    ] = option(factory=dict)


def decode(text: str, base: Any = None) -> tuple[Any, list[str]]:
    walk = Walk("a.yaml", {})
    place = Place((), 1)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    bases = {} if base is None else {type(base): base}
    value = Decoder(walk, bases).options(Outer, walk.entries(node, place), place)
    return value, [str(problem) for problem in walk.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Outer()),
        ("wait: 2m", Outer(wait_s=120.0)),
        ("room: 2MiB", Outer(room_bytes=2_097_152)),
        ("rate: 24MB/d", Outer(rate=1e6)),
        ("count: 3", Outer(count=3)),
        ("count: -3", Outer(count=-3)),
        ("count: null", Outer()),
        ("ratio: 2", Outer(ratio=2.0)),
        ("ratio: 1.5", Outer(ratio=1.5)),
        ("on: yes", Outer(on=True)),
        ("inner: {level: high}", Outer(inner=Inner("high"))),
        ("inner:", Outer()),
        ("maybe: {}", Outer(maybe=Inner())),
        ("maybe: null", Outer()),
        ("names: [a, b]", Outer(names=("a", "b"))),
        ("names: a", Outer(names=("a",))),
        ("inners: [{}, {share: 10%}]", Outer(inners=(Inner(), Inner(share=10.0)))),
        ("labels: {a: b, yes: 1}", Outer(labels={"a": "b", "yes": "1"})),
        ("ports: {http: 80}", Outer(ports={"http": 80})),
        ("things: {x: {kind: inner}}", Outer(things={"x": Inner()})),
        ("things: {other: {token: t}}", Outer(things={"other": Other(Secret("t"))})),
    ],
)
def test_every_kind_of_value_is_decoded(text: str, expected: Outer) -> None:
    assert decode(text) == (expected, [])


@pytest.mark.parametrize(
    "text",
    [
        "count: 0x10", "count: 010", "count: 1_000", "count: 1:30", "count: true", "count: [1]",
        "ratio: .nan", "ratio: -.inf", "ratio: 1e999", "ratio: '1'", "on: 1", "on: maybe", "names: {a: b}",
        "names: [[a]]", "names: [null]", "inners: x", "labels: [a]", "labels: {a: null}", "labels: {a: [b]}",
        "wait: 500ms", "room: -1MB", "inner: !x {}", "things: {x: {}}", "things: {x: {kind: [a]}}",
        'labels: {a: "\\0"}', 'labels: {a: "\\ud800"}', "room: 99999999999TB", "count: " + "9" * 5000,
    ],
)  # fmt: skip
def test_every_wrong_value_is_one_problem(text: str) -> None:
    value, problems = decode(text)

    assert value is INVALID
    assert len(problems) == 1


def test_a_base_stands_for_the_keys_that_are_not_given() -> None:
    base = Inner("high", 10.0)

    assert decode("inner: {share: 20%}", base) == (Outer(inner=Inner("high", 20.0)), [])


def test_what_is_encoded_decodes_to_the_same() -> None:
    outer = Outer(
        wait_s=90.0,
        count=2,
        inner=Inner("high", 12.5),
        names=("${x}",),
        labels={"a": "yes"},
        things={"x": Inner()},
    )

    assert decode(yaml.safe_dump(to_plain(outer))) == (outer, [])


def test_a_secret_has_three_spellings() -> None:
    assert keys_of(Other)["token"].spellings == ("token", "token_file", "token_credential")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain $HOME $5 $$ $", Expanded("plain $HOME $5 $$ $")),
        ("${A}", Expanded("1", ("A",))),
        ("<${A}${B:-2}>", Expanded("<12>", ("A", "B"))),
        ("${EMPTY}", Expanded("", ("EMPTY",))),
        ("${EMPTY:-x}", Expanded("x", ("EMPTY",))),
        ("${B:-}", Expanded("", ("B",))),
        ("${B:-a:-b}", Expanded("a:-b", ("B",))),
        ("${B}", Expanded("", ("B",), ("B",))),
        ("$${A}", Expanded("${A}")),
        ("$$${A}", Expanded("$${A}")),
        ("${A", Expanded("A", malformed=True)),
        ("${}", Expanded("}", malformed=True)),
        ("${1}", Expanded("1}", malformed=True)),
    ],
)
def test_references_are_filled_in(raw: str, expected: Expanded) -> None:
    assert expand(raw, {"A": "1", "EMPTY": ""}) == expected


@pytest.mark.parametrize("text", ["", "${", "$${A}", "$$${", "a${B:-c}d", "$"])
def test_an_escaped_text_expands_to_itself(text: str) -> None:
    assert expand(escape(text), {}).text == text


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("poll_intervall", "poll_intervall"),
        ("app.kubernetes", "app.kubernetes"),
        ("webhook_url:https://hooks.slack.com/x", "webhook_url..."),
        ("0123456789abcdef0123456789abcdef", "01234567..."),
        ("https://hooks", "https..."),
        ("a\nb", "a..."),
        ("", ""),
    ],
)
def test_an_unknown_key_is_shown_only_as_far_as_it_is_a_word(key: str, shown: str) -> None:
    assert shown_key(key) == shown


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("poll_intervall", "poll_interval"),
        ("Poll-Interval", "poll_interval"),
        ("hosts", "host"),
        ("zzz", None),
        ("", None),
    ],
)
def test_the_nearest_known_word_is_offered_if_it_is_near(word: str, meant: str | None) -> None:
    assert nearest(word, ["poll_interval", "host"]) == meant


def test_a_path_is_written_as_in_the_sentence() -> None:
    assert dotted(("watch", 2, "match", "exe")) == "watch[2].match.exe"
    assert dotted(("labels", "a\nb")) == "labels.a\\x0ab"


def test_a_sentence_has_only_the_parts_it_needs() -> None:
    assert sentence("a number") == "expected a number"
    assert sentence("a number", "nothing") == "expected a number, found nothing"
    assert sentence("a key", '"hots"', "host") == 'expected a key, found "hots"; did you mean "host"?'


def test_problems_are_told_in_the_order_of_lines_and_once() -> None:
    late, early = Problem("a.yaml", 10, "b", "y"), Problem("a.yaml", 9, "a", "x")

    assert str(ConfigError([late, early, late])) == "a.yaml:9: a: x\na.yaml:10: b: y"
