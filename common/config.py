"""Settings: one pydantic model a service, read from the config file, the environment and flags, in that rising order.

A setting `http_bind_port` of Comet is `COMET_HTTP_BIND_PORT` in the environment and `--http-bind-port` as a flag; those
that all services share begin with `CHAT_`. A key of the file is the environment's name in lower case, but that Comet's
keys stand without their `comet_`. A file may serve all three services: each reads its own keys and the shared ones.

This module and the services' `config.py` are the only readers of the environment.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from common.errors import SettingError

SERVICES = ("comet", "logic", "job")
SHARED = "chat"
# Kubernetes puts these into every container for a service named, say, `comet`; they are nobody's mistake.
_KUBERNETES = re.compile(r"(COMET|LOGIC|JOB)_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)")
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+)"
_BROKER = re.compile(rf"{_HOST}(:[0-9]{{1,5}})?")
ADDRESS = re.compile(rf"{_HOST}:[0-9]{{1,5}}")  # host:port
ADDRESS_FORM = "host:port (an IPv6 address in brackets: [::1]:9092)"
BIND_FORM = "address to listen on; 0.0.0.0 and :: mean every address, IPv4 and IPv6"

_S = TypeVar("_S", bound="SharedSettings")


class SharedSettings(BaseModel):
    """The settings that every service has."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    service: ClassVar[str] = SHARED

    redis_url: str = Field(
        "redis://localhost:6379/0", description="Redis, as redis://[user:password@]host:port/db or rediss://"
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

    @field_validator("kafka_brokers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        for broker in value.split(","):
            if not _BROKER.fullmatch(broker.strip()):
                raise ValueError(f"{broker.strip()!r} is not {ADDRESS_FORM}")
        return value

    @classmethod
    def load(cls, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Self:
        """Read all sources and return the settings; exit on --help, --print-settings or a fault (2, a line each)."""
        try:
            return _load(cls, argv, os.environ if environ is None else environ)
        except SettingError as e:
            sys.stderr.write(f"{e}\n")
            sys.exit(e.exit_code)

    @classmethod
    def prefix_of(cls, field: str) -> str:
        """Return `chat` for a shared setting, the service's name for its own."""
        return SHARED if field in SharedSettings.model_fields else cls.service

    @classmethod
    def env_name(cls, field: str) -> str:
        """Return the setting's name in the environment, such as COMET_GRPC_PORT."""
        return f"{cls.prefix_of(field)}_{field}".upper()

    @classmethod
    def file_key(cls, field: str) -> str:
        """Return the setting's key in the config file, such as grpc_port or logic_http_bind_port."""
        return cls.env_name(field).lower().removeprefix("comet_")


def _load(cls: type[_S], argv: Sequence[str], environ: Mapping[str, str]) -> _S:
    flags = vars(_parser(cls).parse_args(argv))
    config, show = flags.pop("config"), flags.pop("print_settings")
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for source in (
        _from_file(cls, Path(config)) if config is not None else {},
        _from_environ(cls, environ),
        {field: (value, flag(field)) for field, value in flags.items() if value is not None},
    ):
        for field, (value, origin) in source.items():
            values[field], origins[field] = value, origin
    try:
        settings = cls.model_validate(values)
    except ValidationError as e:
        raise SettingError("\n".join(_faults(cls, e, origins))) from None
    if show:
        sys.stdout.write(settings.model_dump_json() + "\n")
        sys.exit(0)
    return settings


def flag(field: str) -> str:
    """Return a setting's flag, such as --grpc-port."""
    return "--" + field.replace("_", "-")


def _from_environ(cls: type[SharedSettings], environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    fields = {cls.env_name(field): field for field in cls.model_fields}
    unknown = [
        name
        for name in environ
        if name.startswith((f"{cls.service.upper()}_", "CHAT_"))
        and name not in fields
        and not _KUBERNETES.fullmatch(name)
    ]
    if unknown:
        raise SettingError("\n".join(f"{cls.service}: unknown setting {name} in the environment" for name in unknown))
    return {fields[name]: (value, name) for name, value in environ.items() if name in fields}


def _from_file(cls: type[SharedSettings], path: Path) -> dict[str, tuple[str, str]]:
    fields = {cls.file_key(field): field for field in cls.model_fields}
    others = tuple(f"{name}_" for name in SERVICES if name != cls.service)
    found: dict[str, tuple[str, str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise SettingError(f"{cls.service}: can't read the config file {path}: {e}") from None
    for number, line in enumerate(lines, 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text:
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        where = f"{path}, line {number}"
        if not equals:
            raise SettingError(f"{cls.service}: {where}: expected key=value, found {text!r}")
        if key in fields:
            found[fields[key]] = (value, f"{key} in {where}")
        elif key.startswith(others) or (cls.service != "comet" and not key.startswith((f"{cls.service}_", "chat_"))):
            continue  # another service's; it checks it
        else:
            raise SettingError(f"{cls.service}: unknown setting {key} in {where}")
    return found


def _faults(cls: type[SharedSettings], error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    lines = []
    for fault in error.errors():
        text = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            lines.append(f"{cls.service}: bad settings: {text}")
            continue
        field = str(fault["loc"][0])
        origin = origins.get(field, cls.env_name(field))
        lines.append(f"{cls.service}: bad setting {origin}: {text}, got {fault['input']!r}")
    return lines


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong flag is one line as any other wrong setting."""

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
        default = spec.default.get_secret_value() if isinstance(spec.default, SecretStr) else spec.default
        shown = json.dumps(default) if isinstance(default, bool) else default
        shown = "none" if shown in {"", None} else shown
        text = f"{spec.description} [{cls.env_name(field)}, default: {shown}]".replace("%", "%%")
        group.add_argument(flag(field), dest=field, metavar="VALUE", help=text)
    return parser
