"""One room as the client follows it: its position in the log, and the new messages in each frame. Pure.

The room takes each message once, in the order of `seq`, and drops repeats. A message that does not follow the last one
reveals a gap. The room is then not live: it takes no message until it is joined again at its position. The server
reports a gap that it can't fill.

The first join fixes the end of the history: each message up to the `tail` of that `joined` is `recent`, in whichever
frame and on whichever connection it comes. A room that starts at a saved position has no history.
"""

from typing import Any, Final

from chatroom_client import frames
from chatroom_client.events import Hole
from chatroom_client.types import Joined, Message, Position

START: Final = Position(0, 0)  # before each message
EVERYTHING: Final = Position(frames.LAST_SEQ, frames.LAST_SEQ)


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
        tail = payload.get("tail")  # an older server names none
        tail = Position(tail["epoch"], tail["seq"]) if tail is not None else at
        end = tail if self.position is None else self.history_end
        messages = _messages(self.room, payload, end)
        requested, recovered = self.join_ref is not None, payload["recovered"]
        if not requested and recovered:
            self.live = False
            return []
        self.tail = tail
        self.online = payload.get("onlineCount", self.online)
        if requested:
            self.joined_ref, self.join_ref = self.join_ref, None
        self.live = True
        if self.position is None:
            self.position, self.history_end = at, end
            return list(messages)
        if not recovered:
            hole = Hole(self.room, self.position, "lost")
            self.position = at
            return [hole, *messages]
        taken = self._take(messages)
        if self.live and self.position.seq < at.seq:  # messages are missing at the end of the page
            self.live = False
        elif self.live:
            self.position = at
        return list(taken)

    def on_messages(self, payload: dict[str, Any]) -> list[Message]:
        """Take a `serverMessages` frame and return its new messages."""
        return self._take(_messages(self.room, payload, self.history_end)) if self.live else []

    def _take(self, messages: list[Message]) -> list[Message]:
        """Take the messages that follow the position, up to the first gap."""
        taken: list[Message] = []
        at = self.position or Position(0, 0)
        for message in messages:
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


def pushed_messages(payload: dict[str, Any]) -> list[Message]:
    """Return the messages that another system pushed into the room, outside of its log."""
    return _messages(payload["roomId"], payload)


def older_messages(payload: dict[str, Any]) -> list[Message]:
    """Return the messages of a `roomHistory` frame."""
    return _messages(payload["roomId"], payload, EVERYTHING)


def _messages(room: str, payload: dict[str, Any], history_end: Position = START) -> list[Message]:
    """Return a frame's messages. Those up to `history_end` are recent.

    Raises ValueError, KeyError or TypeError if one is not valid.
    """
    epoch = payload.get("epoch") or 0
    return [_message(room, epoch, one, history_end) for one in payload["messages"]]


def _message(room: str, epoch: int, one: dict[str, Any], history_end: Position) -> Message:
    content = one["content"]
    if not isinstance(content, str):
        raise TypeError("content is not a text")
    seq = frames.count(one.get("seq")) if epoch else 0  # without an epoch the message has no place in the log
    at = frames.count(one.get("timestamp"), frames.LAST_TIME_MS)
    user = frames.user_of(one.get("user"))
    recent = START < Position(epoch, seq) <= history_end
    return Message(room, epoch, seq, frames.text_of(one.get("id")), content, at, user, recent)
