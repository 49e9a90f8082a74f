"""Progress: how far one partition is, for as long as it is ours. Owns the offset that may be committed. Pure.

Records finish in any order, as a slow node holds up only its own; what may be committed ends before the first that is
not finished. Bounded by MAX_RECORDS and MAX_BYTES from that one on; a full partition is not fetched from until its
first record finishes, which takes no longer than a push deadline.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from job import metrics
from job.record import PUSHED, PendingRecord

# At 1,500 records a second and partition, as many as come within the push deadline of 5 s: so long must a node be able
# to hold up one record while the others get theirs.
MAX_RECORDS: Final = 8192
MAX_BYTES: Final = 32 * 1024 * 1024


class Progress:
    """The records of one partition that are in flight."""

    def __init__(self, moved: Callable[[], None]) -> None:
        self._records: deque[PendingRecord] = deque()  # by offset; those behind the first may be finished already
        self._moved = moved  # told when a record finishes
        self._size_bytes = 0  # of the unfinished ones
        self.unfinished = 0
        self._next = 0  # the least offset that the next record can have
        self.position = -1  # the next offset to commit; -1 until a record came
        self.committed = -1

    @property
    def full(self) -> bool:
        """Whether no more may be fetched now."""
        if len(self._records) < MAX_RECORDS and self._size_bytes < MAX_BYTES:
            return False
        self.advance()
        return len(self._records) >= MAX_RECORDS or self._size_bytes >= MAX_BYTES

    def add(self, offset: int, timestamp_ms: int, size_bytes: int) -> PendingRecord:
        """Take in the next record."""
        if offset < self._next:  # the log is another one, or was cut: what was in flight means nothing in it
            self._records.clear()
            self.position = -1
        self._next = offset + 1
        record = PendingRecord(offset, timestamp_ms, size_bytes, self._finish)
        self._records.append(record)
        self._size_bytes += size_bytes
        self.unfinished += 1
        if self.position < 0:
            self.position = self.committed = offset
        return record

    def advance(self) -> int:
        """Return the offset that may be committed: everything before it is finished."""
        records = self._records
        while records and not records[0].outstanding:
            self.position = records.popleft().offset + 1
        return self.position

    def _finish(self, record: PendingRecord) -> None:
        self.unfinished -= 1
        self._size_bytes -= record.size_bytes
        record.proto = None
        metrics.RECORDS[record.result].inc()
        if record.result == PUSHED:
            metrics.DELIVERY_SECONDS.observe(max(0.0, time.time() - record.timestamp_ms / 1000))
        self._moved()
