"""The client's messages that wait for their acks: bounded, in the order of sending, each sent until it is acked.

Past the limit whoever sends waits. A message is sent while its room is joined, again on each new connection, and again
after a pause where the server refused it for the moment.

Neighbours: `client.py` brings the frames and tells of connections; `rooms.py` knows which rooms are joined.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from chatroom_client.connection import Link
from chatroom_client.errors import ChatError, Internal
from chatroom_client.pause import Pause
from chatroom_client.rooms import Joins
from chatroom_client.types import Ack

INTERNAL_TRIES: Final = 5  # a fault of the server's may be one of this very message


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
    """Messages of one client by ref, at most `limit`."""

    def __init__(self, link: Link, pause: Pause, joins: Joins, limit: int) -> None:
        self._link = link
        self._pause = pause
        self._joins = joins
        self._by_ref: dict[str, Outgoing] = {}
        self._room_for_more = asyncio.Semaphore(limit)
        self._settled: dict[str, asyncio.Event] = {}  # by room, for who waits until none of it is left

    def __len__(self) -> int:
        return len(self._by_ref)

    # -- what the client wants ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a free place and take it."""
        async with self._room_for_more:
            yield

    async def send(self, ref: str, room: str, text: str) -> Ack:
        """Send a message and return its ack.

        Raises ValueError for a ref that waits already, what the server refuses it with for good, and what `end` was
        given.
        """
        if ref in self._by_ref:
            raise ValueError(f"{ref!r} waits for its ack already")
        one = self._by_ref[ref] = Outgoing(ref, room, text, asyncio.get_running_loop().create_future())
        try:
            self._transmit(one)
            return await one.acked
        finally:
            self._remove(one)

    def _remove(self, one: Outgoing) -> None:
        """Forget a message: it is acked, failed, or its sender waits no more."""
        del self._by_ref[one.ref]
        if one.room in self._settled and not self._of(one.room):
            self._settled.pop(one.room).set()

    def send_all(self) -> None:
        """Send what was not sent on this connection, unless it is not to be sent now."""
        for one in self._by_ref.values():
            self._transmit(one)

    def _transmit(self, one: Outgoing) -> None:
        """Send it unless its room is not joined now: sending would join it anew, and miss what came meanwhile."""
        if not one.sent and not self._pause.is_on and self._link.is_open and self._joins.is_live(one.room):
            one.sent = True
            self._link.send("clientMessages", {"roomId": one.room, "content": one.text, "ref": one.ref})

    async def settled(self, room: str) -> None:
        """Wait until none of the room's messages is left."""
        while self._of(room):
            await self._settled.setdefault(room, asyncio.Event()).wait()

    def _of(self, room: str) -> list[Outgoing]:
        return [one for one in self._by_ref.values() if one.room == room]

    # -- what the server says ----------------------------------------------------------------------------------------

    def ack(self, payload: dict[str, Any]) -> None:
        """Take an `ack`'s payload; one that nobody waits for any more is dropped."""
        one = self._by_ref.get(payload["ref"])
        if one is not None and not one.acked.done():
            [stored] = payload["messages"]
            at = payload["epoch"], stored["seq"], stored["id"], stored["timestamp"]
            one.acked.set_result(Ack(one.ref, one.room, *at))

    def refused(self, ref: str | None, fault: ChatError) -> bool:
        """Take an `error`; return whether it answers a message."""
        if ref is None or (one := self._by_ref.get(ref)) is None:
            return False
        one.faults += isinstance(fault, Internal)
        if fault.retriable or (isinstance(fault, Internal) and one.faults < INTERNAL_TRIES):
            one.sent = False
            self._pause.begin()
        else:
            one.fail(fault)
        return True

    def fail(self, room: str, fault: ChatError) -> None:
        """Fail all of a room's messages: the server does not let this client in."""
        for one in self._of(room):
            one.fail(fault)

    # -- what becomes of the connection ------------------------------------------------------------------------------

    def lost(self) -> None:
        """Send all again on the next connection."""
        for one in self._by_ref.values():
            one.sent = False

    def end(self, fault: BaseException) -> None:
        """Fail whoever waits: there will be no more answers."""
        for one in self._by_ref.values():
            one.fail(fault)
