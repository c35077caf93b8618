"""How a channel reaches its host: certificates, proxies, bounds, and nothing left behind."""

from __future__ import annotations

import gc
import logging
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alert_samples import alert
from channel_cases import (
    HTTP,
    HTTP_KINDS,
    PATIENT,
    PROXY_PASSWORD,
    QUICK,
    channel,
    failure,
    full_text,
    outcome,
)
from fakes import FakeClock
from receiver import Receiver

from agent.alerts.channels import CHANNEL_OPTIONS
from agent.alerts.http import MAX_BODY_BYTES, HttpClient
from agent.alerts.options import HttpOptions
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_of_a_large_body_only_the_start_is_read() -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, body=b"x" * 5_000_000)
        response = HttpClient(PATIENT, FakeClock()).post(receiver.url, b"{}", {})

    assert response.body == b"x" * MAX_BODY_BYTES


def test_a_closed_port_refuses() -> None:
    with Receiver() as receiver:
        url = receiver.url

    assert str(failure("slack", url)).endswith("cannot be reached: connection refused")


@contextmanager
def self_signed(folder: Path) -> Iterator[tuple[Receiver, Path]]:
    """An https server whose certificate only its own file vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate and is not installed")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=leakwatch",
         "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "keyUsage=critical,digitalSignature,keyCertSign"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Receiver(tls=context) as receiver:
        yield receiver, certificate


def test_an_untrusted_certificate_is_named_and_a_ca_bundle_heals_it(tmp_path: Path) -> None:
    with self_signed(tmp_path) as (receiver, certificate):
        for kind in HTTP_KINDS:
            error = failure(kind, receiver.url)
            assert "the certificate is not trusted (self" in str(error)
            assert str(error).endswith("); see ca_bundle")
            assert not error.permanent
            assert not [secret for secret in HTTP[kind].secrets if secret in full_text(error)]
        assert receiver.requests == []

        for kind in HTTP_KINDS:
            trusting = HttpOptions(timeout_s=5.0, ca_bundle=str(certificate))
            receiver.respond_with(200, body=HTTP[kind].welcome)
            channel(kind, receiver.url, trusting).send(alert())
        assert len(receiver.requests) >= len(HTTP_KINDS)


def test_tls_to_a_server_without_it_says_so() -> None:
    with Receiver() as receiver:
        error = failure("slack", receiver.url.replace("http://", "https://"))

    assert "cannot be reached: TLS failed (" in str(error)


def test_a_ca_bundle_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with self_signed(tmp_path) as (receiver, _):
        missing = failure("slack", receiver.url, HttpOptions(5.0, ca_bundle=str(tmp_path / "missing.pem")))
        useless = failure("slack", receiver.url, HttpOptions(5.0, ca_bundle=str(empty)))

    assert str(missing).endswith("the file of ca_bundle cannot be read")
    assert "TLS failed (" in str(useless)


def proxy_options(receiver: Receiver) -> HttpOptions:
    return HttpOptions(5.0, proxy=Secret(f"http://agent:{PROXY_PASSWORD}@127.0.0.1:{receiver.port}"))


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_the_channels_own_proxy_is_used(kind: str) -> None:
    with Receiver() as proxy:
        proxy.respond_with(200, body=HTTP[kind].welcome)
        channel(kind, "http://127.0.0.2:1", proxy_options(proxy)).send(alert())
        request = proxy.requests[0]

    assert request.path.startswith("http://127.0.0.2:1/")
    assert request.headers["Proxy-Authorization"].startswith("Basic ")


def test_a_proxy_that_refuses_is_told_apart_from_the_host() -> None:
    with Receiver() as proxy:
        proxy.respond_with(407)
        error = failure("slack", "https://hooks.example", proxy_options(proxy))
        (request,) = proxy.requests

    assert (request.method, request.path) == ("CONNECT", "hooks.example:443")
    assert str(error) == f"the proxy 127.0.0.1:{proxy.port} did not lead to hooks.example: it answered 407"
    assert not error.permanent


def test_the_environments_proxy_is_used_where_the_channel_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Receiver() as ours, Receiver() as general:
        monkeypatch.setenv("https_proxy", general.url)
        ours.respond_with(403)
        general.respond_with(502)
        first = failure("slack", "https://hooks.example")
        second = failure("slack", "https://hooks.example", proxy_options(ours))

        assert (len(general.requests), len(ours.requests)) == (1, 1)
    assert str(first) == "the environment's proxy did not lead to hooks.example: it answered 502"
    assert "it answered 403" in str(second)


def test_loopback_is_reached_without_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Receiver() as receiver:
        channel("slack", receiver.url).send(alert())

        assert len(receiver.requests) == 1


@pytest.mark.parametrize("proxy", ["http://", "socks9://127.0.0.1:1"])
def test_a_malformed_proxy_is_an_error_and_no_traceback(proxy: str) -> None:
    error = failure("slack", "https://hooks.example", HttpOptions(5.0, proxy=Secret(proxy)))

    assert str(error).startswith("the proxy ")


@pytest.mark.parametrize("text", ["proxy:3128", "socks5://proxy:1080", "http://", "not a url"])
def test_a_proxy_is_an_http_address(text: str) -> None:
    check = HttpOptions.__dataclass_fields__["proxy"].metadata["option"].check

    assert check(Secret(text)) == 'an http or https proxy such as "http://proxy:3128"'
    assert (check(None), check(Secret("http://user:pass@proxy:3128"))) == (None, None)


def test_the_password_of_a_proxy_is_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver() as proxy:
        proxy.reset()
        options = proxy_options(proxy)
        errors = [failure("slack", url, options) for url in ("https://hooks.example", "http://127.0.0.2:1")]

    told = [*map(full_text, errors), repr(options), caplog.text]
    assert not [text for text in told if PROXY_PASSWORD in text]


def test_only_the_code_of_kinds_that_the_file_names_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "leakwatch.yaml"
    file.write_text("channels:\n  slack: {webhook_url: https://hooks.example/x}\n")
    code = "import sys, agent.bootstrap as b; b.load(sys.argv[1], {}); print(*sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code, str(file)], check=True, timeout=30, stdout=subprocess.PIPE
    )

    loaded = set(told.stdout.decode().split())
    kinds = {options.__module__ for options in CHANNEL_OPTIONS.values()}
    assert len(kinds) == len(CHANNEL_OPTIONS)
    assert kinds & loaded == {"agent.alerts.slack"}
    assert "requests" not in loaded


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_failures_leave_no_descriptor_and_no_thread() -> None:
    def send_in_many_ways() -> None:
        with Receiver() as receiver:
            for misbehaviour in (
                receiver.reset,
                receiver.hang,
                receiver.drip,
                lambda: receiver.drip("headers"),
            ):
                misbehaviour()
                for kind in HTTP_KINDS:
                    outcome(channel(kind, receiver.url, HttpOptions(0.05)))

    send_in_many_ways()
    gc.collect()
    before = open_descriptors(), threading.active_count()
    send_in_many_ways()
    gc.collect()

    assert (open_descriptors(), threading.active_count()) == before


def test_a_slow_connection_is_cut_during_the_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        error = failure("slack", url, QUICK)

    assert "within 0.2 s" in str(error)
