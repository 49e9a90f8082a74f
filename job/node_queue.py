"""Hop 8 of 9: the node queue, room records that wait for one node; from job/pusher.py, to job/merge.py. Pure.

Each room's records keep their order. The queue gives as many as fit one call and takes them back when the call fails.
It holds a room that the node could not settle, with all that follows in this room, until it is time to try it again.
Bounds stand in job/pusher.py.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from common.backoff import Backoff
from job.record import ABANDONED, PUSHED, REFUSED, PendingRecord

# gRPC refuses a message past 4 MB, and a node is to yield between calls; a record larger than this travels alone.
MAX_BYTES: Final = 1024 * 1024
_OVERHEAD_BYTES: Final = 64  # a record's own, beside its message


@dataclass(slots=True)
class _Hold:
    """A room that the node could not settle."""

    since: float
    ready_at: float = 0.0
    records: list[PendingRecord] = field(default_factory=list)  # empty while they are being tried again
    backoff: Backoff = field(default_factory=lambda: Backoff(0.05, 1.0))


class Unsettled(NamedTuple):
    """What a reply left open."""

    late: list[PendingRecord]  # abandoned, as their rooms were tried for too long
    unclear: int  # so many come again in smaller calls


NOTHING: Final = Unsettled([], 0)


class NodeQueue:
    """What waits for one node. Times are seconds of a monotonic clock."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s  # how long a room may be held
        self._waiting: deque[PendingRecord] = deque()
        self._flying: list[PendingRecord] = []  # taken, and neither settled nor put back
        self._holds: dict[str, _Hold] = {}

    @property
    def waiting(self) -> int:
        """How many records can be taken now, or will turn out to belong to held rooms."""
        return len(self._waiting)

    def put(self, record: PendingRecord) -> None:
        """Add a record behind all others."""
        self._waiting.append(record)

    def next_ready(self) -> float | None:
        """Return when the next held room is to be tried again; None if none is held."""
        return min((hold.ready_at for hold in self._holds.values() if hold.records), default=None)

    def release(self, now: float) -> None:
        """Let the held rooms whose time has come be taken first."""
        for hold in self._holds.values():
            if hold.records and hold.ready_at <= now:
                self._waiting.extendleft(reversed(hold.records))
                hold.records = []

    def take(self, most: int) -> list[PendingRecord]:
        """Return what fits one call, at most so many; nothing if all that waits belongs to held rooms."""
        taken: list[PendingRecord] = []
        self._flying = taken
        waiting, size_bytes = self._waiting, 0
        while waiting and len(taken) < most:
            hold = self._holds.get(waiting[0].room) if self._holds else None
            if hold is not None and hold.records:
                hold.records.append(waiting.popleft())
                continue
            size_bytes += waiting[0].size_bytes + _OVERHEAD_BYTES
            if taken and size_bytes > MAX_BYTES:
                break
            taken.append(waiting.popleft())
        return taken

    def put_back(self) -> None:
        """Undo the last `take`: the call failed."""
        self._waiting.extendleft(reversed(self._flying))
        self._flying = []

    def give_up(self) -> list[PendingRecord]:
        """Return what was taken last, for the caller to settle; what held their rooms up is settled with them."""
        flying, self._flying = self._flying, []
        for record in flying:
            self._holds.pop(record.room, None)
        return flying

    def settle(self, retry: Collection[str], refused: Collection[str], now: float) -> Unsettled:
        """Settle what was taken last: all is pushed, but for the rooms to try again and those refused.

        Of a refused room with several records it is not known which one is to blame: they come again, in smaller calls.
        """
        flying, self._flying = self._flying, []
        if not retry and not refused and not self._holds:
            for record in flying:
                record.settle(PUSHED)
            return NOTHING
        late: list[PendingRecord] = []
        unclear: list[PendingRecord] = []
        for room, records in _by_room(flying).items():
            if room in retry:
                late += self._hold(room, records, now)
                continue
            self._holds.pop(room, None)
            if room in refused and len(records) > 1:
                unclear += records
                continue
            for record in records:
                record.settle(REFUSED if room in refused else PUSHED)
        self._waiting.extendleft(reversed(unclear))
        return Unsettled(late, len(unclear))

    def _hold(self, room: str, records: list[PendingRecord], now: float) -> list[PendingRecord]:
        hold = self._holds.setdefault(room, _Hold(now))
        if now - hold.since < self._deadline_s:
            hold.records = records
            hold.ready_at = now + hold.backoff.next_s()
            return []
        del self._holds[room]
        for record in records:
            record.settle(ABANDONED)
        return records

    def drop(self) -> list[PendingRecord]:
        """Return all records, however they wait, and forget them."""
        held = [record for hold in self._holds.values() for record in hold.records]
        dropped = [*self._flying, *held, *self._waiting]
        self._flying = []
        self._holds.clear()
        self._waiting.clear()
        return dropped


def _by_room(records: list[PendingRecord]) -> dict[str, list[PendingRecord]]:
    rooms: dict[str, list[PendingRecord]] = {}
    for record in records:
        rooms.setdefault(record.room, []).append(record)
    return rooms
