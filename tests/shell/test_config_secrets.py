"""Secrets from files and from systemd's credentials, read as they really lie on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.config import Config, ConfigError, effective, load
from agent.decode.document import MAX_FILE_BYTES, MAX_SECRET_BYTES

if TYPE_CHECKING:
    from pathlib import Path

WEBHOOK = "https://hooks.slack.com/services/T0/B0/SECRET"


def configured(folder: Path, line: str, **env: str) -> Config:
    path = folder / "lw.yaml"
    path.write_text(f"channels:\n  slack:\n    {line}\n")
    return load(path, env)


def webhook(config: Config) -> str:
    return config.channels["slack"].webhook_url.reveal()  # type: ignore[union-attr]


def refusal(folder: Path, line: str, **env: str) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(folder, line, **env)
    return str(caught.value).removeprefix(f"{folder}/lw.yaml:3: channels.slack.")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_is_read_from_a_file_without_its_line_end(tmp_path: Path, ending: str) -> None:
    (tmp_path / "url").write_bytes(f"{WEBHOOK}{ending}".encode())

    assert webhook(configured(tmp_path, f"webhook_url_file: {tmp_path}/url")) == WEBHOOK


def test_a_relative_path_starts_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(WEBHOOK)

    assert webhook(configured(tmp_path, "webhook_url_file: url")) == WEBHOOK


def test_a_path_may_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(WEBHOOK)

    assert webhook(configured(tmp_path, "webhook_url_file: ${DIR}/url", DIR=str(tmp_path))) == WEBHOOK


def test_a_secret_is_read_from_a_systemd_credential(tmp_path: Path) -> None:
    (tmp_path / "slack").write_text(f"{WEBHOOK}\n")

    config = configured(tmp_path, "webhook_url_credential: slack", CREDENTIALS_DIRECTORY=str(tmp_path))

    assert webhook(config) == WEBHOOK


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "webhook_url_file: expected a file that holds the secret, found an empty one"),
        (b"\n", "webhook_url_file: expected a file that holds the secret, found an empty one"),
        (b"\xff\xfe", "webhook_url_file: expected a file of text in UTF-8, found other bytes"),
        (b"SECRET\0", "webhook_url_file: expected a file that holds the secret, found other bytes"),
        (
            b"SECRET no address",
            "webhook_url_file: expected an https URL (http only to loopback), found another text (not shown)",
        ),
        (
            b"x" * (MAX_SECRET_BYTES + 1),
            f"webhook_url_file: expected a readable file, found more than {MAX_SECRET_BYTES} bytes",
        ),
    ],
    ids=["empty", "only a line end", "no UTF-8", "a NUL", "no address", "too large"],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "url").write_bytes(content)

    assert refusal(tmp_path, "webhook_url_file: url") == found


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    expected = "webhook_url_file: expected a readable file, found Is a directory"

    assert refusal(tmp_path, "webhook_url_file: .") == expected


def test_a_secret_put_where_its_path_belongs_is_not_told(tmp_path: Path) -> None:
    assert "SECRET" not in refusal(tmp_path, f"webhook_url_file: {WEBHOOK}")
    assert "SECRET" not in refusal(
        tmp_path, f"webhook_url_credential: {WEBHOOK}", CREDENTIALS_DIRECTORY="/run"
    )
    assert "SECRET" not in refusal(tmp_path, f"webhook_url_credential: {WEBHOOK}")


@pytest.mark.parametrize("name", ["../url", "/etc/passwd", "..", ".", "''"])
def test_a_credential_is_a_name_and_no_path(tmp_path: Path, name: str) -> None:
    expected = "webhook_url_credential: expected the name of a systemd credential, found a path"

    assert (
        refusal(tmp_path, f"webhook_url_credential: {name}", CREDENTIALS_DIRECTORY=str(tmp_path)) == expected
    )


def test_a_credential_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = refusal(tmp_path, "webhook_url_credential: slack", CREDENTIALS_DIRECTORY=str(tmp_path))

    assert found == (
        "webhook_url_credential: expected a credential of that name in $CREDENTIALS_DIRECTORY, "
        "found No such file or directory"
    )


def test_an_inline_secret_in_a_file_that_everybody_reads_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "lw.yaml").touch(mode=0o644)

    assert webhook(configured(tmp_path, f"webhook_url: {WEBHOOK}")) == WEBHOOK


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere/lw.yaml", "No such file or directory"), ("/", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_a_mistake_without_a_line(path: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert str(caught.value) == f"{path}: expected a readable file, found {reason}"


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"more than {MAX_FILE_BYTES} bytes"):
        load("/dev/zero", {})


def test_secrets_under_names_of_the_file_are_read_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer SECRET-1\n")
    path = tmp_path / "lw.yaml"
    path.write_text(
        "channels:\n  webhook:\n    url: https://hooks.example/x\n    headers:\n"
        "      Authorization_file: token\n      X-Key: ${KEY}\n      X-Plain: SECRET-3\n"
    )
    config = load(path, {"KEY": "SECRET-2"})

    headers = config.channels["webhook"].headers  # type: ignore[union-attr]
    assert {name: value.reveal() for name, value in headers.items()} == {
        "Authorization": "Bearer SECRET-1",
        "X-Key": "SECRET-2",
        "X-Plain": "SECRET-3",
    }
    assert "SECRET" not in effective(config)
    assert "Authorization: <hidden>" in effective(config)
