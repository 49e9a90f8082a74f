"""Hop 6 of 9: produce, a lane for each partition; from logic/service.py, to logic/lane.py.

It says before anything is stored whether a message could be produced now, and puts records into their partition's
lane. What it takes has an outcome within twice `produce_timeout_seconds`.

When full (`produce_queue_bytes` over all lanes): the newest is refused with Overloaded, counted.
"""

import asyncio
from collections.abc import Sequence

from common.errors import Overloaded, Unavailable
from logic.config import Settings
from logic.kafka import Kafka, partition_of
from logic.lane import Lane, Load, Outcome
from logic.metrics import PRODUCE_WAITING_BYTES
from logic.push_messages import Record


class Producer:
    """All lanes."""

    def __init__(self, kafka: Kafka, settings: Settings) -> None:
        self._kafka = kafka
        self._settings = settings
        self._load = Load()
        self._lanes: dict[int, Lane] = {}
        self._group: asyncio.TaskGroup | None = None  # runs the lanes
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
        if key is not None and (stuck := self._lane(self.partition_of(key)).stuck) is not None:
            raise stuck

    def submit(self, partition: int, records: Sequence[Record]) -> asyncio.Future[Outcome]:
        """Produce records behind all that were submitted to the partition before. The future never raises."""
        return self._lane(partition).submit(records)

    def _lane(self, partition: int) -> Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            settings = self._settings
            lane = self._lanes[partition] = Lane(
                partition,
                self._kafka,
                self._load,
                batch_bytes=settings.produce_batch_bytes,
                timeout_s=settings.produce_timeout_seconds,
            )
            if self._group is None:
                raise RuntimeError("the producer is not running")
            self._group.create_task(lane.run(settings.kafka_linger_ms / 1000))
        return lane

    async def run(self) -> None:
        """Stay connected and carry out what is submitted, forever."""
        async with asyncio.TaskGroup() as self._group:
            await self._kafka.run()

    async def drain(self) -> None:
        """Return once everything submitted has its outcome."""
        for lane in list(self._lanes.values()):
            await lane.drain()
