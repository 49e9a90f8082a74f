"""Hop 2 of 9: the session, the server side of one connection; from comet/transport.py, to common/store.py.

Owns who the user is, which rooms the session is in and how fast it may send. Frames are dealt with in the order in
which they came: one that has to wait for Redis holds back those behind it, up to BACKLOG_FRAMES or BACKLOG_BYTES, then
the socket is not read until there is room again. Messages don't wait for one another: the store's lane keeps order.

Whatever a client sends, the worst that happens is an error frame to it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from comet import frames, metrics
from comet.config import Settings
from comet.hub import Hub
from comet.join import Join
from comet.membership import Membership
from comet.presence import Presences
from comet.room import Room
from common import logs
from common.envelope import User
from common.errors import BadRequest, ChatError, Forbidden, Internal, Overloaded, RateLimited, Unavailable
from common.positions import Position
from common.redis_client import REDIS_FAULTS
from common.store import Appended, Store

if TYPE_CHECKING:
    from comet.transport import Transport

BACKLOG_FRAMES: Final = 64
BACKLOG_BYTES: Final = 65_536
REST_S: Final = 0.1  # a client that sends too fast is not read for so long
HELLO_BYTES: Final = 262_144  # past it the rooms of a hello come without messages; their history can be asked for
TRY_AGAIN_LATER: Final = 1013
RATE_LIMITED: Final = 4002

log = logs.get()


class Context:
    """What all sessions of a node share."""

    def __init__(
        self, settings: Settings, store: Store, hub: Hub, presences: Presences, membership: Membership
    ) -> None:
        self.settings = settings
        self.store = store
        self.hub = hub
        self.presences = presences
        self.membership = membership
        self.limits = frames.Limits(settings.max_content_bytes, settings.max_messages_per_frame)
        self.tasks: asyncio.TaskGroup | None = None  # owns what sessions wait for; set when the node runs
        self.draining = False  # no new messages: the node is about to stop
        self.full = False  # no new rooms: the node's memory is used up


class Session:
    """One user's connection."""

    __slots__ = (
        "_allowance",
        "_allowed_at",
        "_backlog",
        "_backlog_bytes",
        "_busy",
        "_context",
        "_limited_since",
        "_transport",
        "ended",
        "rooms",
        "user",
        "write",
    )

    def __init__(self, context: Context, transport: "Transport", user: User) -> None:
        self._context = context
        self._transport = transport
        self.user = user
        self.rooms: dict[str, Room] = {}
        self.write: Callable[[bytes], None] = transport.writer  # replaced when the session ends
        self.ended = False
        self._backlog: deque[bytes] | None = None  # frames behind one that waits for Redis
        self._backlog_bytes = 0
        self._busy = False
        self._allowance = float(context.settings.rate_burst_messages)
        self._allowed_at = time.monotonic()
        self._limited_since = 0.0  # since when it sends more than it may, without a pause; 0: not now

    # -- what the transport calls ------------------------------------------------------------------------------------

    def begin(self, rooms: list[str]) -> None:
        """Enter the rooms and say hello."""
        self._context.membership.came(self)
        self._wait_for(self._hello(rooms), None)

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
            self._backlog = deque()
        self._backlog.append(data)
        self._backlog_bytes += len(data)
        if self._has_enough():
            self._transport.pause_reading()

    def _take_up(self, backlog: deque[bytes]) -> bytes:
        data = backlog.popleft()
        self._backlog_bytes -= len(data)
        return data

    def _has_enough(self) -> bool:
        waiting = len(self._backlog) if self._backlog is not None else 0
        return waiting >= BACKLOG_FRAMES or self._backlog_bytes >= BACKLOG_BYTES

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
        paused = self._has_enough()
        while backlog and not self._busy and not self.ended:
            self._deal(self._take_up(backlog))
        if self.ended:
            self._say_last_words()
        elif paused and not self._has_enough():
            self._transport.resume_reading()

    def _say_last_words(self) -> None:
        """Store the messages that still waited when the connection ended: many a client sends one and is gone."""
        while self._backlog:
            with suppress(ChatError):
                frame = frames.load(self._take_up(self._backlog))
                self._check_rate(frames.cost_of(frame))
                kind, payload = frames.parse(frame)
                if kind == "clientMessages":
                    contents = frames.contents_of(payload, self._context.limits)
                    self._append(frames.room_of(payload), contents, frames.ref_of(frame))

    # -- one method a frame type -------------------------------------------------------------------------------------

    def _on_hello(self, _payload: dict[str, Any], ref: str | None) -> None:
        self._wait_for(self._hello_again(), ref)

    def _on_ping(self, _payload: dict[str, Any], _ref: str | None) -> None:
        self.send(b'{"type":"pong","payload":{}}')

    def _on_join_room(self, payload: dict[str, Any], ref: str | None) -> None:
        room_id, since = frames.room_of(payload), frames.since_of(payload)
        self._check_room(room_id)
        self._wait_for(self._resume(room_id, since), ref)

    def _on_leave_room(self, payload: dict[str, Any], _ref: str | None) -> None:
        room = self.rooms.pop(room_id := frames.room_of(payload), None)
        if room is not None:
            self._context.hub.leave(room, self)
        self.send(frames.frame("left", {"roomId": room_id}))

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

    async def _hello(self, room_ids: list[str]) -> None:
        """Enter rooms and greet; what they deliver meanwhile is kept back until the hello is out, within its bound."""
        kept = deque[bytes]()
        kept_bytes = 0

        def keep(data: bytes) -> None:
            nonlocal kept_bytes
            kept.append(data)
            kept_bytes += len(data)
            if kept_bytes > self._context.settings.outbound_bytes:
                kept.clear()
                self._transport.cut_off()

        write, self.write = self.write, keep
        try:
            rooms = await self._enter(room_ids)
        except (ChatError, *REDIS_FAULTS) as e:
            log.warning("A client could not be let in", user=self.user.id, error=str(e))
            self._transport.close(TRY_AGAIN_LATER, "Redis is away; try again later")
            return
        if not self.ended:
            self.write = write
            self._greet(rooms)
            for data in kept:
                write(data)

    async def _enter(self, room_ids: list[str]) -> list[bytes]:
        rooms: list[bytes] = []
        size = 0
        for room_id in room_ids:
            if self.ended:  # the client is gone
                break
            rooms.append(await self._join(room_id).fresh(without_messages=size > HELLO_BYTES))
            size += len(rooms[-1])
        return rooms

    def _greet(self, rooms: list[bytes]) -> None:
        self.send(frames.hello(self.user.to_json(), self._context.membership.incarnation, rooms))

    async def _hello_again(self) -> None:
        hub, count = self._context.hub, self._context.settings.join_messages
        self._greet([await hub.recent(room, count) for room in list(self.rooms.values())])

    def _join(self, room_id: str) -> Join:
        context = self._context
        return Join(context.hub, context.presences, self, room_id, context.settings)

    async def _resume(self, room_id: str, since: Position | None) -> None:
        room = self.rooms.pop(room_id, None)
        watched = room is not None and self in room.watchers
        if room is not None:  # starts anew: nothing of the room is sent until it is joined again
            room.remove(self)
        try:
            await self._join(room_id).resume(since)
            if watched and room_id in self.rooms:
                self.rooms[room_id].watchers.add(self)
        finally:
            if room is not None and room_id not in self.rooms:
                self._context.hub.leave(room, self)

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
            self.send(future.result().to_json(ref, room_id))
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
        """Take from the session's allowance, which fills up with time; close who goes on and on without any."""
        settings, now = self._context.settings, time.monotonic()
        earned = (now - self._allowed_at) * settings.rate_messages_per_second
        self._allowance = min(float(settings.rate_burst_messages), self._allowance + earned)
        self._allowed_at = now
        if self._allowance > settings.rate_burst_messages / 2:
            self._limited_since = 0.0  # it made a pause
        if messages <= self._allowance:
            self._allowance -= messages
            return
        self._limited_since = self._limited_since or now
        if now - self._limited_since > settings.rate_patience_seconds:
            self._transport.fail(RATE_LIMITED, "rate limited too long")  # it would go on while its answer is awaited
        raise RateLimited(f"at most {settings.rate_messages_per_second:g} messages a second; slow down")

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
