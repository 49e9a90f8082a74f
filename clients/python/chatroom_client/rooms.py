"""The client's rooms: joined, left, and joined again where they stood whenever the server knows nothing of them.

Owns who waits for a `joined`. A room in which a message is missing is joined again after a pause. Who joins
is told when the room is live, or why it never will be.

Neighbours: `client.py` brings the frames and tells of connections; `room.py` knows what they mean for one room;
`leaves.py` leaves rooms.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from chatroom_client.connection import Link
from chatroom_client.errors import ChatError, Forbidden, Internal
from chatroom_client.events import EventQueue
from chatroom_client.leaves import Leaves
from chatroom_client.pause import Pause
from chatroom_client.refs import Refs
from chatroom_client.room import RoomView, without_position
from chatroom_client.types import Event, Joined, Position, Removed

log = logging.getLogger("chatroom_client")


class Joins:
    """The rooms of one client."""

    def __init__(self, link: Link, events: EventQueue, pause: Pause, refs: Refs) -> None:
        self._link = link
        self._events = events
        self._pause = pause
        self._refs = refs
        self._views: dict[str, RoomView] = {}
        self._joining: dict[str, list[asyncio.Future[Joined]]] = {}  # who waits for a room
        self._leaves = Leaves(link, pause, refs)

    # -- what is known -----------------------------------------------------------------------------------------------

    def __contains__(self, room: str) -> bool:
        return room in self._views

    @property
    def positions(self) -> dict[str, Position]:
        """The rooms that were joined, and behind which message each stands."""
        return {room: view.position for room, view in self._views.items() if view.position is not None}

    def is_live(self, room: str) -> bool:
        """Whether a room is joined now, and nothing is missing in it."""
        view = self._views.get(room)
        return view is not None and view.live

    def asked_with(self, ref: str | None) -> RoomView | None:
        """Return the room that was joined with this ref, if that was the last time."""
        return next((view for view in self._views.values() if ref and ref in {view.asked, view.answered}), None)

    # -- what the client wants ---------------------------------------------------------------------------------------

    async def join(self, room: str, since: Position | None) -> Joined:
        """Join a room and return when it is live. Raises what the server refuses it with, and what `end` was given."""
        view = self._views.get(room)
        if view is None:
            view = self._views[room] = RoomView(room, since)
        view.leaving = False
        if view.live and view.position is not None:
            return Joined(room, view.position, view.online)
        joined: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        self._joining.setdefault(room, []).append(joined)
        if not self._pause.is_on:
            self._ask(view)
        return await joined

    def will_leave(self, room: str) -> None:
        """Take note that a room is to be left; whoever joins it before that wants it again."""
        if room in self._views:
            self._views[room].leaving = True

    async def leave(self, room: str, timeout_s: float) -> None:
        """Leave a room that is still to be left, see Leaves.leave."""
        if room not in self._views or not self._views[room].leaving:
            return
        del self._views[room]
        self.tell(room, Forbidden(f"{room} was left meanwhile"))
        if self._link.is_open:
            await self._leaves.leave(room, timeout_s)

    def watch(self, room: str, *, on: bool) -> None:
        """Ask to be told who is in a room, or not to be. Raises KeyError if it is not joined."""
        view = self._views[room]
        view.watched = on
        if view.live:
            self._link.send("requestPresence", {"roomId": room, "watch": on})

    def ask_all(self) -> None:
        """Leave and join what waited for the end of a pause, and join all rooms that are not live."""
        self._leaves.ask_held(self._views)
        for view in self._views.values():
            if not view.live:
                self._ask(view)

    def _ask(self, view: RoomView) -> None:
        """Join a room, where it stood if it was joined before."""
        if not self._link.is_open or view.asked is not None:
            return
        view.asked = self._refs.new()
        payload: dict[str, Any] = {"roomId": view.room, "ref": view.asked}
        if view.position is not None:
            payload["since"] = {"epoch": view.position.epoch, "seq": view.position.seq}
        self._link.send("joinRoom", payload)

    # -- what becomes of the connection ------------------------------------------------------------------------------

    def lost(self) -> None:
        """Forget what the connection knew."""
        for view in self._views.values():
            view.lost()
        self._leaves.lost()

    def end(self, fault: BaseException) -> None:
        """Fail whoever joins: there will be no more answers."""
        for room in list(self._joining):
            self.tell(room, fault)
        self._leaves.lost()

    # -- what the server says ----------------------------------------------------------------------------------------

    def on_messages(self, payload: dict[str, Any]) -> None:
        """Take a `serverMessages`; one without a position is shown as it is."""
        view = self._views.get(payload["roomId"])
        if "epoch" not in payload:
            self._show(without_position(payload))
        elif view is not None:
            was_live = view.live
            self._show(view.on_messages(payload))
            if was_live and not view.live:
                self._fell_behind(view)

    def on_joined(self, payload: dict[str, Any]) -> None:
        """Take a `joined`."""
        room = payload["roomId"]
        view = self._views.get(room)
        if view is None:
            if room not in self._leaves:  # joined by a message whose sender is gone
                self._leaves.leave_unasked(room)
            return
        self._show(view.on_joined(payload))
        if not view.live or view.position is None:
            self._fell_behind(view)
            return
        self.tell(room, Joined(room, view.position, view.online))
        if view.watched:
            self._link.send("requestPresence", {"roomId": room, "watch": True})

    def on_left(self, payload: dict[str, Any]) -> None:
        """Take a `left`."""
        self._leaves.on_left(payload["roomId"])

    def leave_refused(self, ref: str | None, fault: ChatError) -> bool:
        """Take an `error`; return whether it answers a `leaveRoom`."""
        if ref is None or not self._leaves.has_asked(ref):
            return False
        self._leaves.refused(ref, fault)
        return True

    def refused(self, view: RoomView, fault: ChatError) -> bool:
        """Take an `error` that answers a join; return whether it is for good: then `tell` whoever waits."""
        view.lost()
        if fault.retriable or isinstance(fault, Internal):
            self._pause.begin()
            return False
        del self._views[view.room]
        if view.position is not None:
            self._events.put(Removed(view.room, fault.message))
        return True

    def tell(self, room: str, answer: Joined | BaseException) -> None:
        """Answer whoever waits for a room."""
        for joining in self._joining.pop(room, ()):
            if joining.done():  # cancelled
                continue
            if isinstance(answer, Joined):
                joining.set_result(answer)
            else:
                joining.set_exception(answer)

    def _fell_behind(self, view: RoomView) -> None:
        log.warning("A message of %s is missing behind %s; it is joined again", view.room, view.position)
        self._pause.begin()

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            self._events.put(event)
