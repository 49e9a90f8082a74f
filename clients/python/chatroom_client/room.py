"""A room as the client follows it: where it stands in the log, and what a frame means from there. Pure.

Each message is taken once and in seq order. A repeat is dropped. A message that does not follow makes the room fall
behind: nothing more is taken until it was joined again with its position. The server tells what it can't give back.

Neighbours: `rooms.py` brings the frames and asks for the room again when `live` is False.
"""

from collections.abc import Iterator
from typing import Any

from chatroom_client.types import Hole, Message, Position, User


class RoomView:
    """One room of one client."""

    def __init__(self, room: str, since: Position | None = None) -> None:
        self.room = room
        self.position = since  # behind the last message taken; None: never joined yet
        self.live = False  # joined on the present connection, and nothing is missing
        self.asked: str | None = None  # ref of the joinRoom that waits for its answer
        self.answered: str | None = None  # ref of the one that made it live: its recovery may still fail
        self.watched = False
        self.leaving = False  # as soon as all that was sent to it is acked
        self.online = 0

    def lost(self) -> None:
        """Stand outside: the connection is gone, or the server says that the room is not joined."""
        self.live = False
        self.asked = self.answered = None

    def on_joined(self, payload: dict[str, Any]) -> list[Message | Hole]:
        """Take a `joined` and return what it brings.

        One that nobody asked for tells a hole. If it does not (the server joined anew by itself), it is not taken and
        the room falls behind.
        """
        at = Position(payload["epoch"], payload["seq"])
        asked, recovered = self.asked is not None, payload["recovered"]
        if not asked and recovered:
            self.live = False
            return []
        self.online = payload.get("onlineCount", self.online)
        if asked:
            self.answered, self.asked = self.asked, None
        self.live = True
        if self.position is None:
            self.position = at
            return list(_messages(self.room, payload, recent=True))
        if not recovered:
            hole = Hole(self.room, self.position, "lost")
            self.position = at
            return [hole, *_messages(self.room, payload)]
        taken = self._take(payload)
        if self.live and self.position.seq < at.seq:  # it claims more than it brought
            self.live = False
        elif self.live:
            self.position = at
        return list(taken)

    def on_messages(self, payload: dict[str, Any]) -> list[Message]:
        """Take a `serverMessages` and return what is new in it."""
        return self._take(payload) if self.live else []

    def _take(self, payload: dict[str, Any]) -> list[Message]:
        """Take the messages that follow; fall behind at the first that does not."""
        taken: list[Message] = []
        at = self.position or Position(0, 0)
        for message in _messages(self.room, payload):
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


def without_position(payload: dict[str, Any]) -> list[Message]:
    """Return messages that another system pushed: they are in no log."""
    return list(_messages(payload["roomId"], payload))


def older_messages(payload: dict[str, Any]) -> list[Message]:
    """Return the messages of a `roomHistory`."""
    return list(_messages(payload["roomId"], payload, recent=True))


def _messages(room: str, payload: dict[str, Any], *, recent: bool = False) -> Iterator[Message]:
    epoch = payload.get("epoch", 0)
    for one in payload["messages"]:
        user = one.get("user") or {}
        yield Message(
            room,
            epoch,
            one.get("seq", 0),
            one.get("id", ""),
            one["content"],
            one.get("timestamp", 0),
            User(str(user.get("id", "")), str(user.get("username", ""))),
            recent,
        )
