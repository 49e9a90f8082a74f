"""Reading a topic from its beginning, as an operator's console consumer does."""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS


async def push_msgs(
    brokers: str, topic: str, enough: Callable[[list[PushMsg]], bool], timeout_s: float = 30.0
) -> list[PushMsg]:
    """Read PushMsgs of all partitions until there are enough; within a partition in order."""
    found: list[PushMsg] = []
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, one) for one in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async with asyncio.timeout(timeout_s):
            while not enough(found):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [PushMsg.FromString(record.value) for record in records]
    except TimeoutError:
        raise AssertionError(f"not enough in {topic} after {timeout_s} s: {found[-20:]}") from None
    finally:
        await consumer.stop()
    return found
