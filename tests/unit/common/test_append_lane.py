"""The append lane without Redis: what a draining node may rely on."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from common.append_lane import STRIPS, AppendLane, _Append, _strips
from common.append_script import AppendScript, StoreLimits
from common.envelope import User
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

    def __init__(self) -> None:
        super().__init__(Redis(), Shards(4), StoreLimits())
        self.batches: list[list[str]] = []  # the refs of each
        self.let = asyncio.Semaphore(0)

    async def _ask(self, batch: list[_Append]) -> list[Any]:
        self.batches.append([append.arguments[9] for append in batch])
        await self.let.acquire()
        return [[0, b"7 1 1-0", 1] for _ in batch]


async def test_what_is_in_flight_and_what_waits_is_answered() -> None:
    """A node that stops awaits both before it closes its sessions, or their senders would send again elsewhere."""
    lane = SlowLane()
    running = asyncio.create_task(lane.run())
    try:
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
    finally:
        running.cancel()
        await asyncio.wait([running])


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
