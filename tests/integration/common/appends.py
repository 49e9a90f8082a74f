"""Appends of a test: to which room, and what became of them."""

import asyncio
from collections.abc import Sequence

import orjson

from common.envelope import User
from common.store import Appended, Store

ALICE, BOB = User("alice", "Alice"), User("bob", 'Bob "the \\ builder" ☃')
ROOM = "room_1"


async def contents(store: Store, room: str = ROOM) -> list[str]:
    """Return all that a room's log holds."""
    read = await store.read(room, 1, 10_000)
    return [message["content"] for message in orjson.loads(b"[%b]" % read.messages)]


async def settled(futures: Sequence[asyncio.Future[Appended]]) -> list[Appended | BaseException]:
    """Wait until all appends are answered, well or not."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*futures, return_exceptions=True)
