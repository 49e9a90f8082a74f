"""Messages that wait for their acks: bounded, in the order of sending, each sent until it is acked.

A message is sent while its room is live, again on each new connection, and again after a pause if the server refused it
for the moment. Bound: past the limit, a caller of `send` waits for a slot.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from chatroom_client.connection import Connection
from chatroom_client.errors import ChatError, Internal
from chatroom_client.pause import Pause
from chatroom_client.rooms import FollowedRooms
from chatroom_client.types import Ack

INTERNAL_TRIES: Final = 5  # this very message may cause the server's failure, so the retries are bounded


@dataclass(slots=True)
class PendingSend:
    """A message without an ack."""

    ref: str
    room: str
    text: str
    acked: asyncio.Future[Ack]
    sent: bool = False  # on the present connection, and not refused since
    failures: int = 0  # `internal` errors

    def fail(self, error: BaseException) -> None:
        """Raise an error in the caller of `send`."""
        if not self.acked.done():
            self.acked.set_exception(error)


class PendingSends:
    """The messages of one client by ref, at most `limit` of them."""

    def __init__(self, connection: Connection, pause: Pause, rooms: FollowedRooms, limit: int) -> None:
        self._connection = connection
        self._pause = pause
        self._rooms = rooms
        self._by_ref: dict[str, PendingSend] = {}
        self._slots = asyncio.Semaphore(limit)
        self._empty: dict[str, asyncio.Event] = {}  # by room, set when the room has no message left

    def __len__(self) -> int:
        return len(self._by_ref)

    # -- requests of the client --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the `limit` slots, after waiting for a free one."""
        async with self._slots:
            yield

    async def send(self, ref: str, room: str, text: str) -> Ack:
        """Send a message and return its ack.

        Raises ValueError for a ref that is in use, the server's final refusal, and the failure given to `fail_all`.
        """
        if ref in self._by_ref:
            raise ValueError(f"a message with the ref {ref!r} waits for its ack already")
        one = self._by_ref[ref] = PendingSend(ref, room, text, asyncio.get_running_loop().create_future())
        try:
            self._transmit(one)
            return await one.acked
        finally:
            self._remove(one)

    def _remove(self, one: PendingSend) -> None:
        """Forget a message: it is acked or failed, or its caller was cancelled."""
        del self._by_ref[one.ref]
        if one.room in self._empty and not self._of(one.room):
            self._empty.pop(one.room).set()

    def send_all(self) -> None:
        """Send each message not yet sent on this connection, if its room is live and no pause is on."""
        for one in self._by_ref.values():
            self._transmit(one)

    def _transmit(self, one: PendingSend) -> None:
        """Send a message if its room is live. Otherwise the server would join the room anew, and leave a gap."""
        if not one.sent and not self._pause.is_on and self._connection.is_open and self._rooms.is_live(one.room):
            one.sent = True
            self._connection.send("clientMessages", {"roomId": one.room, "content": one.text, "ref": one.ref})

    async def wait_until_empty(self, room: str) -> None:
        """Wait until no message of a room is left."""
        while self._of(room):
            await self._empty.setdefault(room, asyncio.Event()).wait()

    def _of(self, room: str) -> list[PendingSend]:
        return [one for one in self._by_ref.values() if one.room == room]

    # -- frames of the server ----------------------------------------------------------------------------------------

    def on_ack(self, payload: dict[str, Any]) -> None:
        """Take an `ack` frame. One for a message whose caller was cancelled has no effect."""
        one = self._by_ref.get(payload["ref"])
        if one is not None and not one.acked.done():
            [stored] = payload["messages"]
            at = payload["epoch"], stored["seq"], stored["id"], stored["timestamp"]
            one.acked.set_result(Ack(one.ref, one.room, *at))

    def on_error(self, ref: str | None, error: ChatError) -> bool:
        """Take an `error` frame and return whether it answers a message."""
        if ref is None or (one := self._by_ref.get(ref)) is None:
            return False
        one.failures += isinstance(error, Internal)
        if error.retriable or (isinstance(error, Internal) and one.failures < INTERNAL_TRIES):
            one.sent = False
            self._pause.begin()
        else:
            one.fail(error)
        return True

    def fail_room(self, room: str, error: ChatError) -> None:
        """Raise an error for all messages of a room that the server refused for good."""
        for one in self._of(room):
            one.fail(error)

    # -- connections -------------------------------------------------------------------------------------------------

    def on_lost(self) -> None:
        """Send each message again on the next connection."""
        for one in self._by_ref.values():
            one.sent = False

    def fail_all(self, failure: BaseException) -> None:
        """Raise the failure in each caller of `send`: the client has ended."""
        for one in self._by_ref.values():
            one.fail(failure)
