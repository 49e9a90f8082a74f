"""The rooms' logs as history shows them and acks tell of them: what everything else is compared with. Pure."""

from typing import NamedTuple

from tests.chaos.evidence import Evidence, Stored


class Place(NamedTuple):
    """Where a message stands in its room's log, and its content."""

    epoch: int
    seq: int
    key: str


class Logs:
    """The logs of all rooms."""

    def __init__(self, run: Evidence) -> None:
        self.stored: dict[tuple[str, int], Stored] = {}  # by room and seq
        self.tails: dict[str, int] = {}  # the greatest seq, by room
        # Whatever was stored went to the outbox and to PubSub in the same instant, acked or not: by room and id, what
        # must have come out at every end.
        self.due: dict[tuple[str, str], Place] = {}
        for room, stored in run.stored.items():
            for one in stored:
                self.stored.setdefault((room, one.seq), one)
                self.due.setdefault((room, one.id), Place(one.epoch, one.seq, one.key))
            self.tails[room] = max((one.seq for one in stored), default=0)
        for ack in run.acked:
            self.due.setdefault((ack.room, ack.id), Place(ack.epoch, ack.seq, ack.key))


def time_of(message_id: str) -> float:
    """Return when a message was appended, by Redis's clock, in seconds since the epoch."""
    return id_parts(message_id)[0] / 1000


def id_parts(message_id: str) -> tuple[int, int]:
    """Return an id as the pair of numbers by which Redis orders ids."""
    ms, _, count = message_id.partition("-")
    return int(ms), int(count or 0)
