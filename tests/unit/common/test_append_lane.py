"""The append lane without Redis: what a draining node may rely on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.append_lane import STRIPS, AppendLane, _Append, _strips
from common.append_script import Appended, AppendScript, StoreLimits
from common.envelope import User
from common.errors import Overloaded, Unavailable
from common.shards import Shards
from tests.support.eventually import eventually


async def test_whoever_waited_for_all_answers_comes_behind_those_who_were_answered() -> None:
    """An answer given in this very turn of the loop reaches its sender before `answered` returns."""
    lane = AppendLane(Redis(), Shards(4), StoreLimits())
    told: list[str] = []
    answer = lane.append("r", User("1", "a"), ["x"], "ref", forward=True)
    answer.add_done_callback(lambda _: told.append("sender"))
    lane.give_up()
    lane._waiting.clear()  # noqa: SLF001 - as if its pipeline had just been answered
    answer.exception()
    await lane.answered()
    told.append("whoever waited")
    assert told == ["sender", "whoever waited"]


class SlowLane(AppendLane):
    """A lane whose Redis answers a batch when it is let."""

    def __init__(self, **limits: float) -> None:
        super().__init__(Redis(), Shards(4), StoreLimits(**limits))  # type: ignore[arg-type]  # as open_store's
        self.away = False
        self.batches: list[list[str]] = []  # the refs of each
        self.let = asyncio.Semaphore(0)

    async def _ask(self, batch: list[_Append]) -> list[Any]:
        self.batches.append([append.arguments[9] for append in batch])
        if self.away:
            raise RedisConnectionError("Redis is away")
        await self.let.acquire()
        return [[0, b"7 1 1-0", 1] for _ in batch]


@asynccontextmanager
async def running(lane: AppendLane) -> AsyncIterator[None]:
    """Carry out the lane's appends while inside."""
    task = asyncio.create_task(lane.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_is_in_flight_and_what_waits_is_answered() -> None:
    """A node that stops awaits both before it closes its sessions, or their senders would send again elsewhere."""
    lane = SlowLane()
    async with running(lane):
        flies = lane.append("r", User("1", "a"), ["x"], "flies", forward=True)
        await eventually(lambda: lane.batches == [["flies"]])
        waits = lane.append("r", User("1", "a"), ["y"], "waits", forward=True)
        stopping = asyncio.create_task(lane.answered())
        lane.let.release()
        await eventually(lambda: lane.batches == [["flies"], ["waits"]])
        assert (flies.done(), waits.done(), stopping.done()) == (True, False, False)
        lane.let.release()
        await eventually(stopping.done)
        assert waits.done()


def append(lane: AppendLane, content: str) -> asyncio.Future[Appended]:
    """Append a message to a room."""
    return lane.append("r", User("1", "a"), [content], None, forward=True)


async def test_too_many_waiting_bytes_are_refused_and_a_large_message_alone_is_not() -> None:
    """What is in flight counts as well; what was answered does not."""
    lane = SlowLane(append_queue_bytes=5000)
    async with running(lane):
        waiting = [append(lane, "x" * 10_000)]
        with pytest.raises(Overloaded):
            append(lane, "one too many")
        await eventually(lambda: lane.batches)
        with pytest.raises(Overloaded):
            append(lane, "one too many")
        lane.let.release()
        await eventually(waiting[0].done)
        append(lane, "x" * 10_000)


async def test_what_redis_does_not_answer_in_time_is_refused_and_counts_no_more() -> None:
    """Of the batch as well as behind it; the next one is tried."""
    lane = SlowLane(append_queue_bytes=20_000, append_timeout_s=0.05)
    lane.away = True
    async with running(lane):
        late = [append(lane, "x" * 10_000)]
        await eventually(lambda: lane.batches)
        late.append(append(lane, "y" * 10_000))
        await eventually(lambda: all(one.done() for one in late))
        assert [type(one.exception()) for one in late] == [Unavailable] * 2
        lane.away = False
        lane.let.release()
        assert (await asyncio.wait_for(append(lane, "z" * 10_000), 10)).first_seq == 1
        append(lane, "z" * 10_000)  # nothing of what was given up is counted


async def test_what_is_in_flight_or_waits_is_given_up_at_the_end() -> None:
    """There is no more time to wait for Redis: each sender is told to send again elsewhere."""
    lane = SlowLane()
    async with running(lane):
        asked = [append(lane, "flies")]
        await eventually(lambda: lane.batches)
        asked.append(append(lane, "waits"))
        lane.give_up()
        assert [type(one.exception()) for one in asked] == [Unavailable] * 2


async def test_what_is_called_later_is_not_waited_for() -> None:
    """`answered` returns with the last of the appends called before it."""
    lane = AppendLane(Redis(), Shards(4), StoreLimits())
    lane.append("r", User("1", "a"), ["x"], "ref", forward=True)
    waiting = asyncio.create_task(lane.answered())
    await asyncio.sleep(0)
    lane.give_up()
    late = lane.append("r", User("1", "a"), ["y"], "late", forward=True)
    async with asyncio.timeout(10):
        await waiting
    assert not late.done()


async def test_a_large_batch_is_dealt_out_by_room() -> None:
    """Over several connections, a room's appends over one and in their order; a small one over one."""
    script, alice, loop = AppendScript(Shards(4), StoreLimits()), User("1", "a"), asyncio.get_running_loop()
    asked = [script.arguments(f"r{i % 9}", alice, ["x" * 200], f"{i}", forward=True) for i in range(200)]
    batch = [_Append(*one, loop.create_future()) for one in asked]
    strips = _strips(batch)
    assert 1 < len(strips) <= STRIPS
    assert sorted(i for strip in strips for i in strip) == list(range(200))
    where: dict[str, int] = {}
    for number, strip in enumerate(strips):
        assert strip == sorted(strip)
        for i in strip:
            assert where.setdefault(batch[i].stream, number) == number
    assert _strips(batch[:5]) == [[0, 1, 2, 3, 4]]
