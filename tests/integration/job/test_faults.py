"""What Job does when something is wrong: with a record, with the topic, with Kafka, with Redis."""

import asyncio
from functools import partial

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from protos.job_pb2 import PushMsg
from testbed.kafka_server import KafkaServer
from testbed.redis_server import RedisServer
from tests.integration.job.comets import Comet
from tests.integration.job.conftest import Nodes, Produce, StartJob

ROOM = PushMsg.ROOM
UNREADABLE = {
    b"no-proto": (b"\xff\xff\xff garbage", "not a PushMsg"),
    b"no-room": (PushMsg(type=ROOM, operation=4, msg=b"x").SerializeToString(), "a ROOM without room"),
    b"no-type": (b"\x08\x09" + PushMsg(operation=4, room="r", msg=b"x").SerializeToString(), "unknown type 9"),
    b"no-text": (PushMsg(type=ROOM, operation=4, room="r", msg=b"\xff").SerializeToString(), "msg is not UTF-8"),
    b"no-value": (None, "the record is empty"),
}


def _none(reasons: dict[str, str]) -> bool:
    return not reasons


async def _letters(kafka: KafkaServer, topic: str, count: int) -> dict[bytes, ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        f"{topic}.dlq", bootstrap_servers=kafka.brokers, auto_offset_reset="earliest", fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return {letter.key: letter for letter in [await consumer.getone() for _ in range(count)]}
    finally:
        await consumer.stop()


async def test_what_nobody_can_read_is_parked_and_consumption_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    make_job: StartJob, nodes: Nodes, produce: Produce, producer: AIOKafkaProducer, kafka: KafkaServer, topic: str
) -> None:
    """Each unreadable record is on the dead letter topic with its reason and source; what follows it is pushed."""
    one = await nodes.up("one", rooms=["r"])
    job = await make_job().up()
    for key, (value, _) in UNREADABLE.items():
        await producer.send_and_wait(topic, value, key=key, partition=1, headers=[("trace", key)])
    await produce(type=ROOM, room="r", msg="good", id="g", partition=1)
    await one.until(lambda: one.bodies("r") == ["good"])
    letters = await _letters(kafka, topic, len(UNREADABLE))
    for offset, (key, (value, reason)) in enumerate(UNREADABLE.items()):
        headers = dict(letters[key].headers)
        assert headers["reason"].decode().startswith(reason)
        assert (headers["source-topic"], headers["source-partition"]) == (topic.encode(), b"1")
        assert (headers["source-offset"], headers["trace"]) == (b"%d" % offset, key)
        assert letters[key].value == value
    assert await job.until_metric("job_records_total", len(UNREADABLE), result="dead_letter") == len(UNREADABLE)
    assert await job.ended() == 0
    again = await make_job().up()  # all was committed: none comes again
    await produce(type=ROOM, room="r", msg="more", id="m", partition=1)
    await one.until(lambda: one.bodies("r") == ["good", "more"])
    assert await again.metric("job_records_total", result="dead_letter") == 0


async def test_a_topic_with_other_partitions_is_refused_unless_told(make_job: StartJob, kafka: KafkaServer) -> None:
    """One line that names the setting, exit 1; with JOB_PARTITIONS=0 any number will do."""
    two = await asyncio.to_thread(kafka.create_topic, None, 2)
    job = make_job(CHAT_KAFKA_TOPIC=two)
    assert await asyncio.to_thread(job.spawn().wait, 30) == 1
    assert "2 partitions" in job.log
    assert "JOB_PARTITIONS" in job.log.splitlines()[-1]
    assert "Traceback" not in job.log
    await make_job(CHAT_KAFKA_TOPIC=two, JOB_PARTITIONS="0").up()


async def test_a_topic_that_never_comes_is_refused(make_job: StartJob) -> None:
    """After topic_wait_seconds: one line that names it, exit 1. Job has not created it by asking."""
    job = make_job(CHAT_KAFKA_TOPIC="no-such-topic", JOB_TOPIC_WAIT_SECONDS="1")
    assert await asyncio.to_thread(job.spawn().wait, 30) == 1
    assert "no topic no-such-topic" in job.log.splitlines()[-1]
    assert "Traceback" not in job.log


async def test_a_port_in_use_is_one_line(make_job: StartJob, nodes: Nodes) -> None:
    """It names the port and the setting; exit 1."""
    one = await nodes.up("one")
    job = make_job(JOB_METRICS_PORT=str(one.port))
    assert await asyncio.to_thread(job.spawn().wait, 30) == 1
    assert str(one.port) in job.log
    assert "JOB_METRICS_PORT" in job.log
    assert "Traceback" not in job.log


async def test_kafka_may_come_later_and_come_back(make_job: StartJob, own_kafka: KafkaServer) -> None:
    """Away at the start: /readyz says so, and SIGTERM still ends Job; when Kafka comes, Job begins."""
    await asyncio.to_thread(own_kafka.stop)
    settings = {"CHAT_KAFKA_BROKERS": own_kafka.brokers, "CHAT_KAFKA_TOPIC": "late", **own_kafka.settings}
    impatient, job = make_job(**settings), make_job(**settings)
    for one in (impatient, job):
        one.spawn()
        await one.until_reasons(lambda reasons: list(reasons) == ["kafka"])
    async with asyncio.timeout(20):
        assert await impatient.ended() == 0
    await asyncio.to_thread(own_kafka.start)
    await asyncio.to_thread(own_kafka.create_topic, "late")
    await job.until_reasons(_none, timeout_s=30)


async def test_kafka_away_for_a_while_loses_nothing(make_job: StartJob, nodes: Nodes, own_kafka: KafkaServer) -> None:
    """Kafka is killed and started again: /readyz tells, and what is produced afterwards is pushed."""
    one = await nodes.up("one", rooms=["r"])
    await asyncio.to_thread(own_kafka.create_topic, "t")
    settings = {"CHAT_KAFKA_BROKERS": own_kafka.brokers, "CHAT_KAFKA_TOPIC": "t", **own_kafka.settings}
    job = await make_job(**settings).up()
    await asyncio.to_thread(own_kafka.kill)
    await job.until_reasons(bool)
    await asyncio.to_thread(own_kafka.start)
    await asyncio.to_thread(own_kafka.create_topic, "t")
    producer = AIOKafkaProducer(bootstrap_servers=own_kafka.brokers)
    await producer.start()
    try:
        value = PushMsg(type=ROOM, operation=4, room="r", msg=b"back", id="1").SerializeToString()
        await producer.send_and_wait("t", value)
    finally:
        await producer.stop()
    await one.until(lambda: one.bodies("r") == ["back"], timeout_s=40)
    await job.until_reasons(_none)


def _has_both(comet: Comet) -> bool:
    return comet.bodies("r") == ["x"] and [push.proto.body for push in comet.users] == ["y"]


async def test_without_redis_pushes_go_to_all_nodes(
    own_redis: RedisServer, make_job: StartJob, produce: Produce
) -> None:
    """Redis dies: the nodes last seen all get it, as each knows whom it has; /readyz names Redis."""
    async with Comet("one") as one, Comet("two") as two:
        with own_redis.client() as redis:
            for comet in (one, two):
                # Written as Comet does; kept so long, as nobody renews it.
                redis.set(f"chat:node:{comet.incarnation}", f'{{"grpc": "{comet.address}", "of a later version": 1}}')
                redis.zadd("chat:nodes", {comet.incarnation: 1})
        job = await make_job(CHAT_REDIS_URL=own_redis.url).up()
        await asyncio.to_thread(own_redis.kill)
        await job.until_reasons(lambda reasons: "redis" in reasons)
        await produce(type=ROOM, room="r", msg="x", id="1")
        await produce(type=PushMsg.PUSH, keys=["1"], msg="y", id="2")
        for comet in (one, two):
            await comet.until(partial(_has_both, comet))
        await asyncio.to_thread(own_redis.start)
        await job.until_reasons(_none)
