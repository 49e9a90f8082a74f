"""Hop 8 of 9: the singles, pushes to users or to everybody that wait for one node; for job/pusher.py. Pure.

No call merges singles. When the node refuses one for now, because too many broadcasts are under way, that single and
those behind it wait. Room records do not wait.
"""

from collections import deque
from dataclasses import dataclass, field

from common.backoff import Backoff
from job.record import PendingRecord


@dataclass(slots=True)
class Single:
    """One push."""

    record: PendingRecord
    keys: list[str]  # users of the node; none: everybody on it


@dataclass
class Singles:
    """What waits for one node, oldest first. Times are seconds of a monotonic clock."""

    deadline_s: float  # how long the first may be put off
    waiting: deque[Single] = field(default_factory=deque)
    ready_at: float = 0.0
    _since: float | None = None  # since when the first is put off
    _backoff: Backoff = field(default_factory=lambda: Backoff(0.05, 1.0))

    def ready(self, now: float) -> bool:
        """Whether one can be pushed now."""
        return bool(self.waiting) and now >= self.ready_at

    def done(self) -> PendingRecord:
        """Take the first away: it has its outcome."""
        self._since, self.ready_at = None, 0.0
        self._backoff.reset()
        return self.waiting.popleft().record

    def put_off(self, now: float) -> bool:
        """Try the first again later; False if that went on for too long."""
        if self._since is None:
            self._since = now
        self.ready_at = now + self._backoff.next_s()
        return now - self._since < self.deadline_s

    def drop(self) -> list[PendingRecord]:
        """Return all records, and forget them."""
        dropped = [single.record for single in self.waiting]
        self.waiting.clear()
        self._since, self.ready_at = None, 0.0
        return dropped
