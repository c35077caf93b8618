"""A real Alertmanager on loopback, as Debian's prometheus-alertmanager installs it.

with Alertmanager(tmp_path, receiver.url) as running:
    ...                                          # something posts to running.url
    (told,) = running.wait_for(1)                # what its API lists as active
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_alertmanager = pytest.mark.skipif(
    BINARY is None, reason="prometheus-alertmanager is not installed (Debian: prometheus-alertmanager)"
)
PATIENCE_S = 20.0
LOOK_EVERY_S = 0.05
CONFIG = """\
global: {{resolve_timeout: 5m}}
route: {{receiver: hook, group_by: [alertname, service], group_wait: 0s, group_interval: 100ms}}
receivers:
- name: hook
  webhook_configs: [{{url: "{url}/notified", send_resolved: true}}]
"""


class Alertmanager:
    """One peer without a cluster; it tells a webhook at once of what begins and ends."""

    def __init__(self, folder: Path, webhook_url: str) -> None:
        folder.mkdir(exist_ok=True)
        config = folder / "alertmanager.yml"
        config.write_text(CONFIG.format(url=webhook_url))
        self._arguments = [
            str(BINARY),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
            "--log.format=json",
        ]
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said = json.loads(line)
            if said.get("msg") == "Listening on":
                self.url = f"http://{said['address']}"
                break
        assert self.url, "it did not start"
        self._drain = threading.Thread(target=self._process.stderr.read, name="alertmanager-log")
        self._drain.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def alerts(self) -> list[dict[str, Any]]:
        """Return what fires, as its API tells it."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=PATIENCE_S) as answer:  # noqa: S310
            return list(json.load(answer))

    def wait_for(self, count: int, meanwhile: Callable[[], object] = lambda: None) -> list[dict[str, Any]]:
        """Return what fires once it is so many, doing something again and again until then."""
        pause = threading.Event()
        for _ in range(int(PATIENCE_S / LOOK_EVERY_S)):
            meanwhile()
            found = self.alerts()
            if len(found) == count:
                return found
            pause.wait(LOOK_EVERY_S)
        raise AssertionError(f"{len(found)} of {count} alerts after {PATIENCE_S} s")
