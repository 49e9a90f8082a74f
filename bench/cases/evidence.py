"""What a load left behind, for the ledger: the rooms' histories, as a client reads them, and the topic's records."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis

from bench.load.ledger import Acked, Books, Received, Room, Stored, audit
from chatroom.up.ports import LOOPBACK
from chatroom_client import ChatClient
from common import redis_client
from common.errors import StartupError
from common.outbox import Outbox
from common.shards import Shards, stored
from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS
from testbed.stack import Stack

SETTLE_S: Final = 60.0
LOOK_S: Final = 0.1


async def settled(pipeline: Stack, timeout_s: float = SETTLE_S) -> None:
    """Wait until the outbox is empty and Job has finished all of the topic. Raises StartupError if that takes long."""
    deadline = time.monotonic() + timeout_s
    async with (
        _redis(pipeline) as redis,
        aclosing(Outbox(redis, Shards(await stored(redis)), "bench")) as outbox,
    ):
        while time.monotonic() < deadline:
            waiting, _ = await outbox.backlog()
            of_job = await asyncio.to_thread(pipeline.jobs[0].samples)
            if not waiting and not of_job.get("job_kafka_lag", 0):
                return
            await asyncio.sleep(LOOK_S)
    raise StartupError(f"what was sent is not all pushed after {timeout_s:.0f} s: the pipeline stands still")


async def books(pipeline: Stack, seen: Mapping[str, Any], begin: Mapping[int, int]) -> Books:
    """Hold what the clients saw against the servers. `begin` has the topic's ends before the load, by partition."""
    names = list(seen["received"])
    async with ChatClient(f"ws://{LOOPBACK}:{pipeline.comets[0].port}/", name="ledger") as chat:
        histories = {name: await _history(chat, name) for name in names}
    produced = await _produced(pipeline, begin)
    rooms = {
        name: Room(
            [Acked(*one) for one in seen["acked"][name]],
            [Received(*one) for one in seen["received"][name]],
            histories[name],
            produced.get(name, ()),
        )
        for name in names
    }
    return audit(rooms, seen["different"])


async def topic_ends(pipeline: Stack) -> dict[int, int]:
    """Return where each partition of the topic ends now."""
    async with _reader(pipeline) as (consumer, partitions):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return {one.partition: end for one, end in ends.items()}


async def _history(chat: ChatClient, room: str) -> list[Stored]:
    found: list[Stored] = []
    before, more = None, True
    while more:
        page = await chat.history(room, before)
        found = [Stored(one.id, one.seq) for one in page.messages] + found
        before, more = (found[0].message_id if found else None), page.more
    return found


async def _produced(pipeline: Stack, begin: Mapping[int, int]) -> dict[str, list[Stored]]:
    """Return what the topic has from there on, by room."""
    found: dict[str, list[Stored]] = {}
    async with _reader(pipeline) as (consumer, partitions):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for one in partitions:
            consumer.seek(one, begin[one.partition])
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    message = PushMsg.FromString(record.value)
                    stored = found.setdefault(message.room, [])
                    stored += [
                        Stored(one["id"], one["seq"]) for one in orjson.loads(message.msg)["payload"]["messages"]
                    ]
    return found


@asynccontextmanager
async def _reader(pipeline: Stack) -> AsyncIterator[tuple[AIOKafkaConsumer, Sequence[TopicPartition]]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=pipeline.brokers, auto_offset_reset="earliest")
    try:
        await consumer.start()
        yield consumer, [TopicPartition(pipeline.topic, one) for one in range(PARTITIONS)]
    finally:
        await consumer.stop()


@asynccontextmanager
async def _redis(pipeline: Stack) -> AsyncIterator[Redis]:
    redis = redis_client.connect(pipeline.redis_url)
    try:
        yield redis
    finally:
        await redis.aclose()
