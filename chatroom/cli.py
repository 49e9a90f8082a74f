"""The command line: what can be asked, in which words. The work is elsewhere, imported when it is asked for."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chatroom import usage
from chatroom.config import Options, with_environ
from chatroom.up.folder import USUAL

_LEVELS = click.Choice(["debug", "info", "warning", "error"])


# Each is the function of that name in the module of that name, which is imported when it is asked for.
_ELSEWHERE = ("chat", "tail", "send", "status", "topics")


class _Commands(usage.Group):
    """The commands defined here and those elsewhere."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all."""
        return [*_ELSEWHERE, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(f"chatroom.commands.{cmd_name}"), cmd_name)
        return found


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: chatroom up    (then open http://localhost:8082/, or in another terminal: chatroom chat)",
)
@click.version_option(package_name="chatroom-suite", prog_name="chatroom")
def main() -> None:
    """ChatRoom: room chat over WebSocket, Redis and Kafka."""


@main.command(epilog="Example: chatroom up --comets 2 --log-level debug")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Settings of all services, key=value, such as deploy/conf.conf.",
)
@click.option(
    "--redis",
    metavar="URL",
    help="Use this Redis instead of an embedded one.  [env var: CHAT_REDIS_URL]",
)
@click.option(
    "--kafka",
    metavar="HOST:PORT",
    help="Use this Kafka instead of an embedded broker.  [env var: CHAT_KAFKA_BROKERS]",
)
@click.option(
    "--comets",
    type=click.IntRange(1, 50),
    default=1,
    show_default=True,
    metavar="N",
    help="Comet nodes; node k's ports are 8082+100k, 50051+k and 9190+k.",
)
@click.option(
    "--data",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=USUAL,
    show_default=True,
    metavar="DIR",
    help="Where the embedded Redis, and Prometheus, keep their files.",
)
@click.option("--prometheus", is_flag=True, help="Start a Prometheus beside it, where one is installed.")
@click.option("--log-level", type=_LEVELS, help="Least level that the services log.  [default: info]")
def up(**options: Any) -> None:  # noqa: ANN401 - click has given each its type
    """Run the whole stack on this machine.

    Starts Redis and a Kafka-compatible broker (both embedded, unless you name your own), then Comet, Logic and Job,
    each in a process of its own. Ctrl-C stops everything; a second one kills it.
    """
    from chatroom.up.run import run  # noqa: PLC0415 - only this command needs all of it

    sys.exit(run(with_environ(Options(**options))))


def _service(name: str, about: str) -> Callable[..., None]:
    """Return the command that becomes `python -m <name>`, with all its arguments, --help too."""

    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def become(arguments: tuple[str, ...]) -> None:
        os.execv(sys.executable, [sys.executable, "-P", "-m", name, *arguments])  # noqa: S606 - no shell is the point

    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    return main.command(name, help=about, add_help_option=False, context_settings=settings)(become)


_service("comet", "Run Comet alone, the WebSocket gateway.")
_service("logic", "Run Logic alone, the HTTP interface.")
_service("job", "Run Job alone, Kafka's consumers.")
