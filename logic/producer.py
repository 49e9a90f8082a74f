"""Hop 6 of 9: produce, one queue a partition; from logic/service.py, to logic/partition_queue.py.

It says before anything is stored whether a message could be produced now, and puts records into their partition's
queue. What it takes has an outcome within twice `produce_timeout_seconds`.

When full (`produce_queue_bytes` over all queues): the newest is refused with Overloaded, counted.
"""

import asyncio
from collections.abc import Sequence

from common.errors import Overloaded, Unavailable
from logic.config import LogicSettings
from logic.kafka import Kafka, partition_of
from logic.metrics import PRODUCE_WAITING_BYTES
from logic.partition_queue import PartitionQueue, ProduceResult, QueueLoad
from logic.push_messages import ProducerRecord


class Producer:
    """All partition queues."""

    def __init__(self, kafka: Kafka, settings: LogicSettings) -> None:
        self._kafka = kafka
        self._settings = settings
        self._load = QueueLoad()
        self._queues: dict[int, PartitionQueue] = {}
        self._group: asyncio.TaskGroup | None = None  # runs the queues
        self.most_bytes = settings.produce_batch_bytes - 1024  # of one record: a batch has a header
        PRODUCE_WAITING_BYTES.set_function(lambda: self._load.waiting_bytes)

    def partition_of(self, key: bytes) -> int:
        """Return the partition that a key's records go to. Raises Unavailable while nobody knows."""
        if not self._kafka.partitions:
            raise self._kafka.fault or Unavailable("Kafka is away")
        return partition_of(key, self._kafka.partitions)

    def check(self, key: bytes | None = None) -> None:
        """Raise Unavailable or Overloaded if nothing can be produced now; with a key: nothing to its partition."""
        if self._kafka.fault is not None:
            raise self._kafka.fault
        if self._load.waiting_bytes >= self._settings.produce_queue_bytes:
            raise Overloaded("too much waits for Kafka; try again later")
        if key is not None and (stuck := self._queue(self.partition_of(key)).stuck) is not None:
            raise stuck

    def submit(self, partition: int, records: Sequence[ProducerRecord]) -> asyncio.Future[ProduceResult]:
        """Produce records behind all that were submitted to the partition before. The future never raises."""
        return self._queue(partition).submit(records)

    def _queue(self, partition: int) -> PartitionQueue:
        queue = self._queues.get(partition)
        if queue is None:
            settings = self._settings
            queue = self._queues[partition] = PartitionQueue(
                partition,
                self._kafka,
                self._load,
                batch_bytes=settings.produce_batch_bytes,
                timeout_s=settings.produce_timeout_seconds,
            )
            if self._group is None:
                raise RuntimeError("the producer is not running")
            self._group.create_task(queue.run(settings.kafka_linger_ms / 1000))
        return queue

    async def run(self) -> None:
        """Stay connected and carry out what is submitted, forever."""
        async with asyncio.TaskGroup() as self._group:
            await self._kafka.run()

    async def drain(self) -> None:
        """Return once everything submitted has its outcome."""
        for queue in list(self._queues.values()):
            await queue.drain()
