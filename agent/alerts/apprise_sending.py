"""One address of Apprise: its service's own format, its log lines as the reason, and an end to waiting."""

from __future__ import annotations

import importlib
import logging
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from agent import __version__
from agent.alerts import chart
from agent.alerts.answers import scrubbed
from agent.alerts.apprise_text import html_body, text_body
from agent.alerts.base import DeliveryError
from agent.alerts.message import delivery_id
from agent.alerts.wording import first_line
from agent.model import Alert, State, Transition
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from types import ModuleType

    from agent.secret import Secret

TIMEOUT_S = 60.0
MIN_SECRET_CHARS = 3
MAX_REASONS = 2

_WORDS = re.compile(r"[^\s/:@?&=,;#+]+")


class Sending:
    """Sends to one address. One send at a time; one that hangs is left behind and said."""

    def __init__(self, url: Secret, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._hanging: threading.Thread | None = None

    @property
    def is_known(self) -> bool:
        """Whether Apprise has a service for the address and can read it."""
        return self._service(_apprise()) is not None

    def send(self, alert: Alert, *, with_picture: bool) -> None:
        """Tell it, and wait until it is told. Raises DeliveryError, without a word of the address."""
        if self._hanging is not None and self._hanging.is_alive():
            raise DeliveryError("an earlier message is still on its way")
        apprise = _apprise()
        service = self._service(apprise)
        if service is None:
            raise DeliveryError("Apprise does not know the address", permanent=True)
        name = one_line(str(service.service_name))
        attempt = _Attempt(service, _message(apprise, service, alert, with_picture=with_picture))
        attempt.start()
        attempt.join(self._timeout_s)
        if attempt.is_alive():
            self._hanging = attempt
            raise DeliveryError(f"{name} gave no answer within {format_duration(self._timeout_s)}")
        if not attempt.taken:
            raise DeliveryError(f"{name} did not take it: {self._reason(attempt.said)}")

    def _service(self, apprise: ModuleType) -> Any:
        asset = apprise.AppriseAsset(
            app_id="leakwatch",
            app_desc=f"leakwatch {__version__}",
            http_redirects=False,
            interpret_emojis=False,
            allow_templates=False,
        )
        return apprise.Apprise.instantiate(self.url.reveal(), asset=asset)

    def _reason(self, said: list[str]) -> str:
        told = "; ".join(dict.fromkeys(line.rstrip(".") for line in said[-MAX_REASONS:]))
        return scrubbed(told, *_secrets_of(self.url.reveal())) or "it gave no reason"


class _Attempt(threading.Thread):
    """One send on a thread of its own: Apprise's time-outs bound single reads, not an answer that drips."""

    def __init__(self, service: Any, message: dict[str, Any]) -> None:
        super().__init__(name="apprise", daemon=True)
        self.taken = False
        self.said: list[str] = []
        self._service = service
        self._message = message

    def run(self) -> None:
        """Send, and keep what Apprise says of it: its results are True and False."""
        ear = _Ear(self.said)
        _LOGGER.addHandler(ear)
        try:
            self.taken = bool(self._service.notify(**self._message))
        except Exception as error:  # noqa: BLE001 - a bug in one of its services is a failure like others
            self.said.append(f"unexpected {type(error).__name__}")
        finally:
            _LOGGER.removeHandler(ear)


class _Ear(logging.Handler):
    """Hears the warnings of the thread that made it."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        if record.thread == self._thread:
            self._said.append(record.getMessage())


_LOGGER = logging.getLogger("apprise")
# Its lines can hold addresses, and ours are secrets: they are heard here and nowhere else.
_LOGGER.propagate = False
_LOGGER.setLevel(logging.WARNING)
_LOGGER.addHandler(logging.NullHandler())
for _name in ("urllib3", "smtplib"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


def _apprise() -> ModuleType:
    """Import it: with its services that costs half a second and 18 MB, only where it is used."""
    import apprise  # noqa: PLC0415 - see above

    return apprise


def _message(apprise: ModuleType, service: Any, alert: Alert, *, with_picture: bool) -> dict[str, Any]:
    """Return what `notify` takes: the words in the format that the service prefers, within its limits."""
    is_html = service.resolve_format() is apprise.NotifyFormat.HTML
    title = first_line(alert)
    _mark_mail(service, alert)
    body = (html_body if is_html else text_body)(
        alert, service.body_maxlen - len(title) - 2, with_title=service.title_maxlen <= 0
    )
    message = {
        "title": one_line(title, service.title_maxlen) if service.title_maxlen > 0 else "",
        "body": body,
        "body_format": apprise.NotifyFormat.HTML if is_html else apprise.NotifyFormat.TEXT,
        "notify_type": _type(apprise, alert),
    }
    picture = chart.png(alert) if with_picture and service.attachment_support else None
    return message | ({} if picture is None else {"attach": _attached(apprise, picture)})


def _attached(apprise: ModuleType, picture: bytes) -> Any:
    memory: Any = importlib.import_module("apprise.attachment.memory")
    held = memory.AttachMemory(content=picture, name=chart.NAME, mimetype="image/png")
    return apprise.AppriseAttachment(held)


def _mark_mail(service: Any, alert: Alert) -> None:
    """Give a mail the headers that readers thread and filter by."""
    if service.protocol == "mailto":
        service.headers |= {
            "References": f"<{alert.dedup_key}@leakwatch>",
            "X-Leakwatch-Delivery": delivery_id(alert),
            "X-Leakwatch-Dedup-Key": one_line(alert.dedup_key),
        }


def _type(apprise: ModuleType, alert: Alert) -> Any:
    if alert.transition.ends:
        return apprise.NotifyType.SUCCESS
    if alert.transition is Transition.ACKNOWLEDGED or alert.severity < State.WARNING:
        return apprise.NotifyType.INFO
    critical = alert.severity is State.CRITICAL
    return apprise.NotifyType.FAILURE if critical else apprise.NotifyType.WARNING


def _secrets_of(url: str) -> set[str]:
    """Return every part of an address that could be a secret: all but its scheme, and a host after an @."""
    rest = url.partition("://")[2] or url
    host = re.search(r"^[^/?#]*@([^/:?#@]+)", rest)
    words = {word for text in (rest, unquote(rest)) for word in _WORDS.findall(text)}
    words -= {host[1]} if host else set()
    return {url, rest, *(word for word in words if len(word) >= MIN_SECRET_CHARS)}
