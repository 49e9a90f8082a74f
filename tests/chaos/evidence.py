"""What a run leaves behind: everything the checker judges by. Pure; times are seconds since the epoch (time.time())."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Acked(NamedTuple):
    """A message whose sender got its ack. `key` is its content: no two messages of a run share one."""

    key: str
    room: str
    epoch: int
    seq: int
    id: str
    at: float


class Stored(NamedTuple):
    """A message as history shows it afterwards."""

    seq: int
    epoch: int
    id: str
    key: str


class Seen(NamedTuple):
    """A message as one client was sent it."""

    epoch: int
    seq: int
    id: str
    key: str
    at: float


class Told(NamedTuple):
    """A hole that a client was told of: `recovered: false`, its messages begin behind it."""

    at: float
    before: int  # index in the view's `seen` of what came next


class Span(NamedTuple):
    """A time from one moment to another; `ended` is infinite while it goes on."""

    began: float
    ended: float


class Broken(NamedTuple):
    """A frame that the protocol forbids."""

    at: float
    text: str  # for people: whose, which, why


@dataclass
class View:
    """What one client saw of one room, from a join without `since` until it left or the run ended."""

    client: str
    room: str
    epoch: int  # the position it joined at: all behind it is to be seen
    seq: int
    seen: list[Seen] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    whole: bool = False  # it stayed until the end, so it must have seen the room's last message too
    joined_at: float = 0.0  # what was appended before is history to it: it did not wait for that
    shown: list[Seen] = field(default_factory=list)  # what the join showed of before
    apart: list[Span] = field(default_factory=list)  # from each loss of the client's connection until joined again


class Produced(NamedTuple):
    """One message in Kafka; a record of several is several of these. In the order of each partition."""

    partition: int
    offset: int
    at: float  # when Kafka, or Logic, stamped it
    room: str
    epoch: int
    seq: int
    id: str
    key: str


class Published(NamedTuple):
    """One message as Redis published it."""

    segment: int  # a new one with each connection of the tap: between two of them messages may be missing
    room: str
    epoch: int
    seq: int
    id: str


class Pushed(NamedTuple):
    """One message that Job pushed to the tap, a node that is in every room and never fails."""

    at: float
    room: str
    epoch: int
    seq: int
    id: str


class Struck(NamedTuple):
    """One fault: from its beginning until the part was ready again."""

    number: int
    kind: str
    began: float
    ended: float
    what: str  # "SIGKILL comet-1", for people


@dataclass
class Evidence:
    """All of a run."""

    began: float
    ended: float
    acked: list[Acked] = field(default_factory=list)
    stored: dict[str, list[Stored]] = field(default_factory=dict)  # by room, oldest first
    views: list[View] = field(default_factory=list)
    produced: list[Produced] = field(default_factory=list)  # by partition, then by offset
    published: list[Published] = field(default_factory=list)  # in the order in which they came
    pushed: list[Pushed] = field(default_factory=list)  # in the order in which they came
    # Messages without a position, POST /logic/broadcast: those that were answered 200, and those the tap was pushed.
    broadcast_acked: list[str] = field(default_factory=list)
    broadcast_pushed: list[str] = field(default_factory=list)
    faults: list[Struck] = field(default_factory=list)
    dead_letters: int = 0  # of the outbox and of Kafka
    unexpected: list[str] = field(default_factory=list)  # an exit nobody asked for, a traceback in a log
    refused: dict[str, int] = field(default_factory=dict)  # errors that senders got, by code; all were tried again
    reconnects: int = 0
    joins: int = 0
    protocol: list[Broken] = field(default_factory=list)  # frames that must not come
    offered: list[float] = field(default_factory=list)  # when each message was given to a client, acked or not
    held_back: int = 0  # messages that were due while too many were unacked: never offered
    joining: list[Span] = field(default_factory=list)  # each joinRoom until its answer, or the connection's end
