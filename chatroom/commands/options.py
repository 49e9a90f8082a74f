"""The options that several commands take, each with its default and its name in the environment.

click reads the environment for them. The names that begin with `CHAT_` and `JOB_` are the services' own; those that
begin with `CHATROOM_` are only these commands'. A token or a Redis may stand in a file that `CHATROOM_TOKEN_FILE` or
`CHAT_REDIS_URL_FILE` names.
"""

import getpass
from collections.abc import Callable
from typing import Any, TypeVar

import click

from chatroom.config import secret_named
from chatroom.up import folder
from common.errors import SettingError
from common.sources import stripped

F = TypeVar("F", bound=Callable[..., Any])


def _stripped(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Take no white space around a value, as the services do: a file's last newline is no part of a token."""
    return None if value is None else stripped(value)


def _in_file(env: str) -> str | None:
    """Return the secret in the file that the environment names, with `_FILE` behind the option's own name."""
    try:
        return secret_named(f"{env}_FILE")
    except SettingError as e:
        raise click.UsageError(str(e)) from None


def _option(name: str, default: str | None, env: str, metavar: str, about: str) -> Callable[[F], F]:
    return click.option(
        name,
        default=default if default is not None else lambda: _in_file(env),
        envvar=env,
        metavar=metavar,
        help=about,
        show_default=default is not None,
        show_envvar=True,
        callback=_stripped,
    )


def _server(name: str, default: str, env: str, metavar: str, about: str) -> Callable[[F], F]:
    """An option that is where `chatroom up` in this folder has it, if it runs."""
    return click.option(
        f"--{name}",
        default=lambda: _in_file(env) or folder.told(name) or default,
        envvar=env,
        callback=_stripped,
        metavar=metavar,
        help=f"{about}  [default: as `chatroom up` in this folder has it, or else {default}]",
        show_envvar=True,
    )


url = _option("--url", "ws://localhost:8082/", "CHATROOM_URL", "URL", "Where Comet listens for clients.")
token = _option("--token", None, "CHATROOM_TOKEN", "JWT", "Who you are, where the server wants a token.")
uid = _option("--uid", None, "CHATROOM_UID", "ID", "Who you are, if you are a guest; made up where not given.")
redis = _server("redis", "redis://localhost:6379/0", "CHAT_REDIS_URL", "URL", "The services' Redis.")
kafka = _server("kafka", "localhost:9092", "CHAT_KAFKA_BROKERS", "HOST:PORT", "The services' Kafka.")
topic = _option("--topic", "my-topic", "CHAT_KAFKA_TOPIC", "NAME", "The topic that carries PushMsgs.")
group = _option("--group", "job-service-group", "JOB_CONSUMER_GROUP", "NAME", "Job's consumer group.")
logic = _option("--logic", "http://localhost:8090", "CHATROOM_LOGIC_URL", "URL", "Where Logic answers HTTP.")
job = _option("--job", "http://localhost:9094", "CHATROOM_JOB_URL", "URL", "Where Job answers HTTP.")
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def login_name() -> str | None:
    """Return who is logged in, if the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


name = click.option(
    "--name",
    default=login_name,
    envvar="CHATROOM_NAME",
    metavar="NAME",
    help="What others see, if you are a guest.  [default: your login name]",
    show_envvar=True,
)
