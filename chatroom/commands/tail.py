"""`chatroom tail`: a room's messages as they come, each once and in order, whatever the connection does meanwhile."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import click

from chatroom import text
from chatroom.commands import options
from chatroom.commands.entering import entered, new_client
from chatroom.commands.running import Fault, run, say
from chatroom_client import ChatClient, ChatError, Event, Message, Position, Reconnecting, Removed

Show: TypeAlias = Callable[[Event], str | None]


class _Since(click.ParamType[Position]):
    """A position, as EPOCH:SEQ."""

    name = "EPOCH:SEQ"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Position:
        """Return the position."""
        if isinstance(value, Position):
            return value
        if not (found := re.fullmatch(r"(\d+):(\d+)", str(value))):
            self.fail(f"{value!r} is no position such as 1795450013874:17 (see `tail --json`)", param, ctx)
        return Position(int(found[1]), int(found[2]))


@click.command(epilog="Example: chatroom tail room_001 -n 100 --json | grep -i urgent")
@click.argument("room")
@click.option(
    "-n", "count", type=click.IntRange(0), default=10, show_default=True, help="Messages of the history to begin with."
)
@click.option("--since", type=_Since(), help="Begin behind this position instead, such as `--json` shows.")
@options.as_json
@options.url
@options.token
def tail(room: str, **how: Any) -> None:  # noqa: ANN401 - click has given each its type
    """Show the messages of ROOM and follow it.

    A lost connection is made again, and nothing is missed or shown twice; what the server no longer has is told as a
    hole. What becomes of the connection is told on standard error.
    """
    run(lambda: _tail(room, **how))


async def _tail(  # noqa: PLR0913 - the command's options
    room: str, *, count: int, since: Position | None, as_json: bool, url: str, token: str | None
) -> int:
    show: Show = text.as_json if as_json else text.line
    async with entered(chat := new_client(url, token=token), url) as events:
        try:
            joined = await chat.join(room, since)
            older = [] if since else await _history(chat, room, count, joined.tail)
        except ChatError as e:
            raise Fault(f"can't follow {room}: {e.message}") from None
        for message in older:
            say(show(message) or "")
        await _follow(events, room, show)
    return 0


async def _history(chat: ChatClient, room: str, count: int, upto: Position) -> list[Message]:
    """Return the last `count` messages of the room up to the position; what came later is followed."""
    found: list[Message] = []
    before, more = None, True
    while more and len(found) < count:
        page = await chat.history(room, before)
        found = [message for message in page.messages if message.seq <= upto.seq] + found
        before, more = (page.messages[0].id if page.messages else None), page.more
    return found[max(0, len(found) - count) :]


async def _follow(events: AsyncIterator[Event], room: str, show: Show) -> None:
    async for event in events:
        if isinstance(event, Message) and (event.recent or event.room != room):
            continue  # shown from the history, or pushed to somebody as a message of another room
        if isinstance(event, Removed):
            raise Fault(text.trouble(event))
        if isinstance(event, Reconnecting):
            say(text.trouble(event), err=True)
        elif (shown := show(event)) is not None:
            say(shown)
