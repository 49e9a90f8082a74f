"""Reading a topic from its beginning, as an operator's console consumer does."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS

TIMEOUT_S = 30.0


class Topic:
    """All records of a topic, from its beginning on; within a partition in order."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._topic = topic
        self._consumer = AIOKafkaConsumer(bootstrap_servers=brokers, fetch_max_wait_ms=50, auto_offset_reset="earliest")
        self.found: list[Any] = []  # aiokafka's ConsumerRecords

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._consumer.start()
        partitions = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def until(self, enough: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Read until there are enough. Raises AssertionError with the last records."""
        try:
            async with asyncio.timeout(timeout_s):
                while not enough():
                    for records in (await self._consumer.getmany(timeout_ms=100)).values():
                        self.found += records
        except TimeoutError:
            last = self.found[-20:]
            raise AssertionError(f"not enough in {self._topic} after {timeout_s} s: {last}") from None

    async def records(self, count: int) -> list[Any]:
        """Wait until there are so many records; return all there are."""
        await self.until(lambda: len(self.found) >= count)
        return self.found

    async def messages(self, count: int) -> list[PushMsg]:
        """Wait until there are so many records; return all there are, decoded."""
        await self.records(count)
        return self.decoded()

    def decoded(self) -> list[PushMsg]:
        """Return the records read so far, decoded."""
        return [PushMsg.FromString(record.value) for record in self.found]


async def push_msgs(
    brokers: str, topic: str, enough: Callable[[list[PushMsg]], bool], timeout_s: float = TIMEOUT_S
) -> list[PushMsg]:
    """Read PushMsgs of all partitions until there are enough; within a partition in order."""
    async with Topic(brokers, topic) as reader:
        await reader.until(lambda: enough(reader.decoded()), timeout_s)
        return reader.decoded()
