"""The options that several commands take, each with its default and its name in the environment.

click reads the environment for them, and the rules of the services' settings hold for their values. The names that
begin with `CHAT_` and `JOB_` are the services' own; those that begin with `CHATROOM_` are only these commands'. A token
or a Redis may stand in a file that `CHATROOM_TOKEN_FILE` or `CHAT_REDIS_URL_FILE` names.
"""

import getpass
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from chatroom.config import settled
from chatroom.up import folder
from common.errors import SettingError

F = TypeVar("F", bound=Callable[..., Any])


def _settled(env: str, *, secret: bool) -> Callable[..., str | None]:
    """Return the callback of an option: its value, by the rules of the services' settings."""

    def settle(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
        in_environ = context.get_parameter_source(str(option.name)) is ParameterSource.ENVIRONMENT
        try:
            return settled(value, env if in_environ else option.opts[0], env, secret=secret)
        except SettingError as e:
            raise click.UsageError(str(e)) from None

    return settle


def _server_of(name: str, default: str, env: str, *, secret: bool) -> Callable[..., str]:
    """Return the callback of a server's option, which falls back to the server of `chatroom up` in this folder."""
    settle = _settled(env, secret=secret)

    def find(context: click.Context, option: click.Parameter, value: str | None) -> str:
        found = settle(context, option, value)
        return found if found is not None else folder.told(name) or default

    return find


def _option(  # noqa: PLR0913 - the columns of the table below
    name: str, default: str | None, env: str, metavar: str, about: str, *, secret: bool = False
) -> Callable[[F], F]:
    return click.option(
        name,
        default=default,
        envvar=env,
        metavar=metavar,
        help=about,
        show_default=default is not None,
        show_envvar=True,
        callback=_settled(env, secret=secret),
    )


def _server(  # noqa: PLR0913 - likewise
    name: str, default: str, env: str, metavar: str, about: str, *, secret: bool = False
) -> Callable[[F], F]:
    """An option that is where `chatroom up` in this folder has it, if it runs."""
    return click.option(
        f"--{name}",
        envvar=env,
        callback=_server_of(name, default, env, secret=secret),
        metavar=metavar,
        help=f"{about}  [default: as `chatroom up` in this folder has it, or else {default}]",
        show_envvar=True,
    )


url = _option("--url", "ws://localhost:8082/", "CHATROOM_URL", "URL", "Where Comet listens for clients.")
token = _option("--token", None, "CHATROOM_TOKEN", "JWT", "Who you are, where the server wants a token.", secret=True)
uid = _option("--uid", None, "CHATROOM_UID", "ID", "Who you are, if you are a guest; made up where not given.")
redis = _server("redis", "redis://localhost:6379/0", "CHAT_REDIS_URL", "URL", "The services' Redis.", secret=True)
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
