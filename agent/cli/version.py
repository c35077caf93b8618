"""`leakwatch version`: what runs here, for a report of a fault."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version

import click

from agent import __version__
from agent.evidence.python import pyspy
from agent.evidence.readiness import tool_version

LIBRARIES = ("psutil", "numpy")


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool) -> None:
    """Print the versions of leakwatch and of what it stands on.

    \b
    Exit codes: 0 always.
    """  # noqa: D301 - click's mark for lines that stay as they are
    versions = _versions()
    if as_json:
        click.echo(json.dumps(versions))
        return
    for name, told in versions.items():
        click.echo(f"{name} {told or 'not found'}")


def _versions() -> dict[str, str | None]:
    tool = pyspy.find()
    return {
        "leakwatch": __version__,
        "Python": platform.python_version(),
        **{name: _installed(name) for name in LIBRARIES},
        pyspy.NAME: None if tool is None else tool_version(tool),
        platform.system(): platform.release(),
    }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
