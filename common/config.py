"""Settings: one pydantic model a service, read from the config file, the environment and flags, in that rising order.

A setting `http_bind_port` of Comet is `COMET_HTTP_BIND_PORT` in the environment and `--http-bind-port` as a flag; those
that all services share begin with `CHAT_`. A key of the file is the environment's name in lower case, but that Comet's
keys stand without their `comet_`. A file may serve all three services: each reads its own keys and the shared ones.

A secret may stand in a file of its own instead: COMET_AUTH_KEY_FILE names it. common/sources.py reads all of them.

This module and the services' `config.py` are the only readers of the environment.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NoReturn, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, Secret, SecretStr, ValidationError, field_validator

from common import sources
from common.errors import SettingError
from common.masking import SecretUrl, mask

SERVICES = ("comet", "logic", "job")
SHARED = "chat"
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+)"
_BROKER = re.compile(rf"{_HOST}(:[0-9]{{1,5}})?")
ADDRESS = re.compile(rf"{_HOST}:[0-9]{{1,5}}")  # host:port
REDIS_URL_FORM: Final = (
    "must be a URL such as redis://localhost:6379/0, in which a password's special characters are percent-encoded"
)
ADDRESS_FORM = "host:port (an IPv6 address in brackets: [::1]:9092)"
BIND_FORM = "address to listen on; 0.0.0.0 and :: mean every address, IPv4 and IPv6"

_S = TypeVar("_S", bound="SharedSettings")


class SharedSettings(BaseModel):
    """The settings that every service has."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    service: ClassVar[str] = SHARED

    redis_url: SecretUrl = Field(
        SecretUrl("redis://localhost:6379/0"), description="Redis, as redis://[user:password@]host:port/db or rediss://"
    )
    kafka_brokers: str = Field("localhost:9092", description="Kafka's bootstrap servers, host:port separated by commas")
    kafka_topic: str = Field("my-topic", min_length=1, max_length=240, description="topic that carries PushMsg records")
    kafka_idempotence: bool = Field(
        default=True, description="idempotent producer; only the embedded broker needs false"
    )
    kafka_linger_ms: int = Field(0, ge=0, le=1000, description="how long the producer waits to fill a batch")
    kafka_fetch_max_wait_ms: int = Field(
        500, ge=1, le=60_000, description="how long a broker may hold back an empty fetch"
    )
    kafka_session_timeout_ms: int = Field(
        10_000, ge=1000, description="after which a silent consumer is taken for dead"
    )
    kafka_heartbeat_interval_ms: int = Field(3000, ge=100, description="between a consumer's heartbeats")
    shards: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="parts that the rooms are spread over; none: what this Redis was set up with, 64 if it is new",
    )
    room_ttl_seconds: int = Field(604_800, ge=60, description="a room without a message for so long is forgotten")
    room_max_messages: int = Field(10_000, ge=1, description="messages kept in a room's history, about")
    room_max_age_seconds: int = Field(604_800, ge=1, description="how old a message in the history may be")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["auto", "pretty", "json"] = Field(
        "auto", description="auto: pretty on a terminal, JSON elsewhere"
    )

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, value: SecretUrl) -> SecretUrl:
        if not _is_redis(value.get_secret_value()):
            raise ValueError(REDIS_URL_FORM)
        return value

    @field_validator("kafka_brokers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        return checked_brokers(value)

    @classmethod
    def load(cls, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Self:
        """Read all sources and return the settings; exit on --help, --print-settings or a fault (2, a line each)."""
        try:
            return cls.read(argv, environ)
        except SettingError as e:
            sys.stderr.write(f"{e}\n")
            sys.exit(e.exit_code)

    @classmethod
    def read(cls, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Self:
        """As `load`, but raise SettingError for a bad value."""
        return _read(cls, argv, os.environ if environ is None else environ)

    @classmethod
    def secrets(cls) -> list[str]:
        """Return the fields that hold a secret; each may stand in a file of its own."""
        kinds = {field: (spec.annotation, *get_args(spec.annotation)) for field, spec in cls.model_fields.items()}
        return [field for field, of in kinds.items() if {SecretStr, SecretUrl} & set(of)]

    @classmethod
    def names(cls) -> list[str]:
        """Return what a source may name: the fields, and the files of those that hold a secret."""
        return [*cls.model_fields, *(field + sources.FILE for field in cls.secrets())]

    @classmethod
    def prefix_of(cls, field: str) -> str:
        """Return `chat` for a shared setting, the service's name for its own."""
        return SHARED if field.removesuffix(sources.FILE) in SharedSettings.model_fields else cls.service

    @classmethod
    def env_name(cls, field: str) -> str:
        """Return the setting's name in the environment, such as COMET_GRPC_PORT."""
        return f"{cls.prefix_of(field)}_{field}".upper()

    @classmethod
    def file_key(cls, field: str) -> str:
        """Return the setting's key in the config file, such as grpc_port or logic_http_bind_port."""
        return cls.env_name(field).lower().removeprefix("comet_")


def _read(cls: type[_S], argv: Sequence[str], environ: Mapping[str, str]) -> _S:
    flags = vars(_parser(cls).parse_args(argv))
    config, show = flags.pop("config"), flags.pop("print_settings")
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    faults: list[str] = []
    for source in (
        _from_file(cls, Path(config)) if config is not None else {},
        sources.from_environ(cls.service, {cls.env_name(field): field for field in cls.names()}, environ),
        {field: (value, flag(field)) for field, value in flags.items() if value is not None},
    ):
        found, bad = sources.settle(source, cls.secrets())
        faults += [f"{cls.service}: bad setting {text}" for text in bad.values()]
        for field, (value, origin) in found.items():
            values[field], origins[field] = value, origin
        for field in bad:
            values.pop(field, None)
    settings = _checked(cls, values, origins, faults)
    if show:
        sys.stdout.write(settings.model_dump_json() + "\n")
        sys.exit(0)
    return settings


def _checked(cls: type[_S], values: Mapping[str, str], origins: Mapping[str, str], faults: list[str]) -> _S:
    """Return the settings. Raises SettingError with what was wrong with the sources and with the values."""
    try:
        settings = cls.model_validate(values)
    except ValidationError as e:
        faults = faults + _faults(cls, e, origins)
    if faults:
        raise SettingError(mask("\n".join(faults)))
    return settings


def checked_brokers(value: str) -> str:
    """Return Kafka's brokers if they are addresses. Raises ValueError, which shows no password."""
    if "@" in value:
        raise ValueError(f"each broker must be {ADDRESS_FORM}, without a user or a password")
    for broker in value.split(","):
        if not _BROKER.fullmatch(broker.strip()):
            raise ValueError(f"{broker.strip()!r} is not {ADDRESS_FORM}")
    return value


def flag(field: str) -> str:
    """Return a setting's flag, such as --grpc-port."""
    return "--" + field.replace("_", "-")


def _from_file(cls: type[SharedSettings], path: Path) -> sources.Source:
    fields = {cls.file_key(field): field for field in cls.names()}
    return sources.from_file(cls.service, fields, tuple(f"{name}_" for name in SERVICES if name != cls.service), path)


def _is_redis(url: str) -> bool:
    """Whether redis-py reads it as it is meant; its own errors show a password that was not percent-encoded."""
    try:
        parts = urlsplit(url)
        place = parts.hostname if parts.port is not None else parts.hostname or parts.path
    except ValueError:
        return False
    split = "@" in parts.path + parts.query + parts.fragment  # a special character ended the host too early
    return parts.scheme in {"redis", "rediss", "unix"} and bool(place) and not split and not re.search(r"\s", url)


def _faults(cls: type[SharedSettings], error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    lines = []
    for fault in error.errors():
        text = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            lines.append(f"{cls.service}: bad settings: {text}")
            continue
        field = str(fault["loc"][0])
        # A value with an @ may hold a password, too.
        got = "" if field in cls.secrets() or "@" in str(fault["input"]) else f", got {fault['input']!r}"
        lines.append(f"{cls.service}: bad setting {origins.get(field, cls.env_name(field))}: {text}{got}")
    return lines


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong flag is one line as any other wrong setting, without its value, which may be a secret."""

    def parse_args(self, *args: Any, **kwargs: Any) -> argparse.Namespace:  # type: ignore[override]  # noqa: ANN401 - argparse's
        """Parse all arguments, or end with the first that is unknown."""
        found: argparse.Namespace
        found, unknown = self.parse_known_args(*args, **kwargs)
        if unknown:
            self.error(f"unrecognized argument {unknown[0].partition('=')[0]}")
        return found

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}; see --help\n")
        sys.exit(SettingError.exit_code)


def _parser(cls: type[SharedSettings]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"python -m {cls.service}",
        description=f"Run {cls.service}. Settings rise from the config file over the environment to flags.",
        epilog=f"example: python -m {cls.service} --config deploy/conf.conf --log-level debug",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="key=value file, such as deploy/conf.conf")
    parser.add_argument("--print-settings", action="store_true", help="print the settings in force as JSON and exit")
    own = parser.add_argument_group(cls.service)
    shared = parser.add_argument_group("shared by all services")
    for field, spec in cls.model_fields.items():
        group = shared if field in SharedSettings.model_fields else own
        default = str(spec.default) if isinstance(spec.default, Secret) else spec.default
        shown = json.dumps(default) if isinstance(default, bool) else default
        shown = "none" if shown in {"", None} else shown
        text = f"{spec.description} [{cls.env_name(field)}, default: {shown}]".replace("%", "%%")
        group.add_argument(flag(field), dest=field, metavar="VALUE", help=text)
        if field in cls.secrets():
            name = field + sources.FILE
            text = f"file that holds {cls.env_name(field)} instead [{cls.env_name(name)}, default: none]"
            group.add_argument(flag(name), dest=name, metavar="FILE", help=text)
    return parser
