"""Events that the client yields, and the bounded queue in which they wait for the reader.

The queue reports each message that it drops: the reader gets a Hole in its place.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chatroom_client.types import Message, Position, User


@dataclass(slots=True, frozen=True)
class Hole:
    """A gap in a room: the messages between `after` and the room's next message never come.

    `why` is `lost` when the server no longer has the messages, and `unread` when the reader was too slow and the event
    queue dropped them.
    """

    room: str
    after: Position
    why: Literal["lost", "unread"]


@dataclass(slots=True, frozen=True)
class Presence:
    """The users online in a watched room: their number, and at most 100 of them by name."""

    room: str
    online: int
    users: tuple[User, ...]


@dataclass(slots=True, frozen=True)
class System:
    """A text that is not a frame of the protocol, pushed by an operator or a backend. Show it as it is."""

    text: str


@dataclass(slots=True, frozen=True)
class Connected:
    """The server said hello. The messages missed since the last connection follow, room by room."""

    node: str
    user: User


@dataclass(slots=True, frozen=True)
class Reconnecting:
    """The connection was lost or could not be made. The next attempt starts in `wait_s` seconds."""

    code: int  # the close code, or 1006 when the server gave none
    reason: str
    wait_s: float


@dataclass(slots=True, frozen=True)
class Removed:
    """The server refused to let this client back into a room that it had joined."""

    room: str
    reason: str


Event: TypeAlias = Message | Hole | Presence | System | Connected | Reconnecting | Removed


class EventQueue:
    """Events in the order of their arrival, for one reader.

    Bound: at most `limit` events wait. One more drops the oldest event, so a client that only sends needs no reader.
    In place of a room's dropped messages, the reader gets one Hole before that room's next message.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("events_limit must be at least 1")
        self._limit = limit
        self._events: deque[Event] = deque()
        self._holes: dict[str, Hole] = {}  # by room, each starts at the first dropped message
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    def put(self, event: Event) -> None:
        """Add an event, and drop the oldest one if the queue is full."""
        self._events.append(event)
        if len(self._events) > self._limit:
            self._drop(self._events.popleft())
        self._changed.set()

    def end(self, failure: BaseException) -> None:
        """End the queue: once it is empty, `get` raises the failure."""
        self._failure = self._failure or failure
        self._changed.set()

    async def get(self) -> Event:
        """Wait for the next event and return it. Raises the failure given to `end`."""
        while not self._events:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()
        first = self._events[0]
        if isinstance(first, (Message, Hole)) and (hole := self._holes.pop(first.room, None)) is not None:
            return hole
        return self._events.popleft()

    def _drop(self, event: Event) -> None:
        if isinstance(event, Message) and event.room not in self._holes:
            self._holes[event.room] = Hole(event.room, Position(event.epoch, max(0, event.seq - 1)), "unread")
        elif isinstance(event, Hole):
            self._holes.setdefault(event.room, event)
