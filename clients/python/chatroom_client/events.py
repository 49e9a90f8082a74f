"""The client's queue of events: bounded, and what is dropped from it is told.

Neighbours: `client.py` puts events in as frames come; whoever iterates over the client takes them out.
"""

import asyncio
from collections import deque

from chatroom_client.types import Event, Hole, Message, Position


class EventQueue:
    """Events in the order in which they came, for one reader.

    When `limit` events wait, the oldest is dropped. Memory stays bounded for who only sends, and the reader
    is told: in place of a room's dropped messages it gets one Hole, before that room's next message.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("the limit must be at least 1")
        self._limit = limit
        self._events: deque[Event] = deque()
        self._holes: dict[str, Hole] = {}  # by room: begins where its first dropped message was
        self._more = asyncio.Event()
        self._end: BaseException | None = None

    def put(self, event: Event) -> None:
        """Add an event; it may cost the oldest one."""
        self._events.append(event)
        if len(self._events) > self._limit:
            self._drop(self._events.popleft())
        self._more.set()

    def end(self, fault: BaseException) -> None:
        """Add no more: once the queue is empty, `get` raises the fault."""
        self._end = self._end or fault
        self._more.set()

    async def get(self) -> Event:
        """Return the next event, waiting for it. Raises what `end` was given."""
        while not self._events:
            if self._end is not None:
                raise self._end
            self._more.clear()
            await self._more.wait()
        first = self._events[0]
        if isinstance(first, (Message, Hole)) and (hole := self._holes.pop(first.room, None)) is not None:
            return hole
        return self._events.popleft()

    def _drop(self, event: Event) -> None:
        if isinstance(event, Message) and event.room not in self._holes:
            self._holes[event.room] = Hole(event.room, Position(event.epoch, max(0, event.seq - 1)), "unread")
        elif isinstance(event, Hole):
            self._holes.setdefault(event.room, event)
