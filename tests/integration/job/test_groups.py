"""Who has a partition: several Jobs share them, what was thrown out comes back, and no offset ever goes backwards."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS, KafkaServer
from tests.integration.job.comets import Comet
from tests.integration.job.conftest import JobProgram, Nodes, Produce, StartJob
from tests.support.eventually import eventually
from tests.support.frozen import freeze

ROOM = PushMsg.ROOM


class Committed:
    """What the group has committed, and what it ever had."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self.seen: list[list[int]] = [[] for _ in range(PARTITIONS)]

    async def offsets(self) -> list[int]:
        """Return each partition's offset."""
        found = [await self._consumer.committed(TopicPartition(self._topic, one)) or 0 for one in range(PARTITIONS)]
        for seen, offset in zip(self.seen, found, strict=True):
            seen.append(offset)
        return found

    async def until(self, offsets: list[int]) -> None:
        """Wait until they are these, and note all that they were meanwhile."""

        async def there() -> bool:
            return await self.offsets() == offsets

        await eventually(there, f"committed are {offsets}, not {[seen[-1:] for seen in self.seen]}", 40)

    def never_went_back(self) -> bool:
        """Whether no offset was ever seen to be lower than before."""
        return all(seen == sorted(seen) for seen in self.seen)


@pytest.fixture
async def committed(kafka: KafkaServer, topic: str) -> AsyncIterator[Committed]:
    """The offsets of the group that make_job's Jobs are in."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.brokers, group_id=topic, enable_auto_commit=False)
    await consumer.start()
    try:
        yield Committed(consumer, topic)
    finally:
        await consumer.stop()


async def _send(produce: Produce, first: int, count: int, partition: int = 0) -> None:
    for number in range(first, first + count):
        await produce(
            type=ROOM, room="r", msg=f"{partition} {number}", epoch=1, first_seq=number, count=1, partition=partition
        )


def _firsts(comet: Comet, partition: int) -> list[str]:
    """What came of a partition's records, repeats left out, in the order in which it first came."""
    return [body for body in dict.fromkeys(comet.bodies("r")) if body.startswith(f"{partition} ")]


def _expected(partition: int, count: int) -> list[str]:
    return [f"{partition} {number}" for number in range(1, count + 1)]


async def test_a_job_that_was_thrown_out_while_it_was_frozen_commits_over_nobody_and_joins_again(
    make_job: StartJob, nodes: Nodes, produce: Produce, committed: Committed
) -> None:
    """Its pushes in flight end as repeats. Another has its partitions and is ahead of it; that stands."""
    one = await nodes.up("one", rooms=["r"])
    first, second = make_job(), make_job()
    await first.up()
    for partition in range(PARTITIONS):
        await _send(produce, 1, 5, partition)
    await committed.until([5] * PARTITIONS)
    one.stuck.set()
    for partition in range(PARTITIONS):
        await _send(produce, 6, 5, partition)
    await one.until_called()
    freeze(first.pid)
    try:
        one.stuck.clear()
        await second.up()
        for partition in range(PARTITIONS):
            await _send(produce, 11, 20, partition)
        await committed.until([30] * PARTITIONS)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    await _both_take_part(first, second, produce, committed)
    for partition in range(PARTITIONS):
        firsts = _firsts(one, partition)
        assert firsts == _expected(partition, len(firsts))
    assert committed.never_went_back()
    assert "Traceback" not in first.log


async def _both_take_part(first: JobProgram, second: JobProgram, produce: Produce, committed: Committed) -> None:
    """Go on until either has taken records of the last round, each of which is committed to its end."""
    for last in range(35, 1000, 5):
        counts = len(first.log), len(second.log)
        for partition in range(PARTITIONS):
            await _send(produce, last - 4, 5, partition)
        await committed.until([last] * PARTITIONS)
        news = [job.log[count:] for job, count in zip((first, second), counts, strict=True)]
        if all(f" {last}" in new and "Received PushMsg" in new for new in news):
            return
    raise AssertionError("one of the Jobs takes no part")


async def test_a_job_that_stops_does_not_wait_for_a_node_that_fails_and_leaves_its_records_to_the_next(
    make_job: StartJob, nodes: Nodes, produce: Produce, committed: Committed
) -> None:
    """It ends with 0; committed is the lowest that is not finished; nothing is given up, all from there comes again."""
    good, bad = await nodes.up("good", rooms=["r"]), await nodes.up("bad", rooms=[])
    job = await make_job(JOB_PUSH_DEADLINE_SECONDS="120").up()
    await _send(produce, 1, 5)
    await committed.until([5, 0, 0, 0])
    bad.stuck.set()
    await produce(type=ROOM, room="r", msg="0 6", epoch=1, first_seq=6, count=1, partition=0, server="bad")
    await _send(produce, 7, 4)
    await _send(produce, 1, 5, partition=1)
    await good.until(lambda: len(good.rooms) == 14)
    await bad.until_called()
    async with asyncio.timeout(20):
        assert await job.ended() == 0
    assert await committed.offsets() == [5, 5, 0, 0]
    assert "Records let go of unfinished" in job.log
    assert "Pushes abandoned" not in job.log.split("Job is draining")[0]
    bad.stuck.clear()
    await make_job().up()
    await committed.until([10, 5, 0, 0])
    assert bad.bodies("r") == ["0 6"]
    assert good.bodies("r")[14:] == ["0 7", "0 8", "0 9", "0 10"]


async def test_when_time_to_drain_is_over_what_finished_is_committed(
    make_job: StartJob, nodes: Nodes, produce: Produce, committed: Committed
) -> None:
    """However slowly a node goes on: Job ends with 0, and the rest comes again, none left out."""
    one = await nodes.up("one", rooms=["r"], delay_s=0.7)
    job = await make_job(JOB_DRAIN_SECONDS="1").up()
    singles = [f"single {number}" for number in range(30)]
    for single in singles:
        await produce(type=PushMsg.BROADCAST, msg=single, id=single, partition=0)
        await produce(type=ROOM, room="r", msg=single, id=single, partition=0)
    await one.until(lambda: one.rooms)
    async with asyncio.timeout(20):
        assert await job.ended() == 0
    one.delay_s = 0.0
    await make_job().up()
    await committed.until([60, 0, 0, 0])
    assert list(dict.fromkeys(one.bodies("r"))) == singles
    assert list(dict.fromkeys(push.proto.body for push in one.everyone)) == singles


@pytest.mark.parametrize("partitions", [8, 2])
async def test_more_partitions_than_consumers_and_fewer_both_work(
    make_job: StartJob, nodes: Nodes, producer: AIOKafkaProducer, kafka: KafkaServer, partitions: int
) -> None:
    """All four consumers are ready either way, and every partition's records are pushed in order and committed."""
    one = await nodes.up("one", rooms=["r"])
    topic = await asyncio.to_thread(kafka.create_topic, None, partitions)
    settings = {"CHAT_KAFKA_TOPIC": topic, "JOB_PARTITIONS": str(partitions)}
    job = await make_job(**settings).up()
    await _to_all(producer, topic, partitions, 1, 10)
    await one.until(lambda: len(one.rooms) == 10 * partitions)
    assert await job.until_metric("job_records_total", 10 * partitions, result="pushed") == 10 * partitions
    assert await job.ended() == 0
    await make_job(**settings).up()
    await _to_all(producer, topic, partitions, 11, 5)
    await one.until(lambda: len(one.rooms) >= 15 * partitions)
    for partition in range(partitions):
        assert [body for body in one.bodies("r") if body.startswith(f"{partition} ")] == _expected(partition, 15)


async def _to_all(producer: AIOKafkaProducer, topic: str, partitions: int, first: int, count: int) -> None:
    for number in range(first, first + count):
        for partition in range(partitions):
            text = f"{partition} {number}".encode()
            value = PushMsg(type=ROOM, operation=4, room="r", msg=text, epoch=1, first_seq=number, count=1)
            await producer.send_and_wait(topic, value.SerializeToString(), partition=partition)


async def test_two_jobs_share_the_partitions(
    make_job: StartJob, nodes: Nodes, produce: Produce, committed: Committed
) -> None:
    """Either has some, none is had twice: with nobody failing each record is pushed once."""
    one = await nodes.up("one", rooms=["r"])
    first, second = await asyncio.gather(make_job().up(), make_job().up())
    before = len(first.log), len(second.log)
    await eventually(lambda: _settled(first, second), timeout_s=30)
    for partition in range(PARTITIONS):
        await _send(produce, 1, 20, partition)
    await committed.until([20] * PARTITIONS)
    assert sorted(one.bodies("r")) == sorted(
        text for partition in range(PARTITIONS) for text in _expected(partition, 20)
    )
    for job, length in zip((first, second), before, strict=True):
        assert "Received PushMsg" in job.log[length:]


async def _settled(*jobs: JobProgram) -> bool:
    """Whether every partition has exactly one owner now; an empty topic shows a lag of 0."""
    shown = [set(await job.by_label("job_kafka_lag", "partition")) for job in jobs]
    return all(shown) and sorted(one for owned in shown for one in owned) == [str(one) for one in range(PARTITIONS)]
