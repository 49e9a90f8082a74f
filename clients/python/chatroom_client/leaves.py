"""The rooms that the client leaves: asked until the server says `left`, or until nothing is joined any more.

Owns each `leaveRoom` without an answer. Answers come in the order of asking, a `left` without a ref, an `error` with
it. What is refused for the moment is asked again after the pause; a room that is wanted again by then is not left.

Neighbours: `rooms.py` tells what is wanted and brings the frames.
"""

import asyncio
import logging
from collections.abc import Container
from dataclasses import dataclass

from chatroom_client.connection import Link
from chatroom_client.errors import ChatError, Internal
from chatroom_client.pause import Pause
from chatroom_client.refs import Refs

log = logging.getLogger("chatroom_client")


@dataclass(slots=True, eq=False)
class Leave:
    """One room that is being left."""

    room: str
    left: asyncio.Future[None] | None = None  # None: nobody waits

    def end(self, fault: ChatError | None = None) -> None:
        """Tell whoever waits."""
        if self.left is None or self.left.done():
            return
        if fault is None:
            self.left.set_result(None)
        else:
            self.left.set_exception(fault)


class Leaves:
    """What is being left on one connection; bounded by the rooms joined."""

    def __init__(self, link: Link, pause: Pause, refs: Refs) -> None:
        self._link = link
        self._pause = pause
        self._refs = refs
        self._asked: dict[str, Leave] = {}  # by ref, in the order of asking
        self._held: list[Leave] = []  # to be asked when the pause is over

    def __contains__(self, room: str) -> bool:
        return any(one.room == room for one in (*self._asked.values(), *self._held))

    def has_asked(self, ref: str) -> bool:
        """Whether a `leaveRoom` with this ref waits for its answer."""
        return ref in self._asked

    async def leave(self, room: str, timeout_s: float) -> None:
        """Leave a room; return when the server has said so or the connection is lost.

        Raises TimeoutError when it says nothing in time, and what it refuses it with for good.
        """
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        one = Leave(room, left)
        self._ask(one)
        try:
            async with asyncio.timeout(timeout_s):
                await left
        except TimeoutError:
            self._forget(one)  # or it would be taken for whom the next answer is meant
            raise

    def leave_unasked(self, room: str) -> None:
        """Leave a room that nobody waits to be out of."""
        self._ask(Leave(room))

    def ask_held(self, wanted: Container[str]) -> None:
        """Ask for what waited for the end of a pause, but for what is wanted again."""
        held, self._held = self._held, []
        for one in held:
            if one.room in wanted:
                one.end()
            else:
                self._ask(one)

    def on_left(self, room: str) -> None:
        """Take a `left`: the answer to the first that was asked for this room."""
        ref = next((ref for ref, one in self._asked.items() if one.room == room), None)
        if ref is not None:
            self._asked.pop(ref).end()

    def refused(self, ref: str, fault: ChatError) -> None:
        """Take an `error` that answers a `leaveRoom`."""
        one = self._asked.pop(ref)
        if fault.retriable or isinstance(fault, Internal):
            self._held.append(one)
            self._pause.begin()
        else:
            log.warning("The server does not let us leave %s: %s", one.room, fault.message)
            one.end(fault)

    def lost(self) -> None:
        """Tell all: nothing is joined any more."""
        for one in (*self._asked.values(), *self._held):
            one.end()
        self._asked.clear()
        self._held.clear()

    def _ask(self, one: Leave) -> None:
        if self._pause.is_on:
            self._held.append(one)
            return
        ref = self._refs.new()
        self._asked[ref] = one
        self._link.send("leaveRoom", {"roomId": one.room, "ref": ref})

    def _forget(self, one: Leave) -> None:
        self._asked = {ref: other for ref, other in self._asked.items() if other is not one}
        self._held = [other for other in self._held if other is not one]
