"""Two baselines with the pacing of the load: a Redis PUBLISH round trip, and a bare aiokafka produce and consume.

Both take the time from just before a message is handed over until the receiver has it, in one process.
"""

import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis.asyncio import Redis

from bench.load import wire
from chatroom import probes
from common import redis_client
from testbed.kafka_server import PARTITIONS

TICK_S: Final = 0.001
LINGER_S: Final = 0.5  # until the last messages have arrived
CHANNEL: Final = "bench-baseline"
KEPT: Final = 1000  # messages in the baseline's stream
PAYLOAD_BYTES: Final = 250  # about the size of a message on its way


async def publish(redis_url: str, rate: float, seconds: float, warm_s: float, *, store: bool = False) -> list[float]:
    """PUBLISH at that rate to one subscriber, each message first stored if so asked; return the ages in ms, sorted."""
    redis = redis_client.connect(redis_url)
    ages = Ages(time.monotonic() + warm_s)
    try:
        async with redis.pubsub(ignore_subscribe_messages=True) as pubsub, asyncio.TaskGroup() as tasks:
            await pubsub.subscribe(CHANNEL)
            listening = tasks.create_task(_listen(pubsub, ages))
            await _pace(rate, seconds + warm_s, lambda texts: _publish(redis, texts, store=store))
            await asyncio.sleep(LINGER_S)
            listening.cancel()
    finally:
        await redis.delete(CHANNEL)
        await redis.aclose()
    return ages.sorted_ms()


async def produce_and_consume(  # noqa: PLR0913 - where, and how
    brokers: str, topic: str, rate: float, seconds: float, warm_s: float, *, idempotent: bool
) -> list[float]:
    """Produce at that rate, as safely as Logic does, and consume; return the ages in ms, sorted."""
    await probes.ensure_topic(brokers, topic, PARTITIONS)
    ages = Ages(time.monotonic() + warm_s)
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="latest")
    async with (
        AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=idempotent) as producer,
        consumer,
    ):
        partitions = [TopicPartition(topic, one) for one in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(_consume(consumer, ages))
            await _pace(rate, seconds + warm_s, lambda texts: _produce(producer, topic, texts))
            await asyncio.sleep(LINGER_S)
            consuming.cancel()
    return ages.sorted_ms()


class Ages:
    """How old messages were when they came, of those sent from a moment (monotonic) on."""

    def __init__(self, measure_from_s: float) -> None:
        self._from_ns = int(measure_from_s * 1e9)
        self._ages_ns = array("q")

    def take(self, text: bytes) -> None:
        """Take a message that came now."""
        at_ns = int(text[len(wire.MARK) :][: wire.DIGITS])
        if at_ns >= self._from_ns:
            self._ages_ns.append(time.monotonic_ns() - at_ns)

    def sorted_ms(self) -> list[float]:
        """Return all of them."""
        return [age / 1e6 for age in sorted(self._ages_ns)]


async def _pace(rate: float, seconds: float, send: Callable[[list[bytes]], Awaitable[None]]) -> None:
    begin, sent = time.monotonic(), 0
    while (now := time.monotonic()) < begin + seconds:
        due = int((now - begin) * rate) - sent
        if due:
            await send([wire.stamp().ljust(PAYLOAD_BYTES, b".") for _ in range(due)])
            sent += due
        await asyncio.sleep(TICK_S)


async def _publish(redis: Redis, texts: list[bytes], *, store: bool) -> None:
    pipeline = redis.pipeline(transaction=False)
    for text in texts:
        if store:
            pipeline.xadd(CHANNEL, {"body": text}, maxlen=KEPT)
        pipeline.publish(CHANNEL, text)
    await pipeline.execute()


async def _listen(pubsub: Any, ages: Ages) -> None:  # noqa: ANN401 - redis types its PubSub by no public name
    async for message in pubsub.listen():
        ages.take(message["data"])


async def _produce(producer: AIOKafkaProducer, topic: str, texts: list[bytes]) -> None:
    for k, text in enumerate(texts):
        await producer.send(topic, text, partition=k % PARTITIONS)


async def _consume(consumer: AIOKafkaConsumer, ages: Ages) -> None:
    async for record in consumer:
        ages.take(record.value)
