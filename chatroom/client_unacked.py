"""The client's messages that wait for their acks: bounded, in the order of sending.

Past the limit whoever sends waits. Neighbour: `client.py` transmits them, again on each new connection.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chatroom.client_types import Ack


@dataclass(slots=True)
class Outgoing:
    """A message without an ack."""

    ref: str
    room: str
    text: str
    acked: asyncio.Future[Ack]
    sent: bool = False  # on the present connection, and not refused since
    faults: int = 0  # `internal` answers

    def fail(self, fault: BaseException) -> None:
        """Tell the sender that it won't be stored, or that nobody will ever know."""
        if not self.acked.done():
            self.acked.set_exception(fault)


class Unacked:
    """Messages by ref, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._by_ref: dict[str, Outgoing] = {}
        self._room_for_more = asyncio.Semaphore(limit)
        self._settled: dict[str, asyncio.Event] = {}  # by room, for who waits until none of it is left

    def __len__(self) -> int:
        return len(self._by_ref)

    def __iter__(self) -> Iterator[Outgoing]:
        return iter(self._by_ref.values())

    def get(self, ref: str | None) -> Outgoing | None:
        """Return the message of a ref that still waits."""
        return self._by_ref.get(ref) if ref else None

    def of(self, room: str) -> list[Outgoing]:
        """Return a room's messages."""
        return [one for one in self if one.room == room]

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a free place and take it."""
        async with self._room_for_more:
            yield

    def add(self, ref: str, room: str, text: str) -> Outgoing:
        """Add a message. Raises ValueError for a ref that waits already."""
        if ref in self._by_ref:
            raise ValueError(f"{ref!r} waits for its ack already")
        one = self._by_ref[ref] = Outgoing(ref, room, text, asyncio.get_running_loop().create_future())
        return one

    def remove(self, one: Outgoing) -> None:
        """Forget a message: it is acked, failed, or its sender waits no more."""
        del self._by_ref[one.ref]
        if one.room in self._settled and not self.of(one.room):
            self._settled.pop(one.room).set()

    async def settled(self, room: str) -> None:
        """Wait until none of the room's messages is left."""
        while self.of(room):
            await self._settled.setdefault(room, asyncio.Event()).wait()

    def ack(self, payload: dict[str, Any]) -> None:
        """Take an `ack`'s payload; one that nobody waits for any more is dropped."""
        one = self._by_ref.get(payload["ref"])
        if one is not None and not one.acked.done():
            [stored] = payload["messages"]
            at = payload["epoch"], stored["seq"], stored["id"], stored["timestamp"]
            one.acked.set_result(Ack(one.ref, one.room, *at))
