"""The Apprise channel: a real mail server, real web receivers, what it says of failures, its options."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alert_samples import EVIDENCE, WALL_S, alert, later
from channel_cases import failure_of, full_text
from mailboxes import PASSWORD, Mailbox, mail_url
from receiver import Receiver

from agent.alerts.apprise import UNKNOWN, AppriseChannel, AppriseOptions
from agent.alerts.apprise_text import html_body, text_body
from agent.alerts.notes import MemoryNotes
from agent.config import ConfigError, effective, parse
from agent.model import Event, State, Transition
from agent.secret import Secret

SHIPPED = Path(__file__).parents[2] / "config" / "leakwatch.yaml"
CLOSED = 1
"""A port on which nothing listens."""
NOT_SHOWN = "found another text (not shown)"
COURSE = tuple((WALL_S - 9000 + 100 * i, 380e6 + 0.75e6 * i) for i in range(90))
WITH_PICTURE = alert(course=COURSE, evidence=EVIDENCE, kind="native")


def channel(*urls: str, timeout_s: float = 20.0) -> AppriseChannel:
    return AppriseChannel("mail", AppriseOptions(tuple(map(Secret, urls)), timeout_s), MemoryNotes())


def json_url(receiver: Receiver) -> str:
    return f"json://hookUser:hookPassword@127.0.0.1:{receiver.port}/hookPath"


def test_a_mail_arrives_with_its_words_its_picture_and_headers_to_thread_it_by() -> None:
    with Mailbox() as mailbox:
        channel(mailbox.url).send(WITH_PICTURE)
        (mail,) = mailbox.mails
    html, plain = mail.get_body(("html",)), mail.get_body(("plain",))
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]

    assert str(mail["Subject"]).startswith("api leaks 24 MB/h of native memory: 448 MB of 1 GB")
    assert mail["References"] == "<leakwatch-7f3a9c21@leakwatch>"
    assert mail["X-Leakwatch-Delivery"] == "7f3a9c21/1"
    assert html is not None
    assert plain is not None
    assert "<b>Growth rate:</b> 24 MB/h (21 MB/h to 27 MB/h)<br>" in html.get_content()
    assert "- top stack: handlers.remember:88 in 11 of 12 threads" in plain.get_content()
    assert picture.get_content()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_refused_mail_is_worth_another_try_and_names_the_service(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Mailbox() as mailbox:
        mailbox.refuse(f"550 5.1.1 no such user {PASSWORD}")
        error = failure_of(channel(mailbox.url))

    assert str(error) == 'E-Mail did not take it: Sending email to "<hidden>@<hidden>" failed'
    assert not error.permanent
    assert PASSWORD not in full_text(error) + caplog.text


def test_a_server_that_is_away_is_named_and_nothing_else_of_the_address() -> None:
    error = failure_of(channel(mail_url(CLOSED)))

    assert str(error) == 'E-Mail did not take it: Connection error while submitting email to "127.0.0.1"'


def test_an_address_that_took_it_is_not_told_again_when_another_failed() -> None:
    with Mailbox() as mailbox, Receiver() as receiver:
        both = channel(mailbox.url, json_url(receiver))
        receiver.respond_with(500, times=1)
        error = failure_of(both)
        both.send(alert())
        both.send(later(2, Transition.WORSENED))

        assert str(error).endswith("1 of 2 addresses took it")
        assert [mail["X-Leakwatch-Delivery"] for mail in mailbox.mails] == ["7f3a9c21/1", "7f3a9c21/2"]
        assert len(receiver.requests) == 3


def test_a_receiver_that_does_not_take_the_picture_gets_the_words_at_the_next_try() -> None:
    with Receiver() as receiver:
        one = channel(json_url(receiver))
        receiver.respond_with(413, times=1)
        with pytest.raises(Exception, match="413"):
            one.send(WITH_PICTURE)
        one.send(WITH_PICTURE)
        attached = [len(request.json()["attachments"]) for request in receiver.requests]

    assert attached == [1, 0]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_a_refusal_over_the_web_is_never_permanent_and_tells_no_part_of_the_address(status: int) -> None:
    with Receiver() as elsewhere, Receiver() as receiver:
        receiver.respond_with(status, {"Location": f"{elsewhere.url}/hookPath"}, b"hookPassword")
        error = failure_of(channel(json_url(receiver)))

        assert elsewhere.requests == []
    assert str(error).startswith("JSON did not take it: ")
    assert not error.permanent
    assert not [word for word in ("hookUser", "hookPassword", "hookPath") if word in full_text(error)]


def test_a_receiver_that_drips_is_left_behind_and_not_told_twice_meanwhile() -> None:
    with Receiver() as receiver:
        receiver.drip("body")
        slow = channel(json_url(receiver), timeout_s=1.0)
        first, second = failure_of(slow), failure_of(slow)

        assert str(first) == "JSON gave no answer within 1s"
        assert str(second) == "an earlier message is still on its way"
        assert len(receiver.requests) == 1
        (hanging,) = [sending._hanging for sending in slow._sendings]  # noqa: SLF001 - to wait for its end
        receiver.closing.set()
        assert hanging is not None
        hanging.join(10.0)


def body_of(told: Any) -> dict[str, Any]:
    with Receiver() as receiver:
        channel(json_url(receiver)).send(told)
        body: dict[str, Any] = receiver.requests[0].json()
    return body


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (alert(), "failure"),
        (alert(severity=State.WARNING), "warning"),
        (later(2, Transition.RESOLVED), "success"),
        (later(2, Transition.ACKNOWLEDGED), "info"),
    ],
)
def test_how_bad_it_is_is_told_in_words_that_apprise_knows(told: Any, kind: str) -> None:
    assert body_of(told)["type"] == kind


def test_trouble_of_leakwatch_itself_lists_what_is_wrong() -> None:
    told = alert(
        event=Event.WATCHER, headline="leakwatch polls no more", items=("no tick for 70s",), reasons=()
    )
    body = body_of(told)

    assert body["title"] == "leakwatch polls no more (host web-3)"
    assert "What is wrong:\n- no tick for 70s" in body["message"]


@pytest.mark.parametrize("limit_chars", [10, 300, 1000, 4096])
def test_a_short_message_ends_between_its_parts(limit_chars: int) -> None:
    for body in (html_body, text_body):
        whole = body(WITH_PICTURE, 100_000, with_title=True)
        short = body(WITH_PICTURE, limit_chars, with_title=True)

        assert len(short) <= limit_chars
        assert whole == short or whole.startswith(f"{short}\n") or not short


def test_text_from_outside_is_no_html() -> None:
    told = alert(command="<script>alert(1)</script> & co")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in html_body(told, 10_000, with_title=False)


def configured(text: str, **env: str) -> Any:
    return parse(text.encode(), "lw.yaml", env)


def test_the_addresses_are_secrets_of_the_configuration() -> None:
    config = configured(
        f'channels: {{mail: {{type: apprise, urls: ["{mail_url(25)}", "${{B}}"]}}}}', B="json://host"
    )

    assert list(config.live_channels) == ["mail"]
    assert "- <hidden>\n" in effective(config)
    assert PASSWORD not in effective(config) + repr(config)


def test_an_address_that_is_not_set_turns_the_channel_off_aloud() -> None:
    config = configured('channels: {apprise: {urls: ["json://host", "${MAIL:-}"]}}')
    assert config.off == {"apprise": "urls[1] is empty: MAIL is not set"}


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ("[]", "1: channels.apprise.urls: expected at least one address, found none"),
        (
            "[json://host, nonsense://tokenSecret]",
            f"1: channels.apprise.urls[1]: expected {UNKNOWN}, {NOT_SHOWN}",
        ),
    ],
)
def test_an_address_that_apprise_does_not_know_is_a_mistake_of_the_file(urls: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(f"channels: {{apprise: {{urls: {urls}}}}}")

    assert str(caught.value) == f"lw.yaml:{sentence}"


WITHOUT_APPRISE = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "apprise" else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from agent.cli.main import main
sys.argv = ["leakwatch", "check", sys.argv[1]]
main()
"""


def test_without_the_package_the_start_says_how_to_get_it(tmp_path: Path) -> None:
    file = tmp_path / "lw.yaml"
    file.write_text("channels: {apprise: {urls: ['json://host/tokenSecret']}}\n")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_APPRISE, str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == (
        f"{file}:1: channels.apprise.urls[0]: expected the package apprise,"
        " which pip install 'leakwatch[apprise]' adds, found no such package\n"
    )


def test_a_configuration_without_it_does_not_load_apprise() -> None:
    code = "import sys, agent.bootstrap as b; b.load(sys.argv[1], {}); print('apprise' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(SHIPPED)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
