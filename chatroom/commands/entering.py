"""A chat that a command enters: at once, or with one line that says why not.

ChatClient waits for a server that is away, which is right for a program and wrong for somebody at a prompt.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatroom.commands.running import Fault
from chatroom_client import ChatClient, Disconnected, Event, Reconnecting
from common.masking import mask


def new_client(url: str, *, name: str | None = None, uid: str | None = None, token: str | None = None) -> ChatClient:
    """Return a client. Raises Fault for a URL that is none."""
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
        raise Fault(f"{mask(url)} does not let us in ({e}): check --url and --token") from None
    finally:
        await chat.close()


async def _first(events: AsyncIterator[Event], url: str) -> None:
    """Take the first event, which tells whether a connection could be made. Raises Fault."""
    first = await anext(events)
    if isinstance(first, Reconnecting):
        raise Fault(
            f"can't reach {mask(url)} ({first.reason}): start it with `chatroom up`, or name another with --url"
        )
