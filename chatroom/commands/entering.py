"""A chat that a command enters: at once, or with one line that says why not.

ChatClient waits for a server that is away, which is right for a program and wrong for somebody at a prompt.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chatroom.commands.running import Fault
from chatroom_client import ChatClient, Disconnected, Event, Reconnecting
from common.masking import mask

_REFUSED: Final = 1008
_OTHER_FIELDS: Final = (
    "name ",
    "uid ",
    "rooms ",
)  # how the reason of a refusal begins that no other URL or token mends


def new_client(url: str, *, name: str | None = None, uid: str | None = None, token: str | None = None) -> ChatClient:
    """Return a client that logs nothing: the commands show its events. Raises Fault for a URL that is none."""
    logging.getLogger("chatroom_client").addHandler(logging.NullHandler())  # otherwise Python prints the warnings
    try:
        return ChatClient(url, name=name, uid=uid, token=token)
    except ValueError as e:
        raise Fault(f"{e}: check --url") from None


@asynccontextmanager
async def entered(chat: ChatClient, url: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Connect and give the chat's events, which are to be read here; close it in the end.

    Raises Fault when the first try fails, and when the server does not want us, then or later.
    """
    events = aiter(chat)
    try:
        await asyncio.gather(_first(events, url), chat.__aenter__())
        yield events
    except Disconnected as e:
        raise Fault(f"{mask(url)} does not let us in ({e}){_hint(e)}") from None
    finally:
        await chat.close()


def _hint(refusal: Disconnected) -> str:
    """Return the options to check, or '' where the reason names the field at fault."""
    named = refusal.code == _REFUSED and refusal.reason.startswith(_OTHER_FIELDS)
    return "" if named else ": check --url and --token"


async def _first(events: AsyncIterator[Event], url: str) -> None:
    """Take the first event, which tells whether a connection could be made. Raises Fault."""
    first = await anext(events)
    if isinstance(first, Reconnecting):
        raise Fault(
            f"can't reach {mask(url)} ({first.reason}): start it with `chatroom up`, or name another with --url"
        )
