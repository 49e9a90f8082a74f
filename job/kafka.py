"""Hop 7 of 9: the connection to Kafka, a member of the group; from Kafka (logic/kafka.py), to job/consumer.py.

Fetches, commits, and tells of each rebalance before it happens. Every fault of Kafka is raised as Unavailable. Records
pass through as aiokafka made them: job/record.py names the fields that Job reads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from common import kafka_client
from job.config import JobSettings
from job.kafka_faults import FAULTS, FaultsRaised
from job.record import KafkaRecord

kafka_client.mend()

JOIN_S: Final = 30.0  # a group of many may be long in forming
LEAVE_S: Final = 2.0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """aiokafka awaits `revoked` in its coordination task, while it takes no records and still sends heartbeats."""

    def __init__(self, revoked: Callable[[], Awaitable[None]]) -> None:
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Let go of all partitions: who joins anew begins at the committed offsets."""
        if revoked:
            await self._revoked()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Nothing to do: a partition's progress begins with its first record."""


class KafkaMember:
    """A member of the group that reads one topic; partitions are named by their numbers."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    def assigned(self) -> set[int]:
        """Return the partitions that the group gave this member."""
        return {tp.partition for tp in self._consumer.assignment()}

    async def fetch(self, partitions: Collection[int], timeout_ms: int, most: int) -> dict[int, list[KafkaRecord]]:
        """Return up to `most` records of these partitions (none named: of all) by partition. Raises Unavailable."""
        with FaultsRaised():
            wanted = self._named(partitions)
            fetched = await self._consumer.getmany(*wanted, timeout_ms=timeout_ms, max_records=most)
        return {tp.partition: records for tp, records in fetched.items()}

    @contextmanager
    def paused(self, partitions: Collection[int]) -> Iterator[None]:
        """Pause fetching for a moment, so that one fetch returns many records."""
        with FaultsRaised():
            self._consumer.pause(*self._named(partitions))
        try:
            yield
        finally:
            with FaultsRaised():
                self._consumer.resume(*self._named(self.assigned().intersection(partitions)))  # some may be revoked

    async def commit(self, offsets: dict[int, int]) -> None:
        """Commit the next offset to read of each partition. Raises Unavailable."""
        with FaultsRaised():
            await self._consumer.commit({TopicPartition(self._topic, one): at for one, at in offsets.items()})

    def end_of(self, partition: int) -> int | None:
        """Return the partition's end as its last fetch told it; None before the first."""
        end: int | None = self._consumer.highwater(TopicPartition(self._topic, partition))
        return end

    def answered_at(self, partition: int) -> float:
        """Return when Kafka last answered a fetch of the partition (Unix seconds); 0 before the first."""
        return (self._consumer.last_poll_timestamp(TopicPartition(self._topic, partition)) or 0) / 1000

    def _named(self, partitions: Collection[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, one) for one in partitions]


@asynccontextmanager
async def member(
    settings: JobSettings, client_id: str, revoked: Callable[[], Awaitable[None]]
) -> AsyncIterator[KafkaMember]:
    """Be a member of the group while inside; `revoked` is awaited before partitions are given back.

    Raises Unavailable where the group can't be joined.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_brokers,
        client_id=client_id,
        group_id=settings.consumer_group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=settings.kafka_fetch_max_wait_ms,
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=settings.kafka_heartbeat_interval_ms,
        # A member that sees new partitions rejoins, and the group shares them out. It reads them from their beginning.
        metadata_max_age_ms=int(settings.topic_look_seconds * 1000),
        retry_backoff_ms=250,
    )
    consumer.subscribe([settings.kafka_topic], listener=_Listener(revoked))
    try:
        with FaultsRaised():
            async with asyncio.timeout(JOIN_S):
                await consumer.start()
        yield KafkaMember(consumer, settings.kafka_topic)
    finally:
        with suppress(*FAULTS):
            async with asyncio.timeout(LEAVE_S):
                await consumer.stop()
