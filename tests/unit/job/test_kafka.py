"""Job's Kafka adapters over a scripted aiokafka: partitions by number, and every fault as an error of ours."""

import asyncio
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaConnectionError,
    MessageSizeTooLargeError,
)

from common.errors import ChatError, TooLarge, Unavailable
from job.kafka import KafkaMember
from job.kafka_topics import KafkaWriter
from tests.unit.job.fakes import FakeRecord

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
FAULTS: Final = [KafkaConnectionError("gone"), ConsumerStoppedError("gone"), IllegalStateError("gone"), OSError("gone")]


class ScriptedConsumer:
    """aiokafka's consumer: notes the calls, raises what it is told to."""

    def __init__(self) -> None:
        self.owned = {P0, P1}
        self.records = {P1: [FakeRecord(b"v", 3, partition=1)]}
        self.calls: list[tuple[Any, ...]] = []
        self.fault: Exception | None = None

    def assignment(self) -> set[TopicPartition]:
        """Those owned now."""
        return self.owned

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> Any:
        """Return all records."""
        self._note("getmany", set(partitions), timeout_ms, max_records)
        return self.records

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing of these."""
        self._note("pause", set(partitions))

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch again."""
        self._note("resume", set(partitions))

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit."""
        self._note("commit", offsets)

    def highwater(self, tp: TopicPartition) -> int | None:
        """Where the partition ends."""
        return {P0: 12}.get(tp)

    def last_poll_timestamp(self, tp: TopicPartition) -> int | None:
        """When Kafka answered last, in ms."""
        return {P0: 1_500}.get(tp)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def consumer() -> ScriptedConsumer:
    """With one record to fetch."""
    return ScriptedConsumer()


@pytest.fixture
def member(consumer: ScriptedConsumer) -> KafkaMember:
    """A member of the group that reads the topic t."""
    return KafkaMember(consumer, "t")


async def test_a_member_names_its_topic_to_kafka_and_partitions_by_number_to_job(
    member: KafkaMember, consumer: ScriptedConsumer
) -> None:
    """Records pass through untouched."""
    assert member.assigned() == {0, 1}
    assert await member.fetch({1}, 50, 500) == {1: consumer.records[P1]}
    assert (await member.fetch((), 1000, 500))[1] is consumer.records[P1]
    await member.commit({0: 7, 1: 9})
    assert consumer.calls == [("getmany", {P1}, 50, 500), ("getmany", set(), 1000, 500), ("commit", {P0: 7, P1: 9})]


def test_the_end_and_the_last_answer_are_known_once_kafka_told_them(member: KafkaMember) -> None:
    """None and 0 before."""
    assert (member.end_of(0), member.answered_at(0)) == (12, 1.5)
    assert (member.end_of(1), member.answered_at(1)) == (None, 0)


def test_a_paused_partition_is_resumed_unless_it_was_revoked_meanwhile(
    member: KafkaMember, consumer: ScriptedConsumer
) -> None:
    """Aiokafka refuses to resume a partition that another member has."""
    with member.paused({0, 1}):
        consumer.owned = {P1}
    assert consumer.calls == [("pause", {P0, P1}), ("resume", {P1})]


@pytest.mark.parametrize("fault", [*FAULTS, CommitFailedError("gone")], ids=lambda fault: type(fault).__name__)
async def test_every_fault_of_a_member_is_unavailable_with_its_text(
    member: KafkaMember, consumer: ScriptedConsumer, fault: Exception
) -> None:
    """Whatever the call; the consumer then joins anew."""
    consumer.fault = fault

    async def pause() -> None:
        with member.paused({0}):
            raise AssertionError("paused in spite of the fault")

    for call in (member.fetch({0}, 1, 1), member.commit({0: 1}), pause()):
        with pytest.raises(Unavailable) as caught:
            await call
        assert "gone" in caught.value.message
        assert caught.value.__cause__ is fault


async def test_an_error_that_is_no_fault_of_kafka_stays_what_it_is(
    member: KafkaMember, consumer: ScriptedConsumer
) -> None:
    """A defect ends the process with its traceback instead of a retry."""
    consumer.fault = ValueError("a defect")
    with pytest.raises(ValueError, match="a defect"):
        await member.fetch({0}, 1, 1)


class ScriptedProducer:
    """aiokafka's producer: its futures are settled by the test."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
        self.futures: list[asyncio.Future[object]] = []
        self.fault: Exception | None = None

    async def send(
        self, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]
    ) -> asyncio.Future[object]:
        """Take a record."""
        if self.fault is not None:
            raise self.fault
        self.sent.append((topic, value, key, headers))
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


async def test_a_written_record_is_done_when_kafka_has_acknowledged_it() -> None:
    """And no sooner."""
    producer = ScriptedProducer()
    acknowledged = await KafkaWriter(producer, "t.dlq").send(b"k", b"v", [("h", b"x")])
    assert producer.sent == [("t.dlq", b"v", b"k", [("h", b"x")])]
    await asyncio.sleep(0)
    assert not acknowledged.done()
    producer.futures[0].set_result(object())
    await acknowledged


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (MessageSizeTooLargeError("too large"), TooLarge),
        (KafkaConnectionError("gone"), Unavailable),
        (TimeoutError(), Unavailable),
    ],
    ids=["too large", "gone", "no answer"],
)
async def test_a_record_that_kafka_did_not_take_says_why(error: Exception, fault: type[ChatError]) -> None:
    """TooLarge tells a record to cut from one to send again."""
    producer = ScriptedProducer()
    acknowledged = await KafkaWriter(producer, "t.dlq").send(None, b"v", [])
    producer.futures[0].set_exception(error)
    with pytest.raises(fault):
        await acknowledged


async def test_a_record_that_cannot_be_sent_at_all_is_unavailable() -> None:
    """As while Kafka is away."""
    producer = ScriptedProducer()
    producer.fault = KafkaConnectionError("gone")
    with pytest.raises(Unavailable, match="gone"):
        await KafkaWriter(producer, "t.dlq").send(None, b"v", [])
