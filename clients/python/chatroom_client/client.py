"""The Python client: rooms that are followed without a hole or a repeat, and messages that are sent exactly once.

    async with ChatClient("ws://localhost:8082/", name="Alice", rooms=["room_001"]) as chat:
        ack = await chat.send("room_001", "Hello")        # stored, whatever happens from now on
        async for event in chat:                          # Message, Hole, Presence, System, Connected, Reconnecting
            ...

Connections come and go: after each loss the client connects again (connection.py), joins its rooms where it stood
(rooms.py) and sends again what was not acked (client_unacked.py), with the same `ref`, which the server stores
only once. What the server refuses for the moment is tried again after a jittered wait, until which nothing else is sent
(pause.py).

Bounds: `unacked_limit` messages wait for their acks, past it `send` waits; `events_limit` events wait to be read, past
it the oldest is dropped and told (events.py).
"""

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from chatroom_client.connection import Link, LinkOptions, Trace, Waits, parse, with_query
from chatroom_client.errors import (
    CLOSED_BY_US,
    BadRequest,
    ChatError,
    Disconnected,
    Forbidden,
    Internal,
    Overloaded,
    RateLimited,
    TooLarge,
    Unavailable,
)
from chatroom_client.events import EventQueue
from chatroom_client.history import Histories
from chatroom_client.pause import Pause
from chatroom_client.refs import Refs
from chatroom_client.room import RoomView
from chatroom_client.rooms import Joins
from chatroom_client.sends import Unacked
from chatroom_client.types import (
    Ack,
    Connected,
    Event,
    History,
    Joined,
    Position,
    Presence,
    Reconnecting,
    System,
    User,
)

# Comet remembers a ref for COMET_REF_WINDOW_SECONDS (300): a message sent again later than that could be stored twice.
ACK_TIMEOUT_S: Final = 240.0
RETRY_FIRST_S: Final = 0.1
RETRY_CAP_S: Final = 2.0
ERRORS: Final[dict[str, type[ChatError]]] = {
    one.code: one for one in (BadRequest, TooLarge, Forbidden, RateLimited, Overloaded, Unavailable, Internal)
}

log = logging.getLogger("chatroom_client")


class ChatClient:
    """One user's client. Iterate over it for events; `send`, `join` and `leave` at the same time from anywhere.

    `url` may be several: each new connection goes to the next. `uid` and `name` say who a guest is, `token` (a JWT)
    who a user is where the server wants one. `rooms` are joined on entering. `trace` is shown every frame, as it is on
    the wire: ("in" or "out", text).
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, named by those who make it
        self,
        url: str | Sequence[str],
        *,
        name: str | None = None,
        uid: str | None = None,
        token: str | None = None,
        rooms: Iterable[str] = (),
        open_timeout_s: float = 10.0,
        ping_s: float = 20.0,
        reconnect_first_s: float = 0.5,
        reconnect_cap_s: float = 10.0,
        ack_timeout_s: float = ACK_TIMEOUT_S,
        unacked_limit: int = 1000,
        events_limit: int = 10_000,
        rng: random.Random | None = None,
        trace: Trace | None = None,
    ) -> None:
        rng = rng or random.Random()  # noqa: S311 - spreading load needs no secrecy
        # A guest keeps its id over reconnects: refs are kept by user.
        uid = None if token else uid or f"guest-{uuid.uuid4().hex[:12]}"
        urls = [with_query(one, uid, name) for one in ([url] if isinstance(url, str) else url)]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = LinkOptions(headers, open_timeout_s, ping_s, trace)
        self.me: User | None = None  # who the server says we are, from the first hello on
        self._link = Link(urls, self, options, Waits(reconnect_first_s, reconnect_cap_s, rng))
        self._first_rooms = list(dict.fromkeys(rooms))
        self._ack_timeout_s = ack_timeout_s
        self._events = EventQueue(events_limit)
        self._refs = Refs()
        self._pause = Pause(Waits(RETRY_FIRST_S, RETRY_CAP_S, rng), self._try_all)
        self._joins = Joins(self._link, self._events, self._pause, self._refs)
        self._unacked = Unacked(self._link, self._pause, self._joins, unacked_limit)
        self._histories = Histories(self._link, self._pause, self._refs)
        self._opened = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._ended: BaseException | None = None

    # -- its life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect and join the first rooms; a server that is away is waited for, so put a timeout around it.

        Raises Disconnected when the server does not want this client, and what `join` raises.
        """
        self._running = asyncio.create_task(self._run(), name="chat-client")
        try:
            await self._until_opened()
            async with asyncio.TaskGroup() as tasks:
                for room in self._first_rooms:
                    tasks.create_task(self.join(room))
        except BaseExceptionGroup as group:
            await self.close()
            raise group.exceptions[0] from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; whoever still waits for an answer gets Disconnected. Does nothing the second time."""
        self._end(Disconnected(CLOSED_BY_US, "closed by its owner"))
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    def drop(self) -> None:
        """Cut the connection hard, as a lost network does: for tests. The client comes back by itself."""
        self._link.drop()

    async def _run(self) -> None:
        try:
            await self._link.run()
        except Disconnected as e:
            self._end(e)
        except Exception as e:
            log.exception("The client failed")
            self._end(e)

    async def _until_opened(self) -> None:
        await self._opened.wait()
        self._check_alive()

    def _end(self, fault: BaseException) -> None:
        """Fail whoever waits: there will be no more answers."""
        if self._ended is not None:
            return
        self._ended = fault
        self._pause.stop()
        self._opened.set()
        self._events.end(fault)
        self._unacked.end(fault)
        self._joins.end(fault)
        self._histories.end(fault)

    def _check_alive(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._running is None:
            raise RuntimeError("enter the client first: async with ChatClient(...)")

    # -- what it shows -----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._link.is_open

    @property
    def reconnects(self) -> int:
        """How many times it connected after the first."""
        return max(0, self._link.opened - 1)

    @property
    def unacked(self) -> int:
        """How many messages wait for their acks."""
        return len(self._unacked)

    @property
    def rooms(self) -> dict[str, Position]:
        """The rooms that are joined, and behind which message each stands: what `join` takes as `since`."""
        return self._joins.positions

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events, for one reader. Ends when the client is closed; raises Disconnected when the server ends it."""
        return self._read_events()

    async def _read_events(self) -> AsyncIterator[Event]:
        while True:
            try:
                event = await self._events.get()
            except Disconnected as e:
                if e.code == CLOSED_BY_US:
                    return
                raise
            yield event

    # -- rooms -------------------------------------------------------------------------------------------------------

    async def join(self, room: str, since: Position | None = None) -> Joined:
        """Join a room and follow it; with `since`, from there on. Does nothing for a room that is joined.

        Cancelled or not answered in time, it is joined nevertheless, as soon as the server can. Raises TimeoutError
        when it is not live within `ack_timeout_s`, BadRequest or Forbidden when the server refuses it, Disconnected.
        """
        self._check_alive()
        async with asyncio.timeout(self._ack_timeout_s):
            return await self._joins.join(room, since)

    async def leave(self, room: str) -> None:
        """Leave a room, once all that was sent to it is acked, unless it was joined again by then.

        Does nothing for a room that is not joined.

        Raises TimeoutError when the server does not answer within `ack_timeout_s` from then on (left or not), and what
        it refuses it with for good.
        """
        self._check_alive()
        self._joins.will_leave(room)
        await self._unacked.settled(room)
        await self._joins.leave(room, self._ack_timeout_s)

    async def watch(self, room: str, *, on: bool = True) -> None:
        """Be told who is in a joined room, whenever that changes, by Presence events. Raises KeyError if not joined."""
        self._check_alive()
        self._joins.watch(room, on=on)

    async def history(self, room: str, before: str | None = None, limit: int | None = None) -> History:
        """Return a room's newest messages, or those older than the one whose id is `before`, in order.

        At most `limit`, which may not be above the server's own (COMET_HISTORY_MESSAGES, 100). Raises TimeoutError when
        there is no answer within `ack_timeout_s`, BadRequest or Forbidden when it is refused, Disconnected.
        """
        self._check_alive()
        async with asyncio.timeout(self._ack_timeout_s):
            return await self._histories.ask(room, before, limit)

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, room: str, text: str, ref: str | None = None) -> Ack:
        """Send a message, joining the room first if need be; return when it is stored.

        It is stored once, however often it has to be sent. Cancelled, it may have been stored or not: sending again
        with the same `ref` within 4 minutes stores it once. Of several sends at a time, one that the server refused for
        the moment may be stored behind later ones; await each where their order matters.

        Raises TimeoutError when there is no ack within `ack_timeout_s` (stored or not), BadRequest (TooLarge too),
        Forbidden, Internal, Disconnected.
        """
        async with asyncio.timeout(self._ack_timeout_s), self._unacked.place():
            if room not in self._joins:
                await self.join(room)
            self._check_alive()
            return await self._unacked.send(ref or self._refs.new(), room, text)

    def _try_all(self) -> None:
        """Ask again for all rooms and histories and send all messages that have to."""
        self._joins.ask_all()
        self._histories.ask_all()
        self._unacked.send_all()

    # -- what the link reports ---------------------------------------------------------------------------------------

    def on_open(self, hello: dict[str, Any]) -> None:
        """Join all rooms where they stood; messages follow as each is joined."""
        me = hello.get("me") or {}
        self.me = User(str(me.get("id", "")), str(me.get("username", "")))
        self._events.put(Connected(str(hello.get("node", "")), self.me))
        self._pause.end()
        self._opened.set()

    def on_lost(self, code: int, reason: str, wait_s: float) -> None:
        """Forget what the connection knew."""
        self._joins.lost()
        self._histories.lost()
        self._unacked.lost()
        self._events.put(Reconnecting(code, reason, wait_s))

    def on_text(self, text: str) -> None:
        """Deal with a frame."""
        frame = parse(text)
        receive = self._RECEIVERS.get(frame[0]) if frame is not None else None
        if frame is None or receive is None:
            self._events.put(System(text))
            return
        try:
            receive(self, frame[1])
        except (AttributeError, KeyError, TypeError, ValueError) as e:  # a backend may push anything to everybody
            log.warning("A frame that can't be understood: %r in %.200s", e, text)
            self._events.put(System(text))

    # -- one method a frame type -------------------------------------------------------------------------------------

    def _on_server_messages(self, payload: dict[str, Any]) -> None:
        self._joins.on_messages(payload)

    def _on_joined(self, payload: dict[str, Any]) -> None:
        self._joins.on_joined(payload)
        self._unacked.send_all()

    def _on_left(self, payload: dict[str, Any]) -> None:
        self._joins.on_left(payload)

    def _on_ack(self, payload: dict[str, Any]) -> None:
        self._unacked.ack(payload)

    def _on_history(self, payload: dict[str, Any]) -> None:
        self._histories.on_history(payload)

    def _on_presence(self, payload: dict[str, Any]) -> None:
        users = tuple(User(one["id"], one["username"]) for one in payload["users"])
        self._events.put(Presence(payload["roomId"], payload["onlineCount"], users))

    def _on_error(self, payload: dict[str, Any]) -> None:
        ref, fault = payload.get("ref"), ERRORS.get(payload["code"], BadRequest)(payload["message"])
        if self._unacked.refused(ref, fault):
            return
        if (view := self._joins.asked_with(ref)) is not None:
            self._join_failed(view, fault)
        elif not (self._joins.leave_refused(ref, fault) or self._histories.refused(ref, fault)):
            log.warning("The server reports an error: %s, %s", payload["code"], payload["message"])

    def _join_failed(self, view: RoomView, fault: ChatError) -> None:
        if self._joins.refused(view, fault):
            self._unacked.fail(view.room, fault)
            self._joins.tell(view.room, fault)

    _RECEIVERS: ClassVar[dict[str, Callable[["ChatClient", dict[str, Any]], None]]] = {
        "serverMessages": _on_server_messages,
        "joined": _on_joined,
        "left": _on_left,
        "ack": _on_ack,
        "roomHistory": _on_history,
        "presence": _on_presence,
        "error": _on_error,
        "hello": lambda _self, _payload: None,
        "pong": lambda _self, _payload: None,
    }
