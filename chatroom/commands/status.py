"""`chatroom status`: who is there, what waits and who is well, as a table or as JSON, once or again and again."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import click

from chatroom import text
from chatroom.commands import options
from chatroom.commands.running import run, say
from chatroom.commands.survey import Kept, Places, ServiceReport, Survey, survey

Show: TypeAlias = Callable[[Survey], str]

EVERY_S: Final = 2.0
# To the top left; each line clears what is behind it, the end what is below: nothing flickers.
_HOME, _REST_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command(
    epilog="Example: chatroom status --watch    or, for a script: chatroom status --json && echo all is well"
)
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.1),
    default=EVERY_S,
    show_default=True,
    metavar="SECONDS",
    help="How often, with --watch.",
)
@options.as_json
@options.url
@options.logic
@options.job
@options.redis
@options.kafka
@options.topic
@options.group
def status(*, watch: bool, every_s: float, as_json: bool, **places: Any) -> None:  # noqa: ANN401 - click has given each its type
    """Show nodes, sessions, rooms, outbox, Kafka lag and each service's health.

    Exits with 1 where something does not answer or is not ready.
    """
    show = to_json if as_json else to_table
    on_screen = sys.stdout.isatty() and not as_json
    run(lambda: _status(Places(**places), show, every_s if watch else 0.0, on_screen=on_screen))


async def _status(places: Places, show: Show, every_s: float, *, on_screen: bool) -> int:
    """Show once (0), or again and again."""
    found = await survey(places)
    if not every_s:
        say(show(found))
        return 0 if found.healthy else 1
    if on_screen:
        click.clear()
    while True:
        if on_screen:
            click.echo(_over_the_last(text.harmless(show(found))), nl=False)
        else:
            say(show(found))
        await asyncio.sleep(every_s)
        found = await survey(places)


def _over_the_last(shown: str) -> str:
    return _HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in shown.split("\n")) + _BELOW


def to_table(found: Survey) -> str:
    """Return what was found for people."""
    parts = [
        text.table(["service", "health"], [[name, _said(one)] for name, one in found.services.items()]),
        _kept(found.kept, found.nodes),
        f"Kafka lag   {_lag(found.lag)}",
    ]
    return "\n\n".join(parts)


def _said(health: ServiceReport) -> str:
    said = [f"{name}: {why}" for name, why in health.reasons.items()]
    warned = [f"warning: {why}" for why in health.warnings.values()]
    return "; ".join([health.state, *said, *warned])


def _kept(kept: Kept | str, words: dict[str, str]) -> str:
    if isinstance(kept, str):
        return f"Redis       no answer: {kept}"
    rows = [
        [node.incarnation[:8], node.grpc, str(node.connections), str(node.rooms), words[node.incarnation]]
        for node in kept.nodes
    ]
    nodes = text.table(["node", "gRPC", "sessions", "rooms", "health"], rows) if rows else "no node lives"
    waiting = f"{kept.waiting} waiting" + (f", the oldest for {text.age(kept.oldest_s)}" if kept.waiting else "")
    totals = [
        f"sessions    {sum(node.connections for node in kept.nodes)}",
        f"rooms       {kept.rooms} with a history",
        f"outbox      {waiting}; dead letters: {kept.dead}",
    ]
    return f"{nodes}\n\n" + "\n".join(totals)


def _lag(lag: dict[int, int] | str) -> str:
    if isinstance(lag, str):
        return f"no answer: {lag}"
    each = ", ".join(f"{partition}: {behind}" for partition, behind in sorted(lag.items()))
    return f"{sum(lag.values())} records (by partition {each})"


def to_json(found: Survey) -> str:
    """Return what was found for programs; `redis` and `kafka` are there where they could not be asked, and say why."""
    kept = found.kept
    shown: dict[str, Any] = {"healthy": found.healthy}
    shown["services"] = {name: asdict(one) for name, one in found.services.items()}
    if isinstance(kept, Kept):
        shown["nodes"] = [asdict(node) | {"health": found.nodes[node.incarnation]} for node in kept.nodes]
        shown["sessions"] = sum(node.connections for node in kept.nodes)
        shown["rooms"] = kept.rooms
        shown["outbox"] = {"waiting": kept.waiting, "oldestSeconds": round(kept.oldest_s, 3), "deadLetters": kept.dead}
    else:
        shown["redis"] = kept
    if isinstance(found.lag, str):
        shown["kafka"] = found.lag
    else:
        shown["lag"] = {"total": sum(found.lag.values()), "partitions": found.lag}
    return text.dumps(shown)
