"""File: an alert a line of JSON, appended so that rotation, a full disk and a power cut leave whole lines."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.base import ChannelOptions, DeliveryError
from agent.alerts.message import encoded
from agent.options import option

if TYPE_CHECKING:
    from agent.alerts.tools import Tools
    from agent.model import Alert

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Never through a link; never waiting for the other end of a pipe."""
_MODE = re.compile(r"0?[0-7]{3}")


def _path_problem(value: str) -> str | None:
    sound = value.startswith("/") and not value.endswith("/")
    return None if sound else "the absolute path of a file"


def _mode_problem(value: str) -> str | None:
    return None if _MODE.fullmatch(value) else 'a mode in octal digits such as "0640"'


@dataclass(frozen=True, slots=True)
class FileOptions(ChannelOptions):
    """Which file the lines are appended to."""

    path: str = option(describe="the file; its folder must be there", check=_path_problem)
    mode: str = option("0600", describe="who may read it, when it is made anew", check=_mode_problem)

    def build(self, name: str, tools: Tools) -> FileChannel:  # noqa: ARG002 - it needs none
        """Return the channel."""
        return FileChannel(name, self)


class FileChannel:
    """Appends to a regular file, opened anew for each alert: it may be moved away at any time."""

    def __init__(self, name: str, options: FileOptions) -> None:
        self.name = name
        self._path = options.path
        self._mode = int(options.mode, 8)

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a file is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Append the line and wait until it is on the disk. Raises DeliveryError.

        Permanent only where the path is something else than a regular file.
        """
        line = encoded(alert) + b"\n"
        try:
            file = self._open()
            try:
                self._refuse_others(file)
                _append(file, line)
            finally:
                os.close(file)
        except OSError as error:
            raise self._refusal(error) from None

    def _open(self) -> int:
        try:
            file = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, self._mode)
        except FileExistsError:
            return os.open(self._path, _FLAGS)
        os.fchmod(file, self._mode)  # whatever the umask is
        return file

    def _refuse_others(self, file: int) -> None:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise DeliveryError(f"{self._path} is not a regular file", permanent=True)

    def _refusal(self, error: OSError) -> DeliveryError:
        with suppress(OSError):
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                return DeliveryError(f"{self._path} is not a regular file", permanent=True)
        return DeliveryError(f"{self._path} cannot be written: {(error.strerror or 'unknown').lower()}")


def _append(file: int, line: bytes) -> None:
    """Write the line in one go; what a full disk took of it is taken back. Raises OSError."""
    size = os.fstat(file).st_size
    torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
    wanted = b"\n" * torn + line
    try:
        written = os.write(file, wanted)
        if written < len(wanted):  # the next write tells why
            os.write(file, wanted[written:])
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
