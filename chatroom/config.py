"""What `chatroom up` was asked for, and what its programs get of the environment, which is read only here."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from common import sources
from common.config import SharedSettings, checked_brokers
from common.errors import SettingError

# An embedded server gets only what any program needs: Tansu, for one, would read its options from more.
_FOR_SERVERS = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `chatroom up`; None is what nobody asked for."""

    directory: Path
    comets: int = 1
    config: Path | None = None
    redis: str | None = None
    kafka: str | None = None
    log_level: str | None = None
    prometheus: bool = False


def with_environ(options: Options) -> Options:
    """Return the options with the servers that the environment names, where no flag does."""
    redis = options.redis or os.environ.get("CHAT_REDIS_URL") or None
    kafka = options.kafka or os.environ.get("CHAT_KAFKA_BROKERS") or None
    return replace(options, redis=redis, kafka=kafka)


def service_environ(options: Options) -> dict[str, str]:
    """Return what every service gets: the user's environment, and the options that all services share."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if options.redis and options.redis != os.environ.get("CHAT_REDIS_URL"):
        use_redis(environ, options.redis)
    if options.kafka:
        environ["CHAT_KAFKA_BROKERS"] = options.kafka
    if options.log_level:
        environ["CHAT_LOG_LEVEL"] = options.log_level
    return environ


def use_redis(environ: dict[str, str], url: str) -> None:
    """Let services use this Redis, whatever Redis their environment names."""
    environ["CHAT_REDIS_URL"] = url
    environ.pop("CHAT_REDIS_URL_FILE", None)


def redis_url(options: Options) -> str:
    """Return the services' Redis with its password, which `--print-settings` does not show. Raises SettingError."""
    argv = ["--config", str(options.config)] if options.config else []
    return SharedSettings.read(argv, service_environ(options)).redis_url.get_secret_value()


def settled(value: str | None, origin: str, name: str, *, secret: bool) -> str | None:
    """Return an option's value by the rules of the services' settings, or None. Raises SettingError.

    `origin` is the flag or `name`, the option's name in the environment. Without a flag, a secret may stand in a file.
    """
    source = {} if value is None else {name: (value, origin)}
    file = f"{name}_FILE"
    if secret and (value is None or origin == name) and file in os.environ:
        source[name + sources.FILE] = os.environ[file], file
    values, faults = sources.settle(source, [name] if secret else [])
    for fault in faults.values():
        raise SettingError(f"bad setting {fault}")
    found = values[name][0] if name in values else None
    if found is not None and name == SharedSettings.env_name("kafka_brokers"):
        _check_brokers(found, origin)
    return found


def _check_brokers(value: str, origin: str) -> None:
    try:
        checked_brokers(value)
    except ValueError as e:
        raise SettingError(f"bad setting {origin}: {e}") from None


def server_environ() -> dict[str, str]:
    """Return what an embedded server gets."""
    return {name: os.environ[name] for name in _FOR_SERVERS if name in os.environ}


def on_terminal() -> bool:
    """Whether somebody looks at the output as it comes."""
    return sys.stdout.isatty()


def wants_colour() -> bool:
    """Whether the output is a terminal whose user did not say NO_COLOR."""
    return on_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
