"""Requests to leave rooms: each is sent until the server answers `left` or the connection is lost.

The server answers in the order of the requests. A `left` frame carries no ref, an `error` frame does. A request that
was refused for the moment is sent again after a pause (pace.py), unless the room was joined again by then.
"""

import asyncio
import logging
from collections.abc import Container
from dataclasses import dataclass

from chatroom_client.connection import Connection
from chatroom_client.errors import ChatError, Internal
from chatroom_client.pace import Pace
from chatroom_client.refs import Refs

log = logging.getLogger("chatroom_client")


@dataclass(slots=True, eq=False)
class LeaveRequest:
    """A request to leave one room."""

    room: str
    left: asyncio.Future[None] | None = None  # None if no caller waits

    def end(self, error: ChatError | None = None) -> None:
        """Return from the waiting call, or raise the error in it."""
        if self.left is None or self.left.done():
            return
        if error is None:
            self.left.set_result(None)
        else:
            self.left.set_exception(error)


class LeaveRequests:
    """The open requests on one connection. Bound: the joined rooms."""

    def __init__(self, connection: Connection, pace: Pace, refs: Refs) -> None:
        self._connection = connection
        self._pace = pace
        self._refs = refs
        self._sent: dict[str, LeaveRequest] = {}  # by ref, in the order of sending
        self._held: list[LeaveRequest] = []  # to be sent when the pace allows it

    def __contains__(self, room: str) -> bool:
        return any(one.room == room for one in (*self._sent.values(), *self._held))

    async def leave(self, room: str, timeout_s: float) -> None:
        """Leave a room. Return when the server confirmed it or the connection is lost.

        Raises TimeoutError without an answer in time, and the server's final refusal.
        """
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = LeaveRequest(room, left)
        self._send(request)
        try:
            async with asyncio.timeout(timeout_s):
                await left
        except TimeoutError:
            self._forget(request)  # otherwise the next `left` of this room would match this request
            raise

    def leave_in_background(self, room: str) -> None:
        """Leave a room for which no caller waits."""
        self._send(LeaveRequest(room))

    def send_held(self, joined: Container[str]) -> None:
        """Send the requests that waited for their turn, except for rooms that were joined again."""
        held, self._held = self._held, []
        for request in held:
            if request.room in joined:
                request.end()
            else:
                self._send(request)

    def on_left(self, room: str) -> None:
        """Take a `left` frame: it answers the first request that was sent for its room."""
        ref = next((ref for ref, one in self._sent.items() if one.room == room), None)
        if ref is not None:
            self._sent.pop(ref).end()

    def on_error(self, ref: str | None, error: ChatError) -> bool:
        """Take an `error` frame and return whether it answers a request."""
        if ref is None or (request := self._sent.pop(ref, None)) is None:
            return False
        if error.retriable or isinstance(error, Internal):
            self._held.append(request)
        else:
            log.warning("The server refused to let this client leave %.200a: %.200a", request.room, error.message)
            request.end(error)
        return True

    def on_lost(self) -> None:
        """Return from all waiting calls: without a connection no room is joined."""
        for request in (*self._sent.values(), *self._held):
            request.end()
        self._sent.clear()
        self._held.clear()

    def _send(self, request: LeaveRequest) -> None:
        if not self._pace.take():
            self._held.append(request)
            return
        ref = self._refs.new()
        self._sent[ref] = request
        self._connection.send("leaveRoom", {"roomId": request.room, "ref": ref})

    def _forget(self, request: LeaveRequest) -> None:
        self._sent = {ref: one for ref, one in self._sent.items() if one is not request}
        self._held = [one for one in self._held if one is not request]
