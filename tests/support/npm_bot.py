"""The bot of clients/javascript/README.md, as it stands there, and a user who talks to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.support.documented import example
from tests.support.plain_client import PlainClient, plain_client

ROOM: Final = "room_001"
GREETING: Final = "I repeat every message"


def source(host: str) -> str:
    """Return the bot's code, made to talk to another host."""
    return example("../clients/javascript/README.md", "js", host)


@asynccontextmanager
async def alice(url: str) -> AsyncIterator[PlainClient]:
    """Have a user in the bot's room while inside."""
    async with plain_client(f"{url}?rooms={ROOM}&uid=alice&name=Alice") as client:
        yield client


async def repeats(client: PlainClient, content: str) -> None:
    """Send a message and wait until the bot has repeated it, once."""
    before = [one["content"] for one in client.messages(ROOM)]
    await client.send(ROOM, content)
    await client.until_contents(ROOM, [*before, content, f"Alice said: {content}"])
