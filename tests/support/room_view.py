"""What one client may be sent of one room, frame by frame: whatever breaks a promise raises AssertionError.

Each message once, in order, without a hole; `joined` exactly when asked for, but for a hole that is told; no frame of
two epochs; positions that never run backwards. Whether a hole had to be told is for whoever knows the log.
"""

from typing import Any

from common.positions import Position

FrameOf = dict[str, Any]


class RoomView:
    """A client that joins with `asks`, takes every frame of the room, and comes back from where it stands."""

    def __init__(self) -> None:
        self.position: Position | None = None  # None: never joined
        self.asked = False  # a joinRoom that is not answered yet
        self.inside = False
        self.told = 0
        self.seen: list[Position] = []  # since the last join without a position, or the last hole

    def asks(self, since: Position | None) -> None:
        """Send joinRoom: from here on nothing of the room may come but its answer."""
        assert since is None or since == self.position
        self.asked, self.inside = True, False
        if since is None:
            self.position = None

    def refused(self) -> None:
        """Get an error for an answer, or lose the connection."""
        self.asked = self.inside = False

    def take(self, frame: FrameOf) -> None:
        """Take the next frame of the room."""
        payload = frame["payload"]
        messages = payload["messages"]
        if frame["type"] == "joined":
            self._take_joined(payload)
        else:
            assert frame["type"] == "serverMessages", frame
            assert messages, frame
            assert self.inside, f"outside of the room: {frame}"
            assert self.position is not None
            assert payload["epoch"] >= self.position.epoch, f"epochs ran backwards at {self.position}: {frame}"
            assert messages[0]["seq"] == self.position.seq + 1, f"at {self.position} came {frame}"
        self._take_messages(payload["epoch"], messages)

    def _take_joined(self, payload: FrameOf) -> None:
        told = Position(payload["epoch"], payload["seq"])
        assert Position(**payload["tail"]) >= told, f"the tail lies before the position: {payload}"
        begin = payload["messages"][0]["seq"] if payload["messages"] else payload["seq"] + 1
        assert self.asked or (self.inside and not payload["recovered"]), f"nobody asked: {payload}"
        if self.position is None:
            assert payload["recovered"], payload  # who has no position misses nothing
        else:
            assert told >= self.position, f"the position ran backwards from {self.position}: {payload}"
            assert not payload["recovered"] or begin == self.position.seq + 1, f"at {self.position} came {payload}"
        if self.position is None or not payload["recovered"]:
            self.seen.clear()
        self.lost(payload) if not payload["recovered"] else None
        assert not payload["messages"] or payload["messages"][-1]["seq"] == told.seq, payload
        self.position, self.asked, self.inside = told, False, True

    def lost(self, _payload: FrameOf) -> None:
        """Be told of a hole."""
        self.told += 1

    def _take_messages(self, epoch: int, messages: list[FrameOf]) -> None:
        seqs = [one["seq"] for one in messages]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True, seqs
        for one in messages:
            self.position = Position(epoch, one["seq"])
            self.seen.append(self.position)
            self.saw(self.position, one)

    def saw(self, position: Position, message: FrameOf) -> None:
        """Take one message."""
