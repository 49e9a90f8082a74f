"""The client's rooms: joined, left, and joined again at their positions on each new connection.

A room with a gap is joined again after a pause. A caller of `join` waits here until the room is live or the server
refused it for good.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from chatroom_client.connection import Connection
from chatroom_client.errors import ChatError, Forbidden, Internal
from chatroom_client.events import Event, EventQueue, Removed
from chatroom_client.leaves import LeaveRequests
from chatroom_client.pace import Pace
from chatroom_client.refs import Refs
from chatroom_client.room import FollowedRoom, pushed_messages
from chatroom_client.types import Joined, Position

log = logging.getLogger("chatroom_client")


class FollowedRooms:
    """The rooms of one client, by id."""

    def __init__(self, connection: Connection, events: EventQueue, pace: Pace, refs: Refs) -> None:
        self._connection = connection
        self._events = events
        self._pace = pace
        self._refs = refs
        self._rooms: dict[str, FollowedRoom] = {}
        self._joining: dict[str, list[asyncio.Future[Joined]]] = {}  # by room, the callers of `join`
        self._leaves = LeaveRequests(connection, pace, refs)

    # -- state -------------------------------------------------------------------------------------------------------

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    @property
    def positions(self) -> dict[str, Position]:
        """The position of each room that was joined."""
        return {name: room.position for name, room in self._rooms.items() if room.position is not None}

    def is_live(self, room: str) -> bool:
        """Whether a room is joined on the present connection, without a gap."""
        return room in self._rooms and self._rooms[room].live

    # -- requests of the client --------------------------------------------------------------------------------------

    async def join(self, room: str, since: Position | None) -> Joined:
        """Join a room and return when it is live.

        Raises the server's final refusal, and the failure given to `fail_all`.
        """
        one = self.follow(room, since)
        one.leaving = False
        if (answer := one.joined) is not None:
            return answer
        joined: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        self._joining.setdefault(room, []).append(joined)
        return await joined

    def follow(self, room: str, since: Position | None = None) -> FollowedRoom:
        """Follow a room from now on, and return it. A room that is not live is joined as soon as the server can."""
        one = self._rooms.get(room)
        if one is None:
            one = self._rooms[room] = FollowedRoom(room, since)
        if not one.live:
            self._send_join(one)
        return one

    def plan_leave(self, room: str) -> None:
        """Mark a room to be left. A join before `leave` removes the mark."""
        if room in self._rooms:
            self._rooms[room].leaving = True

    async def leave(self, room: str, timeout_s: float) -> None:
        """Leave a room that is still marked. Raises as LeaveRequests.leave does."""
        if room not in self._rooms or not self._rooms[room].leaving:
            return
        del self._rooms[room]
        self._answer_joins(room, Forbidden(f"{room} was left meanwhile"))
        if self._connection.is_open:
            await self._leaves.leave(room, timeout_s)

    def watch(self, room: str, *, on: bool) -> None:
        """Request presence frames of a room, or no more of them. Raises KeyError if the room is not joined."""
        one = self._rooms[room]
        one.watched, one.watch_due = on, True
        self._send_watch(one)

    def send_all(self) -> None:
        """Send the leaves that waited for their turn, join each room that is not live, and watch the others."""
        self._leaves.send_held(self._rooms)
        for room in self._rooms.values():
            if not room.live:
                self._send_join(room)
            self._send_watch(room)

    def _send_join(self, room: FollowedRoom) -> None:
        """Join a room, at its position if it has one."""
        if not self._connection.is_open or room.join_ref is not None or not self._pace.take():
            return
        room.join_ref = self._refs.new()
        payload: dict[str, Any] = {"roomId": room.room, "ref": room.join_ref}
        if room.position is not None:
            payload["since"] = {"epoch": room.position.epoch, "seq": room.position.seq}
        self._connection.send("joinRoom", payload)

    def _send_watch(self, room: FollowedRoom) -> None:
        """Request presence frames of a room, or no more of them, if that is due."""
        if room.watch_due and room.live and self._connection.is_open and self._pace.take():
            room.watch_due, room.watch_ref = False, self._refs.new()
            payload = {"roomId": room.room, "watch": room.watched, "ref": room.watch_ref}
            self._connection.send("requestPresence", payload)

    # -- connections -------------------------------------------------------------------------------------------------

    def on_lost(self) -> None:
        """Forget the state of the lost connection."""
        for room in self._rooms.values():
            room.on_lost()
        self._leaves.on_lost()

    def fail_all(self, failure: BaseException) -> None:
        """Raise the failure in each caller of `join`: the client has ended."""
        for room in list(self._joining):
            self._answer_joins(room, failure)
        self._leaves.on_lost()

    # -- frames of the server ----------------------------------------------------------------------------------------

    def on_messages(self, payload: dict[str, Any]) -> None:
        """Take a `serverMessages` frame. One without an epoch was pushed and is outside of the room's log."""
        room = self._rooms.get(payload["roomId"])
        if not payload.get("epoch"):
            self._put(pushed_messages(payload))
        elif room is not None:
            was_live = room.live
            self._put(room.on_messages(payload))
            if was_live and not room.live:
                self._join_later(room)

    def on_joined(self, payload: dict[str, Any]) -> None:
        """Take a `joined` frame."""
        name = payload["roomId"]
        room = self._rooms.get(name)
        if room is None:
            if name not in self._leaves:  # a message joined it, and its sender was cancelled
                self._leaves.leave_in_background(name)
            return
        self._put(room.on_joined(payload))
        if (answer := room.joined) is None:
            self._join_later(room)
            return
        self._answer_joins(name, answer)
        room.watch_due = room.watch_due or room.watched
        self._send_watch(room)

    def on_left(self, payload: dict[str, Any]) -> None:
        """Take a `left` frame."""
        self._leaves.on_left(payload["roomId"])

    def joined_with(self, ref: str | None) -> str | None:
        """Return the room whose last `joinRoom` carries this ref, if there is one."""
        if ref is None:
            return None
        return next((name for name, room in self._rooms.items() if ref in {room.join_ref, room.joined_ref}), None)

    def on_join_error(self, room: str, error: ChatError) -> bool:
        """Take the `error` frame that answers a join. Return whether the refusal is final and the room is gone."""
        one = self._rooms[room]
        one.on_lost()
        if error.retriable or isinstance(error, Internal):
            return False
        del self._rooms[room]
        if one.position is not None:
            self._events.put(Removed(room, error.message))
        self._answer_joins(room, error)
        return True

    def on_leave_error(self, ref: str | None, error: ChatError) -> bool:
        """Take an `error` frame and return whether it answers a `leaveRoom`."""
        return self._leaves.on_error(ref, error)

    def on_watch_error(self, ref: str | None, error: ChatError) -> bool:
        """Take an `error` frame and return whether it answers a `requestPresence`."""
        room = next((one for one in self._rooms.values() if ref is not None and one.watch_ref == ref), None)
        if room is None:
            return False
        room.watch_due = error.retriable or isinstance(error, Internal)
        return True

    def _answer_joins(self, room: str, answer: Joined | BaseException) -> None:
        """Return the answer from each waiting `join` of a room, or raise it there."""
        for joining in self._joining.pop(room, ()):
            if joining.done():  # cancelled
                continue
            if isinstance(answer, Joined):
                joining.set_result(answer)
            else:
                joining.set_exception(answer)

    def _join_later(self, room: FollowedRoom) -> None:
        log.warning("A message of %.200a is missing behind %s; the room is joined again", room.room, room.position)
        self._pace.pause()

    def _put(self, events: Iterable[Event]) -> None:
        for event in events:
            self._events.put(event)
