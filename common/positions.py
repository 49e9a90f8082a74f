"""Positions: where in a room's log somebody stands, and whether all behind it can still be given. Pure.

A seq counts a room's messages without holes. An epoch is one incarnation of the log: Redis opens a new one when it may
have lost its tail. The pair says exactly which message is meant, even if a seq was given out twice.
"""

from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True, order=True)
class Position:
    """A place in a room's log: behind the message `seq` of `epoch`; (0, 0) lies before everything.

    A later epoch lies above an earlier one whatever the seqs, as a log that lost its tail goes on at lower ones.
    """

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
        first seq of the epoch after since.epoch. That epoch is known unless since.epoch is older than all that are
        kept: then only who saw nothing misses nothing. One that is not kept though later ones and earlier ones are was
        lost together with all that was sent in it.
        """
        if since.epoch > self.epoch or not self.first - 1 <= since.seq <= self.tail:
            return False
        if since.epoch == self.epoch:
            return True
        if since.epoch < self.epochs[0][0]:
            return since.seq == 0
        return since.seq < next(first for epoch, first in self.epochs if epoch > since.epoch)


def parse_epochs(text: bytes) -> tuple[tuple[int, int], ...]:
    """Read `epoch:first_seq` pairs joined by spaces, as meta keeps them."""
    pairs = (pair.partition(b":") for pair in text.split())
    return tuple((int(epoch), int(first)) for epoch, _, first in pairs)
