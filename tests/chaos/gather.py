"""What is read when the load is over: whether all has arrived, Kafka's topic, dead letters. It fills the evidence.

Straight from the servers, past every proxy. The rooms' histories are tests/chaos/histories.py's.
"""

import asyncio
import platform
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from google.protobuf.message import DecodeError

from common import keys
from common.redis_client import REDIS_FAULTS, connect
from common.shards import stored
from protos.job_pb2 import PushMsg
from testbed.apache_kafka import POM
from tests.chaos.evidence import Evidence, Produced

STEP_TIMEOUT_S: Final = 10.0  # for any one answer
LOOK_S: Final = 0.25
PACKAGES: Final = ("websockets", "redis", "aiokafka", "grpcio", "aiohttp", "uvloop")


async def wait_drained(  # noqa: PLR0913 - where everything is
    redis_port: int, brokers: str, run: Evidence, *, group: str, topic: str, timeout_s: float = 60.0
) -> None:
    """Wait until the outbox is empty and the group has committed all of the topic; what isn't by then is unexpected."""
    deadline, left = time.monotonic() + timeout_s, "never looked"
    while time.monotonic() < deadline:
        try:
            left = await _outbox(redis_port) or await _lag(brokers, group, topic)
        except (KafkaError, *REDIS_FAULTS) as e:
            left = f"{type(e).__name__} {e}"
        if not left:
            return
        await asyncio.sleep(LOOK_S)
    run.unexpected.append(f"not drained within {timeout_s:.0f} s: {left}")


async def _outbox(redis_port: int) -> str:
    """Say what still waits in the outbox, "" if nothing."""
    redis = connect(f"redis://127.0.0.1:{redis_port}/0")
    try:
        lengths = [await redis.xlen(keys.outbox(shard)) for shard in range(await stored(redis))]
    finally:
        await redis.aclose()
    return f"{sum(lengths)} entries in the outbox" if sum(lengths) else ""


async def _lag(brokers: str, group: str, topic: str) -> str:
    """Say how far the group is behind, "" if it is not."""
    async with reader(brokers, topic) as (consumer, partitions):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=int(STEP_TIMEOUT_S * 1000))
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            await admin.start()
            committed: dict[TopicPartition, Any] = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    behind = {one.partition: end - (committed[one].offset if one in committed else 0) for one, end in ends.items()}
    late = {partition: lag for partition, lag in behind.items() if lag > 0}
    return f"lag of {group} by partition: {late}" if late else ""


async def read_kafka(brokers: str, topic: str, run: Evidence, *, timeout_s: float = 120.0) -> None:
    """Note each room's messages in the topic, and how many records are dead letters. Raises KafkaError."""
    async with asyncio.timeout(timeout_s):
        records = await _records(brokers, topic)
        dead = await _records(brokers, f"{topic}.dlq")
    run.dead_letters += len(dead)
    run.unexpected += [f"dead letter of Job: {dict(record.headers)}" for record in dead[:5]]
    for record in records:
        try:
            run.produced += _produced(record)
        except (DecodeError, ValueError, KeyError, TypeError) as e:
            run.unexpected.append(f"offset {record.offset} of partition {record.partition} can't be read: {e!r}")


def _produced(record: ConsumerRecord) -> list[Produced]:
    message = PushMsg.FromString(record.value)
    if message.type != PushMsg.ROOM:
        return []
    found: list[dict[str, Any]] = orjson.loads(message.msg)["payload"]["messages"]
    if [one["seq"] for one in found] != list(range(message.first_seq, message.first_seq + message.count)):
        raise ValueError(f"PushMsg says {message.count} from {message.first_seq} on, its frame {found}")
    at, where = record.timestamp / 1000, (record.partition, record.offset)
    return [Produced(*where, at, message.room, message.epoch, one["seq"], one["id"], one["content"]) for one in found]


async def _records(brokers: str, topic: str) -> list[ConsumerRecord]:
    """Return all records that the topic has now, by partition and offset; none if it does not exist."""
    found: dict[TopicPartition, list[ConsumerRecord]] = {}
    async with reader(brokers, topic) as (consumer, partitions):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        filled = [one for one in partitions if ends[one]]
        if not filled:
            return []
        consumer.assign(filled)
        await consumer.seek_to_beginning()
        while any([await consumer.position(one) < ends[one] for one in filled]):
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                found.setdefault(partition, []).extend(records)
    return [record for partition in sorted(found) for record in found[partition]]


@asynccontextmanager
async def reader(brokers: str, topic: str) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """Give a consumer of no group, and the topic's partitions; it is not created if it does not exist."""
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            await consumer.start()
            # All topics are listed: to ask for one by name could create it.
            cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the public way drops the partitions
        partitions: set[int] = cluster.partitions_for_topic(topic) or set()
        yield consumer, [TopicPartition(topic, one) for one in sorted(partitions)]
    finally:
        await consumer.stop()


async def versions(redis_port: int) -> dict[str, str]:
    """Return what ran, by name, for the report."""
    redis = connect(f"redis://127.0.0.1:{redis_port}/0")
    try:
        server = await redis.info("server")
    finally:
        await redis.aclose()
    kafka = re.search(r"<kafka.version>(.*?)</kafka.version>", POM.read_text())
    return {
        "Python": platform.python_version(),
        "Redis": str(server["redis_version"]),
        "Apache Kafka": kafka[1] if kafka else "?",
        **{package: version(package) for package in PACKAGES},
    }
