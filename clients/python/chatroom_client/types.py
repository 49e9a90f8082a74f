"""Values that the client returns: users, positions, messages, and the answers to requests. Pure."""

from dataclasses import dataclass


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
    """A message of a room. Each message comes once, in the order of `seq`, and a Hole reports each gap.

    `recent` messages are older than the client's first join of the room, so they are history. `timestamp` is in ms
    since the Unix epoch, by the server's clock. A message that another system pushed into the room is not part of its
    log: `seq` and `epoch` are 0.
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
class Ack:
    """The server's promise that a message is stored: the room's history has it from now on."""

    ref: str
    room: str
    epoch: int
    seq: int
    id: str
    timestamp: int


@dataclass(slots=True, frozen=True)
class Joined:
    """A joined room, and the number of users online.

    `position` is behind the last message taken. `tail` is the end of the room's log at the latest join. The messages
    between the two follow as events.
    """

    room: str
    position: Position
    online: int
    tail: Position


@dataclass(slots=True, frozen=True)
class History:
    """A page of a room's history, oldest message first; `more` tells whether older messages exist.

    Each message carries the room's present epoch. `seq` continues through all epochs.
    """

    messages: tuple[Message, ...]
    more: bool
