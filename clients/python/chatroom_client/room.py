"""One room as the client follows it: its position in the log, and the new messages in each frame. Pure.

The room takes each message once, in the order of `seq`, and drops repeats. A message that does not follow the last one
reveals a gap. The room is then not live: it takes no message until it is joined again at its position. The server
reports a gap that it can't fill.

The first join fixes the end of the history: each message up to the `tail` of that `joined` is `recent`, in whichever
frame and on whichever connection it comes. A room that starts at a saved position has no history.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

from chatroom_client.events import Hole
from chatroom_client.types import Joined, Message, Position, User

START: Final = Position(0, 0)  # before each message


class FollowedRoom:
    """One room of one client."""

    def __init__(self, room: str, since: Position | None = None) -> None:
        self.room = room
        self.position = since  # behind the last message taken; None before the first join
        self.tail = START  # the end of the log at the latest join
        self.history_end = START  # the `tail` of the first join, if that had no position
        self.live = False  # joined on the present connection, without a gap
        self.join_ref: str | None = None  # the `joinRoom` that waits for its answer
        self.joined_ref: str | None = None  # the `joinRoom` that made it live: its recovery may still fail
        self.watched = False
        self.watch_ref: str | None = None  # the last `requestPresence`
        self.watch_due = False  # `requestPresence` is to be sent when the room is live
        self.leaving = False  # `leave` was called and waits for the acks of this room
        self.online = 0

    def on_lost(self) -> None:
        """Forget the join: the connection is lost, or the server refused the room."""
        self.live = False
        self.join_ref = self.joined_ref = None

    @property
    def joined(self) -> Joined | None:
        """The answer to a `join`, or None if the room is not live."""
        return Joined(self.room, self.position, self.online, self.tail) if self.live and self.position else None

    def on_joined(self, payload: dict[str, Any]) -> list[Message | Hole]:
        """Take a `joined` frame and return its events.

        A frame that answers no request reports a gap. One without a gap comes from a join that the server did by
        itself: its messages are not taken, and the room must be joined again.
        """
        at = Position(payload["epoch"], payload["seq"])
        requested, recovered = self.join_ref is not None, payload["recovered"]
        if not requested and recovered:
            self.live = False
            return []
        tail = payload.get("tail")  # an older server names none
        self.tail = Position(int(tail["epoch"]), int(tail["seq"])) if tail is not None else at
        self.online = payload.get("onlineCount", self.online)
        if requested:
            self.joined_ref, self.join_ref = self.join_ref, None
        self.live = True
        if self.position is None:
            self.position, self.history_end = at, self.tail
            return list(self._messages(payload))
        if not recovered:
            hole = Hole(self.room, self.position, "lost")
            self.position = at
            return [hole, *self._messages(payload)]
        taken = self._take(payload)
        if self.live and self.position.seq < at.seq:  # messages are missing at the end of the page
            self.live = False
        elif self.live:
            self.position = at
        return list(taken)

    def on_messages(self, payload: dict[str, Any]) -> list[Message]:
        """Take a `serverMessages` frame and return its new messages."""
        return self._take(payload) if self.live else []

    def _take(self, payload: dict[str, Any]) -> list[Message]:
        """Take the messages that follow the position, up to the first gap."""
        taken: list[Message] = []
        at = self.position or Position(0, 0)
        for message in self._messages(payload):
            if message.seq > at.seq + 1 or (message.seq <= at.seq and message.epoch > at.epoch):
                self.live = False
                break
            if message.seq == at.seq + 1:
                if message.epoch < at.epoch:
                    self.live = False
                    break
                at = Position(message.epoch, message.seq)
                taken.append(message)
        self.position = at
        return taken

    def _messages(self, payload: dict[str, Any]) -> Iterator[Message]:
        """Return the messages of a frame, all of one epoch, with their `recent`."""
        epoch, end = payload["epoch"], self.history_end
        recent_seq = end.seq if epoch == end.epoch else math.inf if epoch < end.epoch else 0
        return _messages(self.room, payload, recent_seq)


def pushed_messages(payload: dict[str, Any]) -> list[Message]:
    """Return the messages that another system pushed into the room, outside of its log."""
    return list(_messages(payload["roomId"], payload, recent_seq=-1))


def older_messages(payload: dict[str, Any]) -> list[Message]:
    """Return the messages of a `roomHistory` frame."""
    return list(_messages(payload["roomId"], payload, recent_seq=math.inf))


def _messages(room: str, payload: dict[str, Any], recent_seq: float) -> Iterator[Message]:
    """Yield the messages of a frame. Those up to `recent_seq` are recent."""
    epoch = payload.get("epoch", 0)
    for one in payload["messages"]:
        user, seq = one.get("user") or {}, one.get("seq", 0)
        yield Message(
            room,
            epoch,
            seq,
            one.get("id", ""),
            one["content"],
            one.get("timestamp", 0),
            User(str(user.get("id", "")), str(user.get("username", ""))),
            seq <= recent_seq,
        )
