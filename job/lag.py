"""Lag: how far a consumer's partitions lie behind Kafka, and whether Kafka answers it at all.

The end of a partition is what its last fetch said of it: it costs no request, and the embedded broker's answer to the
direct question is wrong.
"""

import time
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from common.health import Health
from job import metrics
from job.config import JobSettings
from job.partitions import Partitions

SILENCE_S: Final = 5.0  # without an answer to a fetch, beyond what the broker may hold it back

# Who shows a partition now: when it goes from one consumer to another of this process, the first must not hide it.
_shown: "dict[int, Lag]" = {}


class Lag:
    """What one consumer shows of its partitions."""

    def __init__(
        self, consumer: AIOKafkaConsumer, partitions: Partitions, health: Health, name: str, settings: JobSettings
    ) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._health = health
        self._name = name
        self._patience_s = settings.kafka_fetch_max_wait_ms / 1000 + SILENCE_S
        self._answered_at = time.time()

    def observe(self) -> None:
        """Show the lag of all partitions that the consumer has now."""
        assigned: set[TopicPartition] = self._consumer.assignment()
        self._hide({partition for partition, by in _shown.items() if by is self} - {tp.partition for tp in assigned})
        for tp in assigned:
            self._show(tp)
        self._judge(assigned)

    def close(self) -> None:
        """Show nothing any more: the consumer is no member now, and another process may have its partitions."""
        self._hide({partition for partition, by in _shown.items() if by is self})

    def _hide(self, partitions: set[int]) -> None:
        """Take away what was shown of partitions that another process has now."""
        for partition in partitions:
            del _shown[partition]
            metrics.LAG.remove(partition)

    def _show(self, tp: TopicPartition) -> None:
        end: int | None = self._consumer.highwater(tp)
        if end is None:  # not fetched from yet
            return
        position = self._partitions.position(tp.partition)
        _shown[tp.partition] = self
        # Fetched from without getting a record: it stands at the end.
        metrics.LAG.labels(tp.partition).set(0 if position is None else max(0, end - position))

    def _judge(self, assigned: set[TopicPartition]) -> None:
        now = time.time()
        if not assigned or self._partitions.full():  # then nothing is asked
            self._answered_at = now
        for tp in assigned:
            self._answered_at = max(self._answered_at, (self._consumer.last_poll_timestamp(tp) or 0) / 1000)
        silent_s = now - self._answered_at
        if silent_s > self._patience_s:
            self._health.bad(self._name, f"no answer from Kafka for {silent_s:.0f} s")
        else:
            self._health.good(self._name)
