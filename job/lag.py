"""Lag: how far a consumer's partitions lie behind Kafka, and whether Kafka answers it at all.

The end of a partition is what its last fetch said of it: it costs no request, and the embedded broker's answer to the
direct question is wrong.
"""

import time
from collections.abc import Collection
from typing import Final, Protocol

from common.health import Health
from job import metrics
from job.config import JobSettings
from job.partitions import Partitions

SILENCE_S: Final = 5.0  # without an answer to a fetch, beyond what the broker may hold it back

# Who shows a partition now, a consumer or the topic's watch. When it goes from one of them to another, the first must
# not hide it.
_shown: dict[int, object] = {}


def show(partition: int, records: int, by: object) -> None:
    """Show a partition's lag; it is the shower's from now on."""
    _shown[partition] = by
    metrics.LAG.labels(partition).set(records)


def hide(by: object, keep: Collection[int] = ()) -> None:
    """Take away what this shower shows, but for some partitions: another process may have them now."""
    for partition in [one for one, shower in _shown.items() if shower is by and one not in keep]:
        del _shown[partition]
        metrics.LAG.remove(partition)


def shown_by_consumer(partition: int, *, other_than: object) -> bool:
    """Whether another shower of this process shows the partition."""
    return _shown.get(partition, other_than) is not other_than


class LagSource(Protocol):
    """A member of the group, as far as lag needs it; see job/kafka.py."""

    def assigned(self) -> set[int]:
        """Return the partitions that it has."""

    def end_of(self, partition: int) -> int | None:
        """Return the partition's end as its last fetch told it; None before the first."""

    def answered_at(self, partition: int) -> float:
        """Return when Kafka last answered a fetch of the partition (Unix seconds); 0 before the first."""


class Lag:
    """What one consumer shows of its partitions."""

    def __init__(
        self, member: LagSource, partitions: Partitions, health: Health, name: str, settings: JobSettings
    ) -> None:
        self._member = member
        self._partitions = partitions
        self._health = health
        self._name = name
        self._patience_s = settings.kafka_fetch_max_wait_ms / 1000 + SILENCE_S
        self._answered_at = time.time()

    def observe(self) -> None:
        """Show the lag of all partitions that the consumer has now."""
        assigned = self._member.assigned()
        hide(self, keep=assigned)
        for partition in assigned:
            self._show(partition)
        self._judge(assigned)

    def close(self) -> None:
        """Show nothing any more: the consumer is no member now, and another process may have its partitions."""
        hide(self)

    def _show(self, partition: int) -> None:
        end = self._member.end_of(partition)
        if end is None:  # not fetched from yet
            return
        position = self._partitions.position(partition)
        # Fetched from without getting a record: it stands at the end.
        show(partition, 0 if position is None else max(0, end - position), self)

    def _judge(self, assigned: set[int]) -> None:
        now = time.time()
        if not assigned or self._partitions.full():  # then nothing is asked
            self._answered_at = now
        for partition in assigned:
            self._answered_at = max(self._answered_at, self._member.answered_at(partition))
        silent_s = now - self._answered_at
        if silent_s > self._patience_s:
            self._health.bad(self._name, f"no answer from Kafka for {silent_s:.0f} s")
        else:
            self._health.good(self._name)
