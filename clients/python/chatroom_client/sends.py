"""Messages that wait for their acks: in the order of sending, each sent until it is acked.

A message is sent while its room is live, when the pace allows it (pace.py), again on each new connection, and again
after a pause if the server refused it for the moment. It is not sent again when the server may have forgotten its
`ref`: then its outcome is unknown.

Time: a message that may be stored waits `ack_timeout_s` for its ack, from its first attempt on. One that was never sent
waits for its turn, as long as other messages are acked meanwhile, and otherwise for `ack_timeout_s`.

Bound: at most `limit` messages are open, which means sent, or sent as soon as the pace allows it. The others wait in
their callers of `send`.
"""

import asyncio
import math
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from chatroom_client import frames
from chatroom_client.ages import Age
from chatroom_client.connection import Connection
from chatroom_client.errors import ChatError, Internal, OutcomeUnknown, Overloaded, RateLimited, TooLarge
from chatroom_client.pace import Pace
from chatroom_client.rooms import FollowedRooms
from chatroom_client.types import Ack

INTERNAL_TRIES: Final = 5  # this very message may cause the server's failure, so the retries are bounded
REF_WINDOW_S: Final = 300.0  # of a server that does not tell its own (COMET_REF_WINDOW_SECONDS)
WINDOW_SHARE: Final = 0.8  # the rest is for a frame that is long on its way
MOST_BYTES_PER_CHARACTER: Final = 6  # in JSON: \\u0001


@dataclass(slots=True, eq=False)
class PendingSend:
    """A message without an ack."""

    ref: str
    room: str
    text: str
    acked: asyncio.Future[Ack]
    began_at: float  # the loop's time at the call
    timer: asyncio.TimerHandle | None = None
    sent: bool = False  # on the present connection, and not refused since
    attempts: int = 0  # those that may have been stored
    age: Age | None = None  # since the first of these attempts
    failures: int = 0  # `internal` errors

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of its frame."""
        return {"roomId": self.room, "content": self.text, "ref": self.ref}

    def fail(self, error: BaseException) -> None:
        """Raise an error in the caller of `send`."""
        if not self.acked.done():
            self.acked.set_exception(error)


class PendingSends:
    """The messages of one client by ref, at most `limit` of them open."""

    def __init__(
        self, connection: Connection, pace: Pace, rooms: FollowedRooms, *, limit: int, ack_timeout_s: float
    ) -> None:
        self._connection = connection
        self._pace = pace
        self._rooms = rooms
        self._limit = limit
        self._ack_timeout_s = ack_timeout_s
        self._window_s = REF_WINDOW_S * WINDOW_SHARE
        self._frame_bytes = math.inf  # a larger frame makes the server close the connection for good
        self._open: dict[str, PendingSend] = {}
        self._queued: OrderedDict[str, PendingSend] = OrderedDict()  # beyond the limit
        self._acked_at = 0.0  # the loop's time of the last ack
        self._empty: dict[str, asyncio.Event] = {}  # by room, set when the room has no message left

    def __len__(self) -> int:
        return len(self._open) + len(self._queued)

    # -- requests of the client --------------------------------------------------------------------------------------

    async def send(self, ref: str, room: str, text: str) -> Ack:
        """Send a message and return its ack. Joins the room first if it is not joined.

        Raises ValueError for a ref that is in use, TimeoutError, OutcomeUnknown, the server's final refusal, and the
        failure given to `fail_all`.
        """
        if ref in self._open or ref in self._queued:
            raise ValueError(f"a message with the ref {ref!r} waits for its ack already")
        loop = asyncio.get_running_loop()
        one = self._queued[ref] = PendingSend(ref, room, text, loop.create_future(), loop.time())
        try:
            one.timer = loop.call_later(self._ack_timeout_s, self._check_time, one)
            self._rooms.follow(room)
            self._open_more()
            return await one.acked
        finally:
            self._remove(one)

    def _open_more(self) -> None:
        """Open messages up to the limit."""
        while self._queued and len(self._open) < self._limit:
            ref, one = self._queued.popitem(last=False)
            self._open[ref] = one
            self._transmit(one)

    def _remove(self, one: PendingSend) -> None:
        """Forget a message: it is acked or failed, or its caller was cancelled."""
        if one.timer is not None:
            one.timer.cancel()
        self._open.pop(one.ref, None)
        self._queued.pop(one.ref, None)
        if one.room in self._empty and not self._has(one.room):
            self._empty.pop(one.room).set()
        self._open_more()

    def send_all(self) -> None:
        """Send each open message not yet sent on this connection, if its room is live, as far as the pace allows it."""
        for one in self._open.values():
            if not self._transmit(one):
                return

    def _transmit(self, one: PendingSend) -> bool:
        """Send a message if its room is live. Return whether the pace allows the next one.

        Without a live room the server would join the room anew, and leave a gap.
        """
        if one.sent or one.acked.done() or not self._connection.is_open or not self._rooms.is_live(one.room):
            return True
        if one.age is not None and one.age.seconds > self._window_s:
            one.fail(OutcomeUnknown(one.ref))
            return True
        if self._is_too_large(one):
            one.fail(TooLarge(f"the message makes a frame of more than {self._frame_bytes:.0f} bytes"))
            return True
        if not self._pace.take(message=True):
            return False
        one.sent = True
        one.attempts += 1
        one.age = one.age or Age()
        try:
            self._connection.send("clientMessages", one.payload)
        except TypeError as e:  # a text that is not valid Unicode
            one.fail(e)
        return True

    def _is_too_large(self, one: PendingSend) -> bool:
        """Whether the server would close the connection for good because of this frame."""
        if len(one.text) * MOST_BYTES_PER_CHARACTER < self._frame_bytes / 2:
            return False
        with suppress(TypeError):
            return len(frames.encode("clientMessages", one.payload).encode()) > self._frame_bytes
        return False

    def _check_time(self, one: PendingSend) -> None:
        """End the wait for an ack, or go on waiting."""
        loop = asyncio.get_running_loop()
        if one.age is not None:
            left_s = self._ack_timeout_s - one.age.seconds
        else:
            left_s = max(one.began_at, self._acked_at) + self._ack_timeout_s - loop.time()
        if left_s > 0:
            one.timer = loop.call_later(left_s, self._check_time, one)
        elif one.age is not None:
            one.fail(OutcomeUnknown(one.ref))
        else:
            one.fail(TimeoutError(f"the message was not sent, as nothing could be sent for {self._ack_timeout_s:g} s"))

    async def wait_until_empty(self, room: str) -> None:
        """Wait until no message of a room is left."""
        while self._has(room):
            await self._empty.setdefault(room, asyncio.Event()).wait()

    def _has(self, room: str) -> bool:
        return any(one.room == room for one in chain(self._open.values(), self._queued.values()))

    # -- frames of the server ----------------------------------------------------------------------------------------

    def on_ack(self, payload: dict[str, Any]) -> None:
        """Take an `ack` frame. One for a message whose caller was cancelled has no effect."""
        self._acked_at = asyncio.get_running_loop().time()
        one = self._open.get(payload["ref"])
        if one is not None and not one.acked.done():
            [stored] = payload["messages"]
            at = payload["epoch"], stored["seq"], stored["id"], stored["timestamp"]
            one.acked.set_result(Ack(one.ref, one.room, *at))

    def on_error(self, ref: str | None, error: ChatError) -> bool:
        """Take an `error` frame and return whether it answers a message."""
        if ref is None or (one := self._open.get(ref)) is None:
            return False
        one.failures += isinstance(error, Internal)
        if isinstance(error, RateLimited | Overloaded):  # this attempt stored nothing
            one.attempts -= 1
            one.age = one.age if one.attempts else None
        if error.retriable or (isinstance(error, Internal) and one.failures < INTERNAL_TRIES):
            one.sent = False
        else:
            one.fail(error)
        return True

    def fail_room(self, room: str, error: ChatError) -> None:
        """Raise an error for all messages of a room that the server refused for good."""
        for one in chain(self._open.values(), self._queued.values()):
            if one.room == room:
                one.fail(error)

    # -- connections -------------------------------------------------------------------------------------------------

    def on_open(self, limits: object) -> None:
        """Take the ref window and the size of a frame from the limits in a `hello`, if it tells them."""
        told: dict[str, Any] = limits if isinstance(limits, dict) else {}
        self._window_s = (frames.number(told.get("refWindowSeconds")) or REF_WINDOW_S) * WINDOW_SHARE
        self._frame_bytes = frames.number(told.get("frameBytes")) or math.inf

    def on_lost(self) -> None:
        """Send each message again on the next connection."""
        for one in self._open.values():
            one.sent = False

    def fail_all(self, failure: BaseException) -> None:
        """Raise the failure in each caller of `send`: the client has ended."""
        for one in chain(self._open.values(), self._queued.values()):
            one.fail(failure)
