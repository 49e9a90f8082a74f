"""ChatClient: follows rooms without gaps or repeats, and sends each message exactly once.

    async with ChatClient("ws://localhost:8082/", name="Alice", rooms=["room_001"]) as chat:
        ack = await chat.send("room_001", "Hello")        # stored from now on
        async for event in chat:                          # Message, Hole, Presence, System, Connected, Reconnecting
            ...

After each lost connection the client reconnects (connection.py), joins its rooms at their positions (rooms.py), and
sends each message without an ack again (sends.py) with its first `ref`. The server stores a ref only once. All
frames go at the pace that the server allows. A request that it refused for the moment is sent again after a pause, and
nothing else is sent until then (pace.py).

Bounds: at most `unacked_limit` messages are on their way, then `send` waits. At most `events_limit` events wait for
the reader, then the oldest one is dropped and reported (events.py).
"""

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from chatroom_client import frames
from chatroom_client.backoff import Backoff
from chatroom_client.connection import Connection, ConnectionOptions, Trace, with_query
from chatroom_client.errors import CLOSED_BY_OWNER, Disconnected, Internal, chat_error
from chatroom_client.events import Connected, Event, EventQueue, Presence, Reconnecting, System
from chatroom_client.history import HistoryRequests
from chatroom_client.pace import Pace
from chatroom_client.refs import Refs
from chatroom_client.rooms import FollowedRooms
from chatroom_client.sends import PendingSends
from chatroom_client.types import Ack, History, Joined, Position, User

ACK_TIMEOUT_S: Final = 240.0
RETRY_FIRST_S: Final = 0.1
RETRY_CAP_S: Final = 2.0

log = logging.getLogger("chatroom_client")


class ChatClient:
    """One user's client. Iterate over it for events. Its methods may run concurrently in many tasks.

    - `url`: a WebSocket URL, or several: each new connection goes to the next.
    - `name`, `uid`: name and id of a guest.
    - `token`: a JWT that names the user, where the server requires one.
    - `rooms`: joined by `async with`.
    - `trace`: called with each frame as it is on the wire: ("in" or "out", text).
    """

    def __init__(  # noqa: PLR0913 - independent options, each with a name and a default
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
        rng = rng or random.Random()  # noqa: S311 - jitter needs no secrecy
        # A guest keeps its id over reconnects, because the server keeps refs by user.
        uid = None if token else uid or f"guest-{uuid.uuid4().hex[:12]}"
        urls = [with_query(one, uid, name) for one in ([url] if isinstance(url, str) else url)]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = ConnectionOptions(headers, open_timeout_s, ping_s, trace)
        self.me: User | None = None  # this user as the server knows it, from the first hello on
        self._connection = Connection(urls, self, options, Backoff(reconnect_first_s, reconnect_cap_s, rng))
        self._first_rooms = list(dict.fromkeys(rooms))
        self._ack_timeout_s = ack_timeout_s
        self._events = EventQueue(events_limit)
        self._refs = Refs()
        self._pace = Pace(Backoff(RETRY_FIRST_S, RETRY_CAP_S, rng), self._send_all)
        self._rooms = FollowedRooms(self._connection, self._events, self._pace, self._refs)
        self._sends = PendingSends(
            self._connection, self._pace, self._rooms, limit=unacked_limit, ack_timeout_s=ack_timeout_s
        )
        self._history = HistoryRequests(self._connection, self._pace, self._refs)
        self._greeted = asyncio.Event()  # set by the first hello, and by the end of the client
        self._running: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None  # the reason of the end

    # -- life cycle --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect and join the first rooms. Retries while the server is away, so put a timeout around it.

        Raises Disconnected when the server does not accept this client or refuses the handshake, and as `join` does.
        """
        self._running = asyncio.create_task(self._run(), name="chat-client")
        try:
            await self._greeted.wait()
            self._check_running()
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
        """Close the connection. Each waiting call raises Disconnected. A second call does nothing."""
        self._end(Disconnected(CLOSED_BY_OWNER, "closed by its owner"))
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    def drop(self) -> None:
        """Abort the connection as a network failure does, for tests. The client reconnects."""
        self._connection.drop()

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except Disconnected as e:
            self._end(e)
        except Exception as e:
            log.exception("The client failed")
            self._end(e)

    def _end(self, failure: BaseException) -> None:
        """End the client: raise the failure in each waiting call. A second call does nothing."""
        if self._failure is not None:
            return
        self._failure = failure
        self._pace.stop()
        self._greeted.set()
        self._events.end(failure)
        self._sends.fail_all(failure)
        self._rooms.fail_all(failure)
        self._history.fail_all(failure)

    def _check_running(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._running is None:
            raise RuntimeError("enter the client first: async with ChatClient(...)")

    # -- state and events --------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the client has a connection that is not known to be lost."""
        return self._connection.is_open

    @property
    def reconnects(self) -> int:
        """The number of connections after the first."""
        return max(0, self._connection.hellos - 1)

    @property
    def unacked(self) -> int:
        """The number of messages that wait for their acks."""
        return len(self._sends)

    @property
    def rooms(self) -> dict[str, Position]:
        """The joined rooms, each with its position: save it, and give it to `join` as `since`."""
        return self._rooms.positions

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events, for one reader. Ends when the client is closed; raises Disconnected when the server ends it."""
        return self._read_events()

    async def _read_events(self) -> AsyncIterator[Event]:
        while True:
            try:
                event = await self._events.get()
            except Disconnected as e:
                if e.code == CLOSED_BY_OWNER:
                    return
                raise
            yield event

    # -- rooms -------------------------------------------------------------------------------------------------------

    async def join(self, room: str, since: Position | None = None) -> Joined:
        """Join a room and follow it, from the position `since` on if given. Does nothing for a joined room.

        After a timeout or a cancellation the client still joins the room, as soon as the server can.

        Raises TimeoutError if the room is not live within `ack_timeout_s`, BadRequest or Forbidden if the server
        refuses it, Disconnected.
        """
        self._check_running()
        async with asyncio.timeout(self._ack_timeout_s):
            return await self._rooms.join(room, since)

    async def leave(self, room: str) -> None:
        """Leave a room once each message sent to it is acked. Does nothing if the room was joined again by then.

        Does nothing for a room that is not joined.

        Raises TimeoutError if the server does not answer within `ack_timeout_s` of the request, the server's final
        refusal, Disconnected.
        """
        self._check_running()
        self._rooms.plan_leave(room)
        await self._sends.wait_until_empty(room)
        await self._rooms.leave(room, self._ack_timeout_s)

    async def watch(self, room: str, *, on: bool = True) -> None:
        """Receive a Presence event at each change of a joined room's users. Raises KeyError if it is not joined."""
        self._check_running()
        self._rooms.watch(room, on=on)

    async def history(self, room: str, before: str | None = None, limit: int | None = None) -> History:
        """Return a room's newest messages, or those older than the message with the id `before`, oldest first.

        `limit` is at most the server's own limit (COMET_HISTORY_MESSAGES, 100).

        Raises TimeoutError without an answer within `ack_timeout_s`, BadRequest or Forbidden if the server refuses the
        request, Disconnected.
        """
        self._check_running()
        async with asyncio.timeout(self._ack_timeout_s):
            return await self._history.fetch(room, before, limit)

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send(self, room: str, text: str, ref: str | None = None) -> Ack:
        """Send a message and return when it is stored. Joins the room first if it is not joined.

        The server stores the message once, however often the client sends it. After a cancellation the message may be
        stored or not: a call with the same `ref` within 4 minutes stores it once. The server may refuse one of several
        concurrent sends for the moment and store it behind later ones, so await each send where the order matters.

        Any number of calls may run at a time: the messages go at the pace that the server allows, in the order of the
        calls. Waiting for its turn costs a message nothing, while others are acked. `ack_timeout_s` counts from its
        first attempt.

        Raises OutcomeUnknown without an ack within `ack_timeout_s`, and when the client would have to send the message
        again after the server may have forgotten its ref: the message may or may not be stored. Raises TimeoutError if
        nothing could be sent for `ack_timeout_s`: the message is not stored. Raises BadRequest (TooLarge among them),
        Forbidden, Internal, Disconnected.
        """
        self._check_running()
        return await self._sends.send(ref or self._refs.new(), room, text)

    def _send_all(self) -> None:
        """Send each request that is not sent yet on this connection, the messages last."""
        self._rooms.send_all()
        self._history.send_all()
        self._sends.send_all()

    # -- reports of the connection -----------------------------------------------------------------------------------

    def on_open(self, hello: dict[str, Any]) -> None:
        """Join all rooms at their positions. The messages without acks follow as each room is live."""
        self.me = frames.user_of(hello.get("me"))
        self._events.put(Connected(str(hello.get("node", "")), self.me))
        limits = hello.get("limits")
        self._sends.on_open(limits)
        self._pace.begin(limits)
        self._greeted.set()

    def on_lost(self, code: int, reason: str, wait_s: float) -> None:
        """Forget the state of the lost connection."""
        self._rooms.on_lost()
        self._history.on_lost()
        self._sends.on_lost()
        self._events.put(Reconnecting(code, reason, wait_s))

    def on_text(self, text: str) -> None:
        """Handle a received text. A backend may push any text, so one that is not a valid frame becomes a System."""
        frame = frames.parse(text)
        handle = self._HANDLERS.get(frame[0]) if frame is not None else None
        if frame is None or handle is None:
            self._events.put(System(text))
            return
        try:
            handle(self, frame[1])
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            log.warning("A frame is malformed: %.200a in %.200a", e, text[:200])
            self._events.put(System(text))

    # -- one method for each frame type ------------------------------------------------------------------------------

    def _on_server_messages(self, payload: dict[str, Any]) -> None:
        self._rooms.on_messages(payload)

    def _on_joined(self, payload: dict[str, Any]) -> None:
        self._rooms.on_joined(payload)
        self._sends.send_all()

    def _on_left(self, payload: dict[str, Any]) -> None:
        self._rooms.on_left(payload)

    def _on_ack(self, payload: dict[str, Any]) -> None:
        self._sends.on_ack(payload)

    def _on_history(self, payload: dict[str, Any]) -> None:
        self._history.on_history(payload)

    def _on_presence(self, payload: dict[str, Any]) -> None:
        users = tuple(frames.user_of(one) for one in payload["users"])
        self._events.put(Presence(payload["roomId"], payload["onlineCount"], users))

    def _on_error(self, payload: dict[str, Any]) -> None:
        retry_after_s = frames.number(payload.get("retryAfterMs")) / 1000
        ref, error = payload.get("ref"), chat_error(payload["code"], payload["message"], retry_after_s)
        if error.retriable or isinstance(error, Internal):
            self._pace.pause(error)
        if self._sends.on_error(ref, error):
            return
        if (room := self._rooms.joined_with(ref)) is not None:
            if self._rooms.on_join_error(room, error):
                self._sends.fail_room(room, error)
        elif not (
            self._rooms.on_leave_error(ref, error)
            or self._rooms.on_watch_error(ref, error)
            or self._history.on_error(ref, error)
        ):
            log.warning("The server reports an error: %.200a, %.200a", payload["code"], payload["message"])

    _HANDLERS: ClassVar[dict[str, Callable[["ChatClient", dict[str, Any]], None]]] = {
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
