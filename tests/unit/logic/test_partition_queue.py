"""The partition queue with a broker that the test commands: order, what a failure takes with it, what a hang does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from common.errors import ChatError, Overloaded, TooLarge, Unavailable
from logic.partition_queue import RECORD_OVERHEAD_BYTES, PartitionQueue, QueueLoad
from logic.push_messages import ProducerRecord

KEY = b"room"


def _records(*values: str) -> list[ProducerRecord]:
    return [ProducerRecord(KEY, value.encode()) for value in values]


class FakeBroker:
    """Takes batches; the test settles them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.futures: list[asyncio.Future[object]] = []
        self.arrived = asyncio.Condition()
        self.refuse: ChatError | None = None
        self.faults: list[BaseException] = []

    async def write(self, partition: int, records: Sequence[ProducerRecord]) -> asyncio.Future[object]:
        """Note the batch."""
        assert partition == 3
        if self.refuse is not None:
            raise self.refuse
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.batches.append([record.value.decode() for record in records])
        self.futures.append(future)
        async with self.arrived:
            self.arrived.notify_all()
        return future

    def fault_of(self, error: BaseException) -> ChatError:
        """Make a MemoryError too large, anything else a passing fault."""
        self.faults.append(error)
        return TooLarge("too large") if isinstance(error, MemoryError) else Unavailable(str(error))

    async def batch(self, number: int) -> asyncio.Future[object]:
        """Wait for the batch of this number."""
        async with self.arrived, asyncio.timeout(5):
            await self.arrived.wait_for(lambda: len(self.futures) > number)
        return self.futures[number]


class LaneUnderTest:
    """A running queue."""

    def __init__(self, batch_bytes: int = 10_000, timeout_s: float = 30.0) -> None:
        self.broker = FakeBroker()
        self.load = QueueLoad()
        self.queue = PartitionQueue(3, self.broker, self.load, batch_bytes=batch_bytes, timeout_s=timeout_s)


@pytest.fixture
async def under_test() -> AsyncIterator[LaneUnderTest]:
    """A queue with a patient timeout."""
    it = LaneUnderTest()
    async with _running(it):
        yield it


@asynccontextmanager
async def _running(it: LaneUnderTest) -> AsyncIterator[LaneUnderTest]:
    running = asyncio.ensure_future(it.queue.run())
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_what_arrives_while_a_batch_is_in_flight_is_the_next_in_order(under_test: LaneUnderTest) -> None:
    """One batch at a time, the records in the order of the calls."""
    queue, broker = under_test.queue, under_test.broker
    first = queue.submit(_records("1"))
    flight = await broker.batch(0)
    rest = [queue.submit(_records("2", "3")), queue.submit(_records("4"))]
    assert under_test.load.waiting_bytes == 4 * (len(KEY) + 1 + RECORD_OVERHEAD_BYTES)
    flight.set_result(None)
    (await broker.batch(1)).set_result(None)
    outcomes = [await one for one in (first, *rest)]
    assert broker.batches == [["1"], ["2", "3", "4"]]
    assert [(one.acknowledged, one.fault) for one in outcomes] == [(1, None), (2, None), (1, None)]
    assert under_test.load.waiting_bytes == 0
    await queue.drain()


async def test_with_a_failed_batch_all_behind_it_fail_and_what_comes_later_is_tried(under_test: LaneUnderTest) -> None:
    """So nothing overtakes what failed."""
    queue, broker = under_test.queue, under_test.broker
    first = queue.submit(_records("1"))
    flight = await broker.batch(0)
    second = queue.submit(_records("2"))
    flight.set_exception(OSError("gone"))
    outcomes = [await first, await second]
    assert [one.acknowledged for one in outcomes] == [0, 0]
    assert all(one.fault is not None and one.fault.retriable for one in outcomes)
    third = queue.submit(_records("1"))
    (await broker.batch(1)).set_result(None)
    assert (await third).acknowledged == 1
    assert broker.batches == [["1"], ["1"]]
    assert under_test.load.waiting_bytes == 0


async def test_a_refusal_to_write_fails_what_was_to_be_written(under_test: LaneUnderTest) -> None:
    """With the broker's own words."""
    under_test.broker.refuse = Unavailable("no leader")
    outcome = await under_test.queue.submit(_records("1"))
    assert (outcome.acknowledged, outcome.fault) == (0, under_test.broker.refuse)
    assert under_test.broker.faults == []


async def test_a_call_larger_than_a_batch_is_acknowledged_as_far_as_it_came() -> None:
    """The first records of a call may be in Kafka although a later batch of it failed."""
    size = len(KEY) + 1 + RECORD_OVERHEAD_BYTES
    async with asyncio.timeout(10), _running(LaneUnderTest(batch_bytes=2 * size)) as it:
        call = it.queue.submit(_records("1", "2", "3", "4", "5"))
        (await it.broker.batch(0)).set_result(None)
        (await it.broker.batch(1)).set_exception(OSError("gone"))
        outcome = await call
        assert it.broker.batches == [["1", "2"], ["3", "4"]]
        assert outcome.acknowledged == 2
        assert isinstance(outcome.fault, Unavailable)
        assert it.load.waiting_bytes == 0


async def test_a_batch_that_hangs_is_given_up_and_blocks_the_queue_until_it_is_settled() -> None:
    """At most one batch hangs; nothing enters behind it; then all goes on."""
    async with asyncio.timeout(10), _running(LaneUnderTest(timeout_s=0.05)) as it:
        queue, broker = it.queue, it.broker
        first = await queue.submit(_records("1"))
        assert isinstance(first.fault, Unavailable)
        assert queue.stuck is not None
        await queue.drain()  # nobody waits for anything
        second = await queue.submit(_records("2"))
        assert second.fault is queue.stuck
        assert len(broker.batches) == 1
        broker.futures[0].set_result(None)
        third = queue.submit(_records("3"))
        while third.done():  # until the queue has noticed
            await asyncio.sleep(0)
            third = queue.submit(_records("3"))
        (await broker.batch(1)).set_result(None)
        assert (await third).acknowledged == 1
        assert broker.batches == [["1"], ["3"]]


async def test_a_hanging_batch_that_fails_after_all_is_told_to_the_broker() -> None:
    """It may have to be mended."""
    async with asyncio.timeout(10), _running(LaneUnderTest(timeout_s=0.02)) as it:
        await it.queue.submit(_records("1"))
        it.broker.futures[0].set_exception(OSError("gone"))
        while it.queue.stuck is not None:
            await asyncio.sleep(0)
        assert [str(error) for error in it.broker.faults] == ["gone"]


async def test_what_waits_longer_than_the_timeout_is_failed_with_all_behind_it() -> None:
    """A Kafka that is slow but alive must not make senders wait without end."""
    size = len(KEY) + 1 + RECORD_OVERHEAD_BYTES
    async with asyncio.timeout(10), _running(LaneUnderTest(batch_bytes=size, timeout_s=0.3)) as it:
        calls = [it.queue.submit(_records(str(number))) for number in range(3)]
        flight = await it.broker.batch(0)
        await asyncio.sleep(0.2)  # the clock is what is tested
        flight.set_result(None)
        flight = await it.broker.batch(1)
        await asyncio.sleep(0.2)
        flight.set_result(None)
        outcomes = [await one for one in calls]
        assert [one.acknowledged for one in outcomes] == [1, 1, 0]
        assert len(it.broker.batches) == 2


async def test_a_batch_too_large_for_the_broker_is_tried_smaller_and_a_record_alone_is_refused() -> None:
    """What can go goes; what never can is told so."""
    async with asyncio.timeout(10), _running(LaneUnderTest(batch_bytes=300)) as it:
        queue, broker = it.queue, it.broker
        call = queue.submit(_records("1", "2", "3"))
        (await broker.batch(0)).set_exception(MemoryError())
        outcome = await call
        assert outcome.acknowledged == 0
        assert outcome.fault is not None
        assert outcome.fault.retriable
        call = queue.submit(_records("1", "2", "3"))
        (await broker.batch(1)).set_result(None)
        (await broker.batch(2)).set_exception(MemoryError())
        outcome = await call
        assert broker.batches == [["1", "2", "3"], ["1", "2"], ["3"]]
        assert outcome.acknowledged == 2
        assert isinstance(outcome.fault, TooLarge)


async def test_whoever_stopped_waiting_changes_nothing_for_the_others(under_test: LaneUnderTest) -> None:
    """A cancelled request's records go their way."""
    queue, broker = under_test.queue, under_test.broker
    gone, stays = queue.submit(_records("1")), queue.submit(_records("2"))
    gone.cancel()
    (await broker.batch(0)).set_result(None)
    assert (await stays).acknowledged == 1
    assert broker.batches == [["1", "2"]]


async def test_a_linger_lets_others_share_the_batch() -> None:
    """With a linger, records of several turns of the loop make one batch."""
    it = LaneUnderTest()
    running = asyncio.ensure_future(it.queue.run(linger_s=0.05))
    calls = [it.queue.submit(_records("1"))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls.append(it.queue.submit(_records("2")))
    (await it.broker.batch(0)).set_result(None)
    assert [(await one).acknowledged for one in calls] == [1, 1]
    assert it.broker.batches == [["1", "2"]]
    running.cancel()
    await asyncio.wait([running])


def test_overloaded_is_retriable() -> None:
    """Who is refused for want of room may come back."""
    assert Overloaded("full").retriable
