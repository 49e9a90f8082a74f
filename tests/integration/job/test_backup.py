"""A Kafka that was lost with its disk and restored from a backup, as docs/operations.md says (`--kafka apache`)."""

import asyncio
import shutil
import subprocess

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from testbed.kafka_server import KafkaServer

GROUP = "job-service-group"


async def consumed(kafka: KafkaServer, topic: str, count: int) -> list[bytes]:
    """Consume so many records as a member of the group, commit, and return them."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.brokers, group_id=GROUP, auto_offset_reset="earliest", enable_auto_commit=False
    )
    found: list[bytes] = []
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while len(found) < count:
                found.append((await consumer.getone()).value)
        await consumer.commit()
    finally:
        await consumer.stop()
    return found


async def produce(kafka: KafkaServer, topic: str, *values: bytes) -> None:
    """Produce records to one partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.brokers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def test_a_restored_kafka_has_its_records_and_knows_what_was_consumed(own_kafka: KafkaServer) -> None:
    """The log folder of a stopped broker is all that is needed; the group goes on where it had committed."""
    if not own_kafka.durable:
        return  # the embedded broker keeps nothing
    topic = await asyncio.to_thread(own_kafka.create_topic)
    await produce(own_kafka, topic, b"one", b"two")
    assert await consumed(own_kafka, topic, 1) == [b"one"]
    await asyncio.to_thread(own_kafka.stop)
    log, backup = own_kafka.directory / "log", own_kafka.directory / "kafka.tar"
    tar = ["tar", "-C", str(log)]
    await asyncio.to_thread(subprocess.run, [*tar, "-cf", str(backup), "."], check=True)
    shutil.rmtree(log)
    log.mkdir()
    await asyncio.to_thread(subprocess.run, [*tar, "-xf", str(backup)], check=True)
    await asyncio.to_thread(own_kafka.start)
    await produce(own_kafka, topic, b"three")
    assert await consumed(own_kafka, topic, 2) == [b"two", b"three"]
