"""Hop 2 of 9: the session, the server side of one connection; from comet/transport.py, to common/store.py.

Owns who the user is and which rooms the session is in; comet/greeting.py says hello, comet/allowance.py knows how fast
it may send. Frames are dealt with in the order in which they came: one that has to wait for Redis holds back those
behind it (comet/backlog.py); when they are too many, the socket is not read until there is room again. Messages don't
wait for one another: the store's lane keeps order.

Whatever a client sends, the worst that happens is an error frame to it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from comet import frames, metrics
from comet.allowance import Allowance
from comet.backlog import Backlog
from comet.close_codes import CloseCode
from comet.context import Context
from comet.greeting import ClosableTransport, Greeting
from comet.join import Join
from comet.room import Room
from common import logs
from common.envelope import User
from common.errors import BadRequest, ChatError, Forbidden, Internal, Overloaded, RateLimited, Unavailable
from common.positions import Position
from common.redis_client import REDIS_FAULTS
from common.store import Appended

REST_S: Final = 0.1  # a client that sends too fast is not read for so long

log = logs.get()


class SessionTransport(ClosableTransport, Protocol):
    """The part of the transport that a session uses."""

    @property
    def writer(self) -> Callable[[bytes], None]:
        """The method that writes WebSocket frames."""

    async def drained(self) -> None:
        """Return once the client has taken most of what was written."""

    def pause_reading(self) -> None:
        """Read no more from the client."""

    def resume_reading(self) -> None:
        """Read on."""

    def rest(self, seconds: float) -> None:
        """Read nothing from the client for so long."""

    def fail(self, code: CloseCode, reason: str = "") -> None:
        """Close without waiting for the client's half of the handshake."""


class Session:
    """One user's connection."""

    __slots__ = (
        "_allowance",
        "_backlog",
        "_busy",
        "_context",
        "_transport",
        "ended",
        "rooms",
        "user",
        "write",
    )

    def __init__(self, context: Context, transport: SessionTransport, user: User) -> None:
        self._context = context
        self._transport = transport
        self.user = user
        self.rooms: dict[str, Room] = {}
        self.write: Callable[[bytes], None] = transport.writer  # replaced when the session ends
        self.ended = False
        self._backlog: Backlog | None = None  # made when it is needed, which most never do
        self._busy = False
        self._allowance = Allowance(context.settings)

    # -- what the transport calls ------------------------------------------------------------------------------------

    def begin(self, rooms: list[str]) -> None:
        """Enter the rooms and say hello."""
        self._context.membership.came(self)
        self._wait_for(Greeting(self._context, self, self._transport).say(rooms), None)

    def receive(self, data: bytes | bytearray | memoryview, *, text: bool) -> None:
        """Deal with a frame, now or in its turn."""
        metrics.FRAMES_IN.inc()
        if not text:
            self._deal(None)
        elif self._busy:
            self._put_back(bytes(data))
        else:
            self._deal(bytes(data))

    def end(self) -> None:
        """Leave everything: the connection is closed or about to be."""
        if self.ended:
            return
        self.ended = True
        self.write = _discard
        for room in self.rooms.values():
            self._context.hub.leave(room, self)
        self.rooms.clear()
        self._context.membership.gone(self)

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, text: bytes) -> None:
        """Send one frame."""
        self.write(frames.websocket(text))

    async def drained(self) -> None:
        """Return once the client has taken most of what it was sent."""
        await self._transport.drained()

    def send_error(self, fault: ChatError, ref: str | None) -> None:
        """Send an error frame."""
        metrics.ERRORS.labels(fault.code).inc()
        self.send(frames.error(fault, ref))

    # -- dealing with frames -----------------------------------------------------------------------------------------

    def _deal(self, text: bytes | None) -> None:
        """Deal with a frame (None: one that is not text)."""
        ref: str | None = None
        try:
            frame = self._load(text)
            ref = frames.ref_of(frame)
            self._check_rate(frames.cost_of(frame))
            kind, payload = frames.parse(frame)
            self._DEALERS[kind](self, payload, ref)
        except RateLimited as fault:
            self._transport.rest(REST_S)
            self.send_error(fault, ref)
        except ChatError as fault:
            self.send_error(fault, ref)
        except Exception:
            log.exception("A frame could not be dealt with", user=self.user.id)
            self.send_error(Internal("a fault of the server's; try again"), ref)

    def _load(self, text: bytes | None) -> dict[str, Any]:
        try:
            return frames.load(text)
        except BadRequest:
            self._check_rate(1)  # junk counts as well
            raise

    def _put_back(self, data: bytes) -> None:
        if self._backlog is None:
            self._backlog = Backlog()
        self._backlog.put(data)
        if self._backlog.full:
            self._transport.pause_reading()

    def _wait_for(self, work: Coroutine[Any, Any, None], ref: str | None) -> None:
        """Do what has to wait for Redis; frames that come meanwhile wait behind it."""
        tasks = self._context.tasks
        if tasks is None:
            work.close()
            raise Unavailable("the node is not running")
        self._busy = True
        tasks.create_task(self._work(work, ref))

    async def _work(self, work: Coroutine[Any, Any, None], ref: str | None) -> None:
        try:
            await work
        except ChatError as fault:
            self.send_error(fault, ref)
        except REDIS_FAULTS as e:
            self.send_error(Unavailable(f"Redis is away ({type(e).__name__}); try again later"), ref)
        except Exception:
            log.exception("A frame could not be dealt with", user=self.user.id)
            self.send_error(Internal("a fault of the server's; try again"), ref)
        self._busy = False
        self._go_on()

    def _go_on(self) -> None:
        """Deal with the frames that waited, until one has to wait again."""
        backlog = self._backlog
        if backlog is None:
            return
        paused = backlog.full
        while backlog and not self._busy and not self.ended:
            self._deal(backlog.take())
        if self.ended:
            self._say_last_words(backlog)
        elif paused and not backlog.full:
            self._transport.resume_reading()

    def _say_last_words(self, backlog: Backlog) -> None:
        """Store the messages that still waited when the connection ended: many a client sends one and is gone."""
        while backlog:
            with suppress(ChatError):
                frame = frames.load(backlog.take())
                self._check_rate(frames.cost_of(frame))
                kind, payload = frames.parse(frame)
                if kind == "clientMessages":
                    contents = frames.contents_of(payload, self._context.limits)
                    self._append(frames.room_of(payload), contents, frames.ref_of(frame))

    # -- one method a frame type -------------------------------------------------------------------------------------

    def _on_hello(self, _payload: dict[str, Any], ref: str | None) -> None:
        self._wait_for(Greeting(self._context, self, self._transport).say_again(), ref)

    def _on_ping(self, _payload: dict[str, Any], _ref: str | None) -> None:
        self.send(frames.PONG)

    def _on_join_room(self, payload: dict[str, Any], ref: str | None) -> None:
        room_id, since = frames.room_of(payload), frames.since_of(payload)
        self._check_room(room_id)
        self._wait_for(self._resume(room_id, since), ref)

    def _on_leave_room(self, payload: dict[str, Any], _ref: str | None) -> None:
        room = self.rooms.pop(room_id := frames.room_of(payload), None)
        if room is not None:
            self._context.hub.leave(room, self)
        self.send(frames.left(room_id))

    def _on_client_messages(self, payload: dict[str, Any], ref: str | None) -> None:
        room_id = frames.room_of(payload)
        contents = frames.contents_of(payload, self._context.limits)
        if room_id in self.rooms:
            self._append(room_id, contents, ref)
        else:
            self._check_room(room_id)
            self._wait_for(self._join_and_append(room_id, contents, ref), ref)

    def _on_request_room_history(self, payload: dict[str, Any], ref: str | None) -> None:
        room_id = frames.room_of(payload)
        before, limit = frames.history_of(payload, self._context.settings.history_messages)
        self._wait_for(self._history(room_id, before, limit), ref)

    def _on_request_presence(self, payload: dict[str, Any], ref: str | None) -> None:
        room_id, watch = frames.room_of(payload), frames.watch_of(payload)
        room = self.rooms.get(room_id)
        if watch and room is None:
            raise Forbidden(f"join {room_id} before watching who is there", field="watch")
        if watch is not None and room is not None:
            (room.watchers.add if watch else room.watchers.discard)(self)
        self._wait_for(self._presence(room_id), ref)

    # -- what has to wait for Redis ----------------------------------------------------------------------------------

    async def _resume(self, room_id: str, since: Position | None) -> None:
        context = self._context
        room = self.rooms.pop(room_id, None)
        watched = room is not None and self in room.watchers
        if room is not None:  # starts anew: nothing of the room is sent until it is joined again
            room.remove(self)
        try:
            await Join(context.hub, context.presences, self, room_id, context.settings).resume(since)
            if watched and room_id in self.rooms:
                self.rooms[room_id].watchers.add(self)
        finally:
            if room is not None and room_id not in self.rooms:
                context.hub.leave(room, self)

    async def _join_and_append(self, room_id: str, contents: list[str], ref: str | None) -> None:
        await self._resume(room_id, None)
        self._append(room_id, contents, ref)  # also for a client that is gone by now

    async def _history(self, room_id: str, before: str | None, limit: int) -> None:
        read, more = await self._context.store.history(room_id, before, limit)
        self.send(frames.room_history(frames.json_text(room_id), read.log.epoch, read.messages, more=more))
        await self.drained()

    async def _presence(self, room_id: str) -> None:
        self.send(await self._context.presences.frame(room_id))

    # -- messages ----------------------------------------------------------------------------------------------------

    def _append(self, room_id: str, contents: list[str], ref: str | None) -> None:
        if self._context.draining:
            raise Unavailable("the server is restarting; reconnect and send again with the same ref")
        future = self._context.store.append(room_id, self.user, contents, ref)
        future.add_done_callback(partial(self._appended, room_id, ref))
        log.info("Message broadcast initiated for room %s", room_id, room=room_id)

    def _appended(self, room_id: str, ref: str | None, future: asyncio.Future[Appended]) -> None:
        if future.cancelled():
            return
        fault = future.exception()
        if fault is None:
            stored = future.result()
            self.send(frames.ack(ref, room_id, stored.epoch, stored.first_seq, stored.ids))
        elif isinstance(fault, ChatError):
            self.send_error(fault, ref)
        else:
            log.error("An append failed", room=room_id, error=repr(fault))
            self.send_error(Internal("a fault of the server's; try again with the same ref"), ref)

    def _check_room(self, room_id: str) -> None:
        most = self._context.settings.max_rooms_per_session
        if room_id not in self.rooms and len(self.rooms) >= most:
            raise Forbidden(f"a session may be in at most {most} rooms; leave one first", field="roomId")
        if self._context.full and room_id not in self._context.hub.rooms:
            raise Overloaded("this node's memory is used up: no further rooms; reconnect elsewhere, or try again later")

    def _check_rate(self, messages: int) -> None:
        """Take from the session's allowance; close who goes on and on without any. Raises RateLimited."""
        try:
            self._allowance.take(messages)
        except RateLimited:
            if self._allowance.overdrawn:  # it would go on while its answer to a closing handshake is awaited
                self._transport.fail(CloseCode.RATE_LIMITED)
            raise

    _DEALERS: ClassVar[dict[str, Callable[["Session", dict[str, Any], str | None], None]]] = {
        "hello": _on_hello,
        "ping": _on_ping,
        "joinRoom": _on_join_room,
        "leaveRoom": _on_leave_room,
        "clientMessages": _on_client_messages,
        "requestRoomHistory": _on_request_room_history,
        "requestPresence": _on_request_presence,
    }


def _discard(_data: bytes) -> None:
    """Take the place of an ended session's write."""
