"""The configuration: one YAML file (or none) becomes one frozen value that the whole program reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from agent.alerts.base import ChannelOptions
from agent.alerts.channels import CHANNEL_OPTIONS
from agent.alerts.heartbeat import HeartbeatOptions
from agent.alerts.options import Route
from agent.alerts.runbook import LinkOptions
from agent.config_checks import check_parts, check_whole, off_channels
from agent.decode.decoder import Decoder
from agent.decode.document import compose, read
from agent.decode.encode import to_plain, to_yaml
from agent.decode.problems import ConfigError, Problem
from agent.decode.schema import Tagged
from agent.decode.walk import Entry, Place, Walk
from agent.detect.options import DetectOptions, Thresholds
from agent.evidence.options import EvidenceOptions
from agent.incidents import IncidentOptions
from agent.options import Duration, at_least, option
from agent.watch.options import DiscoverOptions, WatchEntry
from agent.web.options import WebOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "DEFAULT_PATH",
    "Config",
    "ConfigError",
    "LogOptions",
    "Problem",
    "default_config",
    "effective",
    "effective_values",
    "load",
    "parse",
]

DEFAULT_PATH = "/etc/leakwatch/leakwatch.yaml"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How the agent's own lines are written."""

    level: Literal["debug", "info", "warning", "error"] = option("info", describe="least level written")
    format: Literal["logfmt", "json"] = option("logfmt", describe="key=value pairs, or an object a line")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the file may say."""

    poll_interval_s: Duration = option(
        10.0,
        key="poll_interval",
        describe="time between two samples of a process",
        check=at_least(1.0, "at least 1s"),
    )
    discovery_interval_s: Duration = option(
        30.0,
        key="discovery_interval",
        describe="time between two searches for processes",
        check=at_least(1.0, "at least 1s"),
    )
    state_dir: str | None = option(None, describe="where history, incidents and evidence are kept")
    host: str | None = option(None, describe="this machine's name in alerts")
    log: LogOptions = option(factory=LogOptions, describe="the agent's own lines")
    snapshots: bool = option(default=True, describe="evidence on or off, for every service that does not say")
    detection: DetectOptions = option(factory=DetectOptions, describe="the detector")
    thresholds: Thresholds = option(factory=Thresholds, describe="plain limits")
    watch: tuple[WatchEntry, ...] = option((), describe="services")
    discover: DiscoverOptions = option(factory=DiscoverOptions, describe="watching without entries")
    channels: dict[str, Annotated[ChannelOptions, Tagged("type", CHANNEL_OPTIONS)]] = option(
        factory=dict, describe="where alerts go, by a name of your own"
    )
    routes: tuple[Route, ...] = option((), describe="which alerts go where; without one, all go everywhere")
    links: LinkOptions = option(factory=LinkOptions, describe="where the links of alerts lead")
    incidents: IncidentOptions = option(factory=IncidentOptions, describe="reminding and resolving")
    evidence: EvidenceOptions = option(factory=EvidenceOptions, describe="what a capture may take and cost")
    web: WebOptions | None = option(None, describe="health and metrics over HTTP")
    heartbeat: HeartbeatOptions | None = option(None, describe="told that ticks are completed")
    off: dict[str, str] = field(default_factory=dict, compare=False)
    """Channel name -> why it is off; it stays in `channels`. Not a key of the file."""

    @property
    def live_channels(self) -> dict[str, ChannelOptions]:
        """Return the channels that alerts are sent through."""
        return {name: options for name, options in self.channels.items() if name not in self.off}

    @property
    def discovers(self) -> bool:
        """Whether processes without an entry are watched too."""
        return not self.watch if self.discover.enabled is None else self.discover.enabled


def load(path: str | Path, env: Mapping[str, str]) -> Config:
    """Return what a file says, its `${NAME}` filled in from `env`. Raises ConfigError with every mistake."""
    return parse(read(str(path)), str(path), env)


def parse(data: bytes, file: str, env: Mapping[str, str]) -> Config:
    """Return what the bytes of `file` say; relative `*_file` paths start beside it. Raises ConfigError."""
    root = compose(data, file)
    walk, place = Walk(file, env), Place((), 1)
    entries = {} if root is None else walk.entries(root, place)
    bases: dict[type, Any] = {Thresholds: _general_thresholds(entries or {}, file, env)}
    config = Decoder(walk, bases).options(Config, entries, place)
    check_parts(walk, _channel_lines(entries or {}, file, env))
    if isinstance(config, Config):
        check_whole(walk, config.channels, config.routes, discovers=config.discovers)
    if walk.problems or not isinstance(config, Config):
        raise ConfigError(walk.problems)
    return replace(config, off=off_channels(walk))


def default_config() -> Config:
    """Return the configuration of an agent that was given no file."""
    return Config()


def effective(config: Config) -> str:
    """Return the configuration as YAML, defaults included; a secret is `<hidden>`, an empty one empty."""
    return to_yaml(effective_values(config))


def effective_values(config: Config) -> dict[str, Any]:
    """Return the same as plain mappings, lists and scalars."""
    return to_plain(config)


def _general_thresholds(entries: dict[str, Entry], file: str, env: Mapping[str, str]) -> Any:
    """Return what an entry's own thresholds start from; its problems are noted where it is decoded."""
    if "thresholds" not in entries:
        return Thresholds()
    walk, place = Walk(file, env), Place(("thresholds",), entries["thresholds"].line)
    return Decoder(walk, {}).options(Thresholds, walk.entries(entries["thresholds"].node, place), place)


def _channel_lines(entries: dict[str, Entry], file: str, env: Mapping[str, str]) -> dict[str, int] | None:
    """Return the channels that the file names, sound or not, and their lines; None for no mapping."""
    if "channels" not in entries:
        return {}
    place = Place(("channels",), entries["channels"].line)
    named = Walk(file, env).entries(entries["channels"].node, place)
    return None if named is None else {name: entry.line for name, entry in named.items()}
