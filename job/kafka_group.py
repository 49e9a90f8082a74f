"""Hop 7 of 9, beside the path: the connection that tells which of the topic's partitions the group reads.

For job/topic_watch.py. It takes no part in the group. Every fault of Kafka is raised as Unavailable.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from common import kafka_client
from job.config import JobSettings
from job.kafka_faults import FAULTS, FaultsRaised

kafka_client.mend()

REQUEST_S: Final = 5.0
LEAVE_S: Final = 2.0
_MEMBERLESS: Final = ("Empty", "Dead")


class KafkaGroup:
    """The topic's partitions and the group that reads them. Partitions are named by their numbers."""

    def __init__(self, admin: AIOKafkaAdminClient, asker: AIOKafkaConsumer, topic: str, group: str) -> None:
        self._admin = admin
        self._asker = asker
        self._topic = topic
        self._group = group

    async def partitions(self) -> set[int]:
        """Return the topic's partitions, none if it does not exist. Raises Unavailable."""
        with FaultsRaised():
            async with asyncio.timeout(REQUEST_S):
                topics = await self._admin.describe_topics()  # of all: asking for one by name could create it
        return {one["partition"] for topic in topics if topic["topic"] == self._topic for one in topic["partitions"]}

    async def readers(self) -> dict[int, str] | None:
        """Return the partitions that a member of the group has, each with the member's client id. Raises Unavailable.

        None where Kafka does not say: during a rebalance, and always with the embedded broker.
        """
        with FaultsRaised():
            async with asyncio.timeout(REQUEST_S):
                [answer] = await self._admin.describe_consumer_groups([self._group])
        [(_, _, state, _, _, members)] = answer.groups
        if state in _MEMBERLESS:
            return {}
        if state != "Stable" or not all(assignment for *_, assignment in members):
            return None
        return {one: client for _, client, *_, given in members for one in self._partitions_of(given)}

    def _partitions_of(self, assignment: bytes) -> list[int]:
        decoded = ConsumerProtocolMemberAssignment.decode(assignment)
        return [one for topic, partitions in decoded.assignment if topic == self._topic for one in partitions]

    async def lag(self, partitions: Collection[int]) -> dict[int, int]:
        """Return how many records of each partition the group has not committed. Raises Unavailable."""
        asked = [TopicPartition(self._topic, one) for one in partitions]
        with FaultsRaised():
            async with asyncio.timeout(REQUEST_S):
                committed = await self._admin.list_consumer_group_offsets(self._group, partitions=asked)
                begins = await self._asker.beginning_offsets(asked)
                ends = await self._asker.end_offsets(asked)
        # -1 is committed where nothing was ever committed: the group begins at the oldest record.
        return {one.partition: max(0, ends[one] - max(begins[one], committed[one].offset)) for one in asked}


@asynccontextmanager
async def group(settings: JobSettings) -> AsyncIterator[KafkaGroup]:
    """Connect while inside. Raises Unavailable."""
    request_ms = int(REQUEST_S * 1000)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_brokers, request_timeout_ms=request_ms)
    asker = AIOKafkaConsumer(bootstrap_servers=settings.kafka_brokers, request_timeout_ms=request_ms)
    try:
        with FaultsRaised():
            async with asyncio.timeout(REQUEST_S * 2):
                await admin.start()
                await asker.start()
        yield KafkaGroup(admin, asker, settings.kafka_topic, settings.consumer_group)
    finally:
        with suppress(*FAULTS):
            async with asyncio.timeout(LEAVE_S):
                await asker.stop()
                await admin.close()
