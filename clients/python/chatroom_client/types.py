"""What the Python client hands out: events and answers. No behaviour.

Neighbours: `client.py` yields the events, `room.py` makes them from frames.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(slots=True, frozen=True)
class User:
    """A user as the server knows it: a stable id and the name to show."""

    id: str
    username: str


@dataclass(slots=True, frozen=True, order=True)
class Position:
    """A place in a room's log, directly behind the message `seq` of `epoch`.

    `seq` counts the room's messages without gaps. The server opens a new, larger epoch when it may have lost the end
    of the log, so a position in a later epoch is the larger one whatever its `seq`.
    """

    epoch: int
    seq: int


@dataclass(slots=True, frozen=True)
class Message:
    """A message of a room. Each comes once, in seq order, without holes but for those told by a `Hole`.

    `recent` ones were shown on joining: they are older than the join. One that another system pushed into the room
    has no place in its log: its `seq` and `epoch` are 0. `timestamp` is ms since the epoch by the server's clock.
    """

    room: str
    epoch: int
    seq: int
    id: str
    content: str
    timestamp: int
    user: User
    recent: bool = False


@dataclass(slots=True, frozen=True)
class Hole:
    """Messages of a room that this client will never see, all between `after` and the room's next message.

    Either the server no longer has them (`lost`), or the events were not read and there was no room for more
    (`unread`).
    """

    room: str
    after: Position
    why: Literal["lost", "unread"]


@dataclass(slots=True, frozen=True)
class Presence:
    """Who is online in a watched room; `users` names at most 100 of them."""

    room: str
    online: int
    users: tuple[User, ...]


@dataclass(slots=True, frozen=True)
class System:
    """A text that is no frame of the protocol, pushed by an operator or a backend: show it as it is."""

    text: str


@dataclass(slots=True, frozen=True)
class Connected:
    """The server said hello. What was missed meanwhile follows, room by room."""

    node: str
    user: User


@dataclass(slots=True, frozen=True)
class Reconnecting:
    """The connection is lost, or could not be made; the next try is in `wait_s` seconds."""

    code: int  # the close code; 1006 where there was none
    reason: str
    wait_s: float


@dataclass(slots=True, frozen=True)
class Removed:
    """The server does not let this client into a room any more that it was in."""

    room: str
    reason: str


Event: TypeAlias = Message | Hole | Presence | System | Connected | Reconnecting | Removed


@dataclass(slots=True, frozen=True)
class Ack:
    """The server's word that a message is stored: it is in the room's history, whatever happens."""

    ref: str
    room: str
    epoch: int
    seq: int
    id: str
    timestamp: int


@dataclass(slots=True, frozen=True)
class Joined:
    """Where a room's log stood when it was joined, and how many users are online."""

    room: str
    position: Position
    online: int


@dataclass(slots=True, frozen=True)
class History:
    """A page of a room's history, oldest first; `more` tells whether there is anything older.

    Its messages carry the room's present epoch; `seq` goes on through all epochs.
    """

    messages: tuple[Message, ...]
    more: bool
