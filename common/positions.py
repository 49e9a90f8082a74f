"""Positions: where in a room's log somebody stands, and whether all behind it can still be given. Pure.

A seq counts a room's messages without holes. An epoch is one incarnation of the log: Redis opens a new one when it may
have lost its tail. The pair says exactly which message is meant, even if a seq was given out twice.
"""

from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class Position:
    """A place in a room's log: behind the message `seq` of `epoch`; (0, 0) lies before everything."""

    epoch: int
    seq: int


@dataclass(slots=True, frozen=True)
class Log:
    """What the room's meta and stream say of its log."""

    epoch: int = 0
    tail: int = 0  # seq of the last message
    first: int = 1  # seq of the oldest message that the stream still holds; tail + 1 when it holds none
    epochs: tuple[tuple[int, int], ...] = field(default=())  # (epoch, its first seq), oldest first, at most 16

    @property
    def position(self) -> Position:
        """The end of the log."""
        return Position(self.epoch, self.tail)

    def recovers(self, since: Position) -> bool:
        """Whether everything behind `since` is still there and `since` itself was not lost.

        Letter by letter: the stream still holds since.seq + 1 (or since.seq is its tail), and since.seq lies below the
        first seq of the epoch after since.epoch.
        """
        if not self.first - 1 <= since.seq <= self.tail:
            return False
        if since.epoch == self.epoch:
            return True
        following = [first for epoch, first in self.epochs if epoch > since.epoch]
        known = since.epoch == 0 or any(epoch == since.epoch for epoch, _ in self.epochs)
        return known and bool(following) and since.seq < following[0]


def parse_epochs(text: bytes) -> tuple[tuple[int, int], ...]:
    """Read `epoch:first_seq` pairs joined by spaces, as meta keeps them."""
    pairs = (pair.partition(b":") for pair in text.split())
    return tuple((int(epoch), int(first)) for epoch, _, first in pairs)
