"""`leakwatch version`."""

from __future__ import annotations

import json
import platform

from click.testing import CliRunner

from agent import __version__
from agent.cli.version import command


def test_the_versions_are_a_line_each() -> None:
    result = CliRunner().invoke(command, [])

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == f"leakwatch {__version__}"
    assert f"Python {platform.python_version()}" in lines
    assert f"{platform.system()} {platform.release()}" in lines


def test_json_names_them_all() -> None:
    told = json.loads(CliRunner().invoke(command, ["--json"]).output)

    assert list(told) == ["leakwatch", "Python", "psutil", "numpy", "py-spy", platform.system()]
    assert all(told[name] for name in ("psutil", "numpy", "py-spy"))
