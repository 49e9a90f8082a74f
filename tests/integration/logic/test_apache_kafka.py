"""What only Apache Kafka shows: it remembers over a kill, and refuses what is too large for it (`--kafka apache`)."""

import asyncio
import os

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from testbed.kafka_server import PARTITIONS, KafkaServer
from tests.support.kafka_reader import Topic
from tests.support.logic_node import Logic, comet_send, running, settings_of

ROOMS = ("a", "b", "c")


async def test_a_kill_of_kafka_loses_nothing_and_changes_no_order(own_kafka: KafkaServer, redis_url: str) -> None:
    """A forwarder that repeats what failed brings every seq of every room, first occurrences in order."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    settings = settings_of(own_kafka, topic, redis_url, LOGIC_PRODUCE_TIMEOUT_SECONDS="1")
    async with running(settings) as logic:
        forwarding = asyncio.ensure_future(_forward(logic, 120))
        async with Topic(own_kafka.brokers, topic) as records:
            await records.records(30)
        await asyncio.to_thread(own_kafka.kill)
        await logic.unready("kafka")
        await asyncio.to_thread(own_kafka.start)
        async with asyncio.timeout(60):
            await forwarding
    async with Topic(own_kafka.brokers, topic) as records:
        found = await records.messages(120 * len(ROOMS))
    for room in ROOMS:
        firsts = list(dict.fromkeys(one.first_seq for one in found if one.room == room))
        assert firsts == list(range(1, 121))


async def _forward(logic: Logic, most: int) -> None:
    """Be Comet's forwarder: batches of what waits, from the head on; only what succeeded is removed."""
    waiting = [comet_send(room, seq) for seq in range(1, most + 1) for room in ROOMS]
    while waiting:
        answer = await logic.post("/logic/send/batch", {"sends": waiting[:9]})
        if answer.status == 200:
            failed = [
                send
                for send, result in zip(waiting[:9], answer.json["results"], strict=True)
                if result["status"] != "success"
            ]
            waiting[:9] = failed
        if answer.status != 200 or failed:
            await asyncio.sleep(0.05)


async def test_a_message_too_large_for_the_broker_is_rejected_and_the_producer_goes_on(
    kafka: KafkaServer, redis_url: str
) -> None:
    """A broker may take less than Logic was told. Refused batches break an idempotent producer; it is replaced."""
    topic = "small-" + os.urandom(4).hex()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs={"max.message.bytes": "20000"})])
    finally:
        await admin.close()
    large = comet_send("a", 3)
    large["messages"][0]["content"] = "x" * 30_000
    waiting = [comet_send("a", 1), comet_send("a", 2), large, comet_send("a", 4), comet_send("b", 1)]
    rejected = []
    async with running(settings_of(kafka, topic, redis_url)) as logic, asyncio.timeout(30):
        while waiting:
            answer = await logic.post("/logic/send/batch", {"sends": waiting})
            if answer.status != 200:
                await asyncio.sleep(0.05)
                continue
            results = [one["status"] for one in answer.json["results"]]
            rejected += [send for send, status in zip(waiting, results, strict=True) if status == "rejected"]
            waiting = [send for send, status in zip(waiting, results, strict=True) if status in {"failed", "skipped"}]
    assert rejected == [large]
    async with Topic(kafka.brokers, topic) as records:
        found = await records.messages(4)
    assert list(dict.fromkeys(one.first_seq for one in found if one.room == "a")) == [1, 2, 4]
    assert [one.first_seq for one in found if one.room == "b"] == [1]
