"""A consumer: what it fetches, when it stops to, and how it leaves. Kafka is a fake."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from common.errors import Unavailable
from common.health import Health
from job import consumer as module
from job import progress
from job.config import JobSettings
from job.consumer import Consumer
from job.record import PUSHED, PendingRecord
from protos.job_pb2 import PushMsg
from tests.support.eventually import eventually
from tests.unit.job.fakes import FakeRecord, source

P0, P1 = 0, 1


class FakeMember:
    """A member of the group, see job/kafka.py."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[FakeRecord]] = {P0: [], P1: []}
        self.closed: set[int] = set()
        self.asked: list[set[int]] = []
        self.committed: dict[int, int] = {}
        self.fault: Exception | None = None
        self.arrived = asyncio.Event()
        self.left = False

    def put(self, partition: int, *sources: FakeRecord) -> None:
        """Let records arrive."""
        self.waiting[partition] += sources
        self.arrived.set()

    def assigned(self) -> set[int]:
        """Both."""
        return set(self.waiting)

    async def fetch(self, partitions: Collection[int], timeout_ms: int, most: int) -> dict[int, list[FakeRecord]]:
        """Return what waits, or wait for it."""
        self.asked.append(set(partitions))
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        found = self._take(partitions, most)
        if not found:
            self.arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_ms / 1000):
                    await self.arrived.wait()
            found = self._take(partitions, most)
        return found

    def _take(self, partitions: Collection[int], most: int) -> dict[int, list[FakeRecord]]:
        found = {}
        for tp in partitions or self.waiting:
            assert tp not in self.closed
            if taken := self.waiting[tp][:most]:
                found[tp], self.waiting[tp] = taken, self.waiting[tp][most:]
        return found

    @contextmanager
    def paused(self, partitions: Collection[int]) -> Iterator[None]:
        """Fetch nothing of these."""
        self.closed |= set(partitions)
        try:
            yield
        finally:
            self.closed -= set(partitions)

    async def commit(self, offsets: dict[int, int]) -> None:
        """Commit."""
        assert not self.left
        self.committed |= offsets

    def end_of(self, _partition: int) -> int:
        """Where the partition ends."""
        return 100

    def answered_at(self, _partition: int) -> float:
        """When Kafka answered last."""
        return 0.0


class FakeKafka:
    """Lets consumers join."""

    def __init__(self) -> None:
        self.members: list[FakeMember] = []
        self.absent = 0
        self.revoke: Callable[[], Awaitable[None]]

    @asynccontextmanager
    async def member(self, _client_id: str, revoked: Callable[[], Awaitable[None]]) -> AsyncIterator[FakeMember]:
        """Join."""
        if self.absent:
            self.absent -= 1
            raise Unavailable("nobody there")
        member = FakeMember()
        self.members.append(member)
        self.revoke = revoked
        try:
            yield member
        finally:
            member.left = True


class Sink:
    """Takes records in the dispatcher's place; the test settles them."""

    def __init__(self) -> None:
        self.records: list[PendingRecord] = []
        self.letters: list[tuple[PendingRecord, str]] = []
        self.relieved = 0
        self._arrived = asyncio.Event()

    async def dispatch(self, records: list[PendingRecord]) -> None:
        """Take them."""
        for record in records:
            record.give_to(1)
        self.records += records
        self._arrived.set()

    def put(self, record: PendingRecord, _source: FakeRecord, reason: str) -> None:
        """Take a dead letter."""
        self.letters.append((record, reason))

    def relieve(self) -> None:
        """Hear that somebody waits."""
        self.relieved += 1

    async def until(self, count: int) -> None:
        """Wait until so many were taken."""
        async with asyncio.timeout(5):
            while len(self.records) < count:
                self._arrived.clear()
                await self._arrived.wait()


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """Kafka as Job's adapter shows it; retries and commits come at once."""
    kafka = FakeKafka()
    monkeypatch.setattr("common.backoff.random.uniform", lambda _low, _high: 0.01)
    monkeypatch.setattr(module, "COMMIT_S", 0.01)
    return kafka


@pytest.fixture
def sink() -> Sink:
    """Nothing taken yet."""
    return Sink()


@pytest.fixture
def health() -> Health:
    """All is well."""
    return Health()


@pytest.fixture
async def consumer(kafka: FakeKafka, sink: Sink, health: Health) -> AsyncIterator[Consumer]:
    """At work."""
    fakes: Any = sink
    it = Consumer(0, JobSettings.load([], {}), kafka.member, fakes, fakes, health)
    task = asyncio.create_task(it.run())
    await eventually(lambda: kafka.members)
    yield it
    it.stop(0.0)
    async with asyncio.timeout(20):
        await task
    assert kafka.members[-1].left


def _room(offset: int, partition: int = 0) -> FakeRecord:
    return source(offset, partition, type=PushMsg.ROOM, operation=4, room="r", msg=b"x")


@pytest.mark.usefixtures("consumer")
async def test_what_is_finished_is_committed_and_nothing_else(kafka: FakeKafka, sink: Sink) -> None:
    """An unreadable record is a dead letter, and holds up the commit until it is written."""
    (member,) = kafka.members
    member.put(P0, _room(5), FakeRecord(b"\xff", 6), _room(7))
    await sink.until(2)
    sink.records[0].settle(PUSHED)
    sink.records[1].settle(PUSHED)
    await eventually(lambda: member.committed == {P0: 6})
    ((letter, reason),) = sink.letters
    assert reason.startswith("not a PushMsg")
    letter.settle(PUSHED)
    await eventually(lambda: member.committed == {P0: 8})


@pytest.mark.usefixtures("consumer")
async def test_a_full_partition_is_not_fetched_from_and_the_others_are(
    kafka: FakeKafka, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failing nodes are hurried; with room again, it goes on where it stopped."""
    monkeypatch.setattr(progress, "MAX_RECORDS", 2)
    (member,) = kafka.members
    member.put(P0, _room(0), _room(1))
    await sink.until(2)
    member.put(P0, _room(2))
    for offset in range(4):
        member.put(P1, _room(offset, 1))
        await sink.until(3 + offset)
        sink.records[-1].settle(PUSHED)
    assert member.waiting[P0]
    assert member.asked[-1] == {P1}
    assert sink.relieved
    sink.records[1].settle(PUSHED)
    await asyncio.sleep(0.1)
    assert member.waiting[P0], "the first record still blocks"
    sink.records[0].settle(PUSHED)
    await sink.until(7)
    assert sink.records[-1].offset == 2


@pytest.mark.usefixtures("consumer")
async def test_with_all_partitions_full_it_waits_for_the_first_to_move(
    kafka: FakeKafka, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking Kafka for nothing."""
    monkeypatch.setattr(progress, "MAX_RECORDS", 1)
    (member,) = kafka.members
    member.put(P0, _room(0))
    member.put(P1, _room(0, 1))
    await sink.until(2)
    member.put(P0, _room(1))
    asked = len(member.asked)
    await asyncio.sleep(0.15)
    assert len(member.asked) <= asked + 1
    sink.records[0].settle(PUSHED)
    await sink.until(3)


@pytest.mark.usefixtures("consumer")
async def test_when_kafka_fails_it_joins_anew_and_forgets_what_was_in_flight(
    kafka: FakeKafka, sink: Sink, health: Health
) -> None:
    """It comes again from the committed offset; what finishes late commits nothing."""
    kafka.members[0].put(P0, _room(0))
    await sink.until(1)
    kafka.absent = 2
    kafka.members[0].fault = Unavailable("gone")
    kafka.members[0].arrived.set()
    await eventually(lambda: len(kafka.members) == 2 and health.ready)
    sink.records[0].settle(PUSHED)
    kafka.members[1].put(P0, _room(0))
    await sink.until(2)
    assert kafka.members[0].committed == kafka.members[1].committed == {}
    sink.records[1].settle(PUSHED)
    await eventually(lambda: kafka.members[1].committed == {P0: 1})


@pytest.mark.usefixtures("consumer")
async def test_before_partitions_are_shared_out_anew_what_is_in_flight_is_finished_and_committed(
    kafka: FakeKafka, sink: Sink
) -> None:
    """What is fetched afterwards is accounted for anew."""
    (member,) = kafka.members
    member.put(P0, _room(0))
    await sink.until(1)
    revoking = asyncio.ensure_future(kafka.revoke())
    await asyncio.sleep(0.02)
    assert not revoking.done()
    sink.records[0].settle(PUSHED)
    await revoking
    assert member.committed == {P0: 1}
    member.put(P0, _room(4))
    await sink.until(2)
    sink.records[1].settle(PUSHED)
    await eventually(lambda: member.committed == {P0: 5})


async def test_stopped_for_longer_than_the_group_waits_it_commits_nothing_and_joins_anew(
    consumer: Consumer, kafka: FakeKafka, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may have its partitions and be ahead; Kafka itself is not relied upon to refuse."""
    (member,) = kafka.members
    member.put(P0, _room(0))
    await sink.until(1)
    monkeypatch.setattr(module, "BEAT_S", 60)
    await asyncio.sleep(0.25)  # the beat that was under way
    monkeypatch.setattr(consumer, "_beat_at", 0.0)  # as it was when the process was stopped
    sink.records[0].settle(PUSHED)
    await kafka.revoke()
    assert member.committed == {}
    monkeypatch.setattr(consumer, "_thrown_out", True)  # what the next beat finds
    await eventually(lambda: len(kafka.members) == 2)
    assert member.committed == {}
    monkeypatch.setattr(consumer, "_beat_at", time.monotonic())
    kafka.members[1].put(P0, _room(0))
    await sink.until(2)
    sink.records[1].settle(PUSHED)
    await eventually(lambda: kafka.members[1].committed == {P0: 1})


@pytest.mark.usefixtures("consumer")
async def test_a_new_member_commits_nothing_of_the_one_before(kafka: FakeKafka, sink: Sink, health: Health) -> None:
    """The group may have given the partition to another, which would read from what this one commits."""
    kafka.members[0].put(P0, _room(0))
    await sink.until(1)
    kafka.members[0].fault = Unavailable("gone")
    kafka.members[0].arrived.set()
    await eventually(lambda: len(kafka.members) == 2 and health.ready)
    sink.records[0].settle(PUSHED)
    kafka.members[1].put(P1, _room(7, 1))
    await sink.until(2)
    sink.records[1].settle(PUSHED)
    await eventually(lambda: kafka.members[1].committed)
    assert kafka.members[1].committed == {P1: 8}


async def test_asked_to_stop_it_finishes_what_is_in_flight_commits_and_leaves(kafka: FakeKafka, sink: Sink) -> None:
    """It fetches nothing more."""
    fakes: Any = sink
    consumer = Consumer(0, JobSettings.load([], {}), kafka.member, fakes, fakes, Health())
    task = asyncio.create_task(consumer.run())
    await eventually(lambda: kafka.members)
    (member,) = kafka.members
    member.put(P0, _room(0))
    await sink.until(1)
    consumer.stop(asyncio.get_running_loop().time() + 5)
    member.put(P0, _room(1))
    await asyncio.sleep(0.05)
    assert not task.done()
    sink.records[0].settle(PUSHED)
    async with asyncio.timeout(20):
        await task
    assert (member.committed, member.left, len(sink.records)) == ({P0: 1}, True, 1)


async def test_asked_to_stop_while_kafka_is_away_it_ends_at_once(kafka: FakeKafka, sink: Sink) -> None:
    """Nothing is in flight."""
    kafka.absent = 1_000_000
    fakes: Any = sink
    consumer = Consumer(0, JobSettings.load([], {}), kafka.member, fakes, fakes, Health())
    task = asyncio.create_task(consumer.run())
    await asyncio.sleep(0.05)
    consumer.stop(0.0)
    async with asyncio.timeout(20):
        await task
