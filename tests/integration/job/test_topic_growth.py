"""A topic grows while all run, on Apache Kafka (the embedded broker can't): nothing is late, hidden or reordered."""

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from chatroom.up.guard import Guard
from protos.job_pb2 import PushMsg
from testbed.apache_kafka import MissingProgram
from testbed.kafka_server import ApacheKafka
from tests.integration.job.conftest import JobProgram, Nodes, StartJob
from tests.support.eventually import eventually
from tests.support.logic_node import Logic, comet_send, running, settings_of

OLD, NEW = 2, 6
LOOK_S = 1.0
# A look and a rebalance. By default a look comes every 10 s.
SERVED_S = 10.0
ROOMS = tuple("abcdefgh")
BATCH = 12


@pytest.fixture(scope="module")
def kafka(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """Apache Kafka, for all tests of this file."""
    try:
        server = ApacheKafka(guard, tmp_path_factory.mktemp("kafka"))
    except MissingProgram as e:
        pytest.skip(str(e))
    with server:
        yield server


@pytest.fixture
def topic(kafka: ApacheKafka) -> str:
    """A topic of two partitions."""
    return kafka.create_topic(None, OLD)


async def grow(kafka: ApacheKafka, topic: str) -> None:
    """Add partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.brokers)
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(NEW)})
    await admin.close()


async def send(producer: AIOKafkaProducer, topic: str, partition: int, user: str, text: str) -> None:
    """Produce a push to a user, as Logic does."""
    push = PushMsg(type=PushMsg.PUSH, operation=4, keys=[user], msg=text.encode(), id=text)
    async with asyncio.timeout(10):
        await producer.send_and_wait(topic, push.SerializeToString(), partition=partition)


async def until_warned(job: JobProgram, name: str, *, warned: bool) -> str:
    """Wait until /readyz has a warning of this name, or none; return it. Job is ready all the time."""
    found = ""

    async def as_wanted() -> bool:
        nonlocal found
        report = await asyncio.to_thread(job.report)
        assert not report["reasons"], report
        found = report["warnings"].get(name, "")
        assert report["status"] == ("degraded" if report["warnings"] else "ok")
        return bool(found) == warned

    await eventually(as_wanted, f"warning {name}: {warned}", 20)
    return found


@pytest.mark.parametrize("expected", ["0", str(OLD)])
async def test_new_partitions_are_served_soon_and_from_their_beginning(  # noqa: PLR0913, PLR0917 - fixtures
    make_job: StartJob, nodes: Nodes, producer: AIOKafkaProducer, kafka: ApacheKafka, topic: str, expected: str
) -> None:
    """Also what was written before Job knew of them; with a fixed JOB_PARTITIONS it warns of its next start."""
    one = await nodes.up("one", users=["u"])
    job = await make_job(JOB_PARTITIONS=expected, JOB_TOPIC_LOOK_SECONDS=str(LOOK_S)).up()
    await send(producer, topic, 0, "u", "before")
    await one.until(lambda: one.users)
    await grow(kafka, topic)
    grown_at = time.monotonic()
    await producer.client.force_metadata_update()
    texts = [f"{partition} {number}" for partition in range(NEW) for number in range(5)]
    for text in texts:
        await send(producer, topic, int(text[0]), "u", text)
    await one.until(lambda: len(one.users) >= 1 + len(texts))
    assert time.monotonic() - grown_at < SERVED_S
    assert sorted(push.proto.body for push in one.users) == sorted([*texts, "before"])

    async def all_shown() -> bool:
        return await job.by_label("job_kafka_lag", "partition") == {str(one): 0.0 for one in range(NEW)}

    await eventually(all_shown, "the lag of all partitions")
    await until_warned(job, "kafka_unread", warned=False)
    warning = await until_warned(job, "kafka_partitions", warned=expected != "0")
    assert ("set it to 6 or 0" in warning) == (expected != "0")


class _LeavesOut(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka publishes no types
    """Shares partitions out as the others do, but for partition 1."""

    @classmethod
    def assign(cls, cluster: object, members: object) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return each member's partitions without partition 1."""
        return {
            member: ConsumerProtocolMemberAssignment(
                given.version, [(topic, [one for one in parts if one != 1]) for topic, parts in given.assignment], b""
            )
            for member, given in super().assign(cluster, members).items()
        }


async def test_a_partition_that_nobody_reads_is_told_and_its_lag_is_shown_once(
    make_job: StartJob, nodes: Nodes, producer: AIOKafkaProducer, kafka: ApacheKafka
) -> None:
    """A stranger leads the group and leaves one out: /readyz warns, and one of two Jobs shows its lag."""
    one = await nodes.up("one", users=["u"])
    topic = await asyncio.to_thread(kafka.create_topic)
    stranger = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.brokers,
        group_id=topic,
        enable_auto_commit=False,
        partition_assignment_strategy=[_LeavesOut],
        heartbeat_interval_ms=500,
    )
    await stranger.start()
    settings = {"CHAT_KAFKA_TOPIC": topic, "JOB_CONSUMER_GROUP": topic, "JOB_TOPIC_LOOK_SECONDS": "0.3"}
    jobs = await asyncio.gather(make_job(**settings).up(), make_job(**settings).up())
    for number in range(5):
        await send(producer, topic, 1, "u", f"unread {number}")
    for job in jobs:
        assert topic in await until_warned(job, "kafka_unread", warned=True)
        await job.until_metric("job_kafka_partitions_unread", 1)

    async def lags() -> list[float]:
        shown = [await job.by_label("job_kafka_lag", "partition") for job in jobs]
        return [lag["1"] for lag in shown if "1" in lag]

    async def shown_once() -> bool:
        return await lags() == [5.0]

    await eventually(shown_once, "the lag of partition 1")
    assert not one.users
    await stranger.stop()
    await one.until(lambda: len(one.users) == 5)
    for job in jobs:
        await until_warned(job, "kafka_unread", warned=False)
        assert await job.metric("job_kafka_partitions_unread") == 0


async def test_within_each_partition_a_rooms_messages_follow_seq_while_the_topic_grows(
    kafka: ApacheKafka, topic: str, redis_url: str
) -> None:
    """Two Logics may see the growth at different moments; a room is in two partitions at most, in order in either."""
    settings = [settings_of(kafka, topic, redis_url, LOGIC_CHECK_SECONDS=seconds) for seconds in ("0.1", "0.7")]
    async with running(settings[0]) as fast, running(settings[1]) as slow:
        forwarding = asyncio.ensure_future(_forward((fast, slow), 200))
        await asyncio.sleep(0)
        await grow(kafka, topic)
        async with asyncio.timeout(60):
            await forwarding
    found = await _read(kafka, topic, 200 * len(ROOMS))
    moved = 0
    for room in ROOMS:
        by_partition: dict[int, list[int]] = {}
        for partition, push in found:
            if push.room == room:
                by_partition.setdefault(partition, []).append(push.first_seq)
        firsts = [list(dict.fromkeys(seqs)) for seqs in by_partition.values()]
        assert {seq for seqs in firsts for seq in seqs} == set(range(1, 201))
        assert firsts == [sorted(seqs) for seqs in firsts]
        assert len(by_partition) <= 2
        moved += len(by_partition) == 2
    assert moved, "no room moved: the topic did not grow in time"


async def _forward(logics: tuple[Logic, Logic], most: int) -> None:
    """Be Comet's forwarder behind a load balancer: one batch in flight, Logics in turn, failures again."""
    waiting = [comet_send(room, seq) for seq in range(1, most + 1) for room in ROOMS]
    turns = cycle(logics)
    while waiting:
        answer = await next(turns).post("/logic/send/batch", {"sends": waiting[:BATCH]})
        results = answer.json.get("results", []) if answer.status == 200 else []
        done = [result["status"] == "success" for result in results] or [False] * BATCH
        waiting[:BATCH] = [send for send, success in zip(waiting, done, strict=False) if not success]


async def _read(kafka: ApacheKafka, topic: str, count: int) -> list[tuple[int, PushMsg]]:
    """Return so many records, each with its partition."""
    found: list[tuple[int, PushMsg]] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.brokers, auto_offset_reset="earliest")
    await consumer.start()
    async with asyncio.timeout(20):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += [(record.partition, PushMsg.FromString(record.value)) for record in records]
    await consumer.stop()
    return found
