"""Reading a topic without taking part in its consumer group: its last records, those that follow, how far a group lags.

The only adapter of these commands for aiokafka. A partition's end is what a fetch says of it: the embedded broker's
answer to the direct question is the offset behind the first record of the last batch, not behind its last.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from chatroom.probes import ASK_TIMEOUT_S, NoAnswer
from common.errors import reason_of

LOOK_S: Final = 1.0  # between two looks for a topic that does not exist yet
FETCH_WAIT_MS: Final = 100  # which a broker that does not wake up on a produce may hold back a fetch
_REQUEST_MS: Final = int(ASK_TIMEOUT_S * 1000)
FAULTS: Final = (KafkaError, OSError, ValueError)  # ValueError is a bad address's; TimeoutError is an OSError


async def partitions_of(brokers: str, topics: Collection[str]) -> dict[str, list[int]]:
    """Return the partitions of those topics that exist. Raises NoAnswer."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would report what we report ourselves
    client = AIOKafkaClient(bootstrap_servers=brokers, request_timeout_ms=_REQUEST_MS)
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await client.bootstrap()
            known = await client.fetch_all_metadata()  # of all: asking for one by name may create it
    except FAULTS as e:
        raise NoAnswer(reason_of(e)) from None
    finally:
        await client.close()
    return {topic: sorted(known.partitions_for_topic(topic) or ()) for topic in topics if topic in known.topics()}


class TopicReader:
    """One topic's records, from the partitions that it has on entering. May raise any of FAULTS."""

    def __init__(self, brokers: str, topic: str, partitions: Collection[int]) -> None:
        self._partitions = [TopicPartition(topic, one) for one in partitions]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers,
            request_timeout_ms=_REQUEST_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )

    @classmethod
    @asynccontextmanager
    async def opened(cls, brokers: str, topic: str, partitions: Collection[int]) -> AsyncIterator[Self]:
        """Connect, and disconnect in the end."""
        reader = cls(brokers, topic, partitions)
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                await reader._consumer.start()
            reader._consumer.assign(reader._partitions)
            yield reader
        finally:
            await reader._consumer.stop()

    async def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return each partition's first offset and its end; the reader stands at the ends then."""
        async with asyncio.timeout(2 * ASK_TIMEOUT_S):
            begins = await self._consumer.beginning_offsets(self._partitions)
            for tp, near_end in (await self._consumer.end_offsets(self._partitions)).items():
                self._consumer.seek(tp, max(begins[tp], near_end))
            while any(self._consumer.highwater(tp) is None for tp in self._partitions):
                await self._consumer.getmany(timeout_ms=FETCH_WAIT_MS)
        ends = {tp: self._consumer.highwater(tp) for tp in self._partitions}
        for tp, end in ends.items():
            self._consumer.seek(tp, end)
        return {tp: (begins[tp], end) for tp, end in ends.items()}

    async def last(self, count: int) -> list[ConsumerRecord]:
        """Return the topic's last records in the order of their timestamps; the reader stands behind them then."""
        bounds = await self.bounds()
        for tp, (begin, end) in bounds.items():
            self._consumer.seek(tp, max(begin, end - count))
        found: list[ConsumerRecord] = []
        while left := [tp for tp, (_, end) in bounds.items() if await self._consumer.position(tp) < end]:
            async with asyncio.timeout(2 * ASK_TIMEOUT_S):
                came = await self._consumer.getmany(*left, timeout_ms=FETCH_WAIT_MS)
            found += [record for tp, records in came.items() for record in records if record.offset < bounds[tp][1]]
        for tp, (_, end) in bounds.items():
            self._consumer.seek(tp, end)
        found.sort(key=lambda record: record.timestamp)
        return found[max(0, len(found) - count) :]

    async def rewind(self) -> None:
        """Stand before the first record."""
        await self._consumer.seek_to_beginning(*self._partitions)

    async def follow(self) -> AsyncIterator[ConsumerRecord]:
        """Yield records from where the reader stands, for ever."""
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    yield record


async def lag(brokers: str, topic: str, group: str) -> dict[int, int]:
    """Return by partition how many records the group has not committed yet. Raises NoAnswer."""
    partitions = (await partitions_of(brokers, [topic])).get(topic)
    if not partitions:
        raise NoAnswer(f"there is no topic {topic} yet")
    try:
        async with TopicReader.opened(brokers, topic, partitions) as reader:
            bounds = await reader.bounds()
        committed = await _committed(brokers, group, list(bounds))
    except FAULTS as e:
        raise NoAnswer(reason_of(e)) from None
    # Who has committed nothing begins at the first record; what was trimmed meanwhile can't be read any more.
    return {tp.partition: end - max(begin, committed.get(tp, begin)) for tp, (begin, end) in bounds.items()}


async def _committed(brokers: str, group: str, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=_REQUEST_MS)
    try:
        async with asyncio.timeout(2 * ASK_TIMEOUT_S):
            await admin.start()
            found = await admin.list_consumer_group_offsets(group, partitions=partitions)
    finally:
        await admin.close()
    return {tp: at.offset for tp, at in found.items() if at.offset >= 0}
