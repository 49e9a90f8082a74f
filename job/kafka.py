"""Kafka, as Job uses it: the topic's check at the start, a member of the group, the writer of dead letters.

The only place that builds aiokafka's objects, with the settings and timeouts that each has.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError, TopicAlreadyExistsError, for_code

from common import kafka_client
from job.config import JobSettings

kafka_client.mend()

REQUEST_S: Final = 5.0
JOIN_S: Final = 30.0  # a group of many may be long in forming
LEAVE_S: Final = 2.0
# What aiokafka raises when Kafka is away or unwilling.
FAULTS: Final = (KafkaError, ConsumerStoppedError, IllegalOperation, TimeoutError, OSError)
_AS_THE_CLUSTER_SAYS: Final = -1
_MOST_BYTES: Final = 64 * 1024 * 1024


async def partitions_of(settings: JobSettings, topic: str) -> int:
    """Return how many partitions the topic has, 0 if it does not exist."""
    async with _admin(settings) as admin:
        return await _partitions(admin, topic)


async def create_if_missing(settings: JobSettings, topic: str) -> None:
    """Create a topic of one partition, replicated as the cluster has it by default, unless it exists."""
    async with _admin(settings) as admin:
        if await _partitions(admin, topic):
            return
        # aiokafka takes a replication of -1 only with an empty assignment; a broker may be too old for it.
        for replication, assignment in ((_AS_THE_CLUSTER_SAYS, {}), (1, None)):
            answer = await admin.create_topics([NewTopic(topic, 1, replication, assignment)])
            error = for_code(answer.topic_errors[0][1])
            if error.errno == 0 or error is TopicAlreadyExistsError:
                return
        raise error(f"can't create topic {topic}: {answer.topic_errors[0][2]}")


async def _partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    # All are listed: to ask for one by name could create it.
    for described in await admin.describe_topics():
        if described["topic"] == topic:
            return len(described["partitions"])
    return 0


@asynccontextmanager
async def _admin(settings: JobSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_brokers, request_timeout_ms=int(REQUEST_S * 1000))
    try:
        async with asyncio.timeout(REQUEST_S * 2):
            await admin.start()
            yield admin
    finally:
        await admin.close()


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


@asynccontextmanager
async def member(
    settings: JobSettings, client_id: str, revoked: Callable[[], Awaitable[None]]
) -> AsyncIterator[AIOKafkaConsumer]:
    """Be a member of the group while inside; `revoked` is awaited before partitions are given back."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_brokers,
        client_id=client_id,
        group_id=settings.consumer_group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=settings.kafka_fetch_max_wait_ms,
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=settings.kafka_heartbeat_interval_ms,
        retry_backoff_ms=250,
    )
    consumer.subscribe([settings.kafka_topic], listener=_Listener(revoked))
    try:
        async with asyncio.timeout(JOIN_S):
            await consumer.start()
        yield consumer
    finally:
        with suppress(*FAULTS):
            async with asyncio.timeout(LEAVE_S):
                await consumer.stop()


@asynccontextmanager
async def writer(settings: JobSettings) -> AsyncIterator[Callable[..., Awaitable[asyncio.Future[Any]]]]:
    """Give a function that sends a record as aiokafka's `send` does; it returns a future of the acknowledgement."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_brokers,
        acks="all",
        request_timeout_ms=int(REQUEST_S * 1000),
        max_request_size=_MOST_BYTES,  # the broker decides
    )
    try:
        async with asyncio.timeout(REQUEST_S * 2):
            await producer.start()
        yield producer.send
    finally:
        with suppress(*FAULTS):
            async with asyncio.timeout(LEAVE_S):
                await producer.stop()
