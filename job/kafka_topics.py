"""Kafka's topics, as Job uses them beside the group: the check at the start, and the writer of dead letters.

Every fault of Kafka is raised as Unavailable.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from common import kafka_client
from job.config import JobSettings
from job.kafka_faults import FAULTS, FaultsRaised, fault_of

kafka_client.mend()

REQUEST_S: Final = 5.0
LEAVE_S: Final = 2.0
_AS_THE_CLUSTER_SAYS: Final = -1
_MOST_BYTES: Final = 64 * 1024 * 1024


async def partitions_of(settings: JobSettings, topic: str) -> int:
    """Return how many partitions the topic has, 0 if it does not exist. Raises Unavailable."""
    with FaultsRaised():
        async with _admin(settings) as admin:
            return await _partitions(admin, topic)


async def _create_if_missing(settings: JobSettings, topic: str) -> None:
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


class KafkaWriter:
    """Writes to one topic."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[None]:
        """Send a record and return a future for Kafka's acknowledgment.

        The future raises Unavailable or TooLarge. The call itself raises Unavailable. The caller need not await the
        future of a record that it sends again.
        """
        with FaultsRaised():
            sent = await self._producer.send(self._topic, value, key, headers=headers)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.add_done_callback(lambda _: _settle(acknowledged, sent))
        return acknowledged


def _settle(acknowledged: asyncio.Future[None], sent: asyncio.Future[Any]) -> None:
    if acknowledged.done():
        return
    if sent.cancelled():
        acknowledged.cancel()
    elif (error := sent.exception()) is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(fault_of(error))
        acknowledged.exception()  # seen: asyncio does not complain of one that nobody awaits


@asynccontextmanager
async def writer(settings: JobSettings, topic: str) -> AsyncIterator[KafkaWriter]:
    """Create the topic unless it exists, and write to it while inside. Raises Unavailable."""
    with FaultsRaised():
        await _create_if_missing(settings, topic)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_brokers,
        acks="all",
        request_timeout_ms=int(REQUEST_S * 1000),
        max_request_size=_MOST_BYTES,  # the broker decides
    )
    try:
        with FaultsRaised():
            async with asyncio.timeout(REQUEST_S * 2):
                await producer.start()
        yield KafkaWriter(producer, topic)
    finally:
        with suppress(*FAULTS):
            async with asyncio.timeout(LEAVE_S):
                await producer.stop()
