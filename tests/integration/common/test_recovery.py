"""The recovered rule over the real scripts: whatever is sent, trimmed, lost, and read meanwhile. By Hypothesis."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from common.envelope import User
from common.positions import Position
from common.store import Store

ALICE = User("alice", "Alice")
ROOM = "room_1"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("restart"), st.sampled_from([0, 0, 1, 2, 6])),
        st.tuples(st.just("trim"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.integers(0, 3)),
    ),
    min_size=3,
    max_size=14,
)


class Model:
    """A room's log in Redis, and what everybody who was ever at its end had seen."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self.store = store
        self.redis = redis
        self.keys = store.keys_of(ROOM)
        self.log: list[str] = []  # the ids of all messages that were ever in the present log
        self.first = 1
        self.seen: dict[Position, list[str]] = {}
        self.metas: list[dict[Any, Any]] = []  # what meta said when each message had been sent

    async def append(self, count: int) -> None:
        """Send messages, one by one."""
        for _ in range(count):
            appended = await self.store.append(ROOM, ALICE, ["x"])
            self.log += appended.ids
            assert appended.first_seq == len(self.log)
            self.seen[Position(appended.epoch, appended.first_seq)] = list(self.log)
            self.metas.append(await self.redis.hgetall(self.keys.meta))

    async def restart(self, lost: int) -> None:
        """Another run of Redis, perhaps without the last messages and what meta said since: the AOF was cut there."""
        await asyncio.sleep(0.002)  # a restart takes longer than the millisecond that an epoch is named after
        keep = max(1, len(self.log) - lost)
        self.first = min(self.first, keep + 1)
        if keep < len(self.log):
            await self.redis.xdel(self.keys.stream, *self.log[keep:])
            del self.log[keep:], self.metas[keep:]
            await self.redis.delete(self.keys.meta)
            await self.redis.hset(self.keys.meta, mapping=self.metas[-1])
        if self.log:
            await self.redis.hset(self.keys.meta, "run", "another")

    async def trim(self, keep: int) -> None:
        """Keep only the newest messages."""
        await self.redis.xtrim(self.keys.stream, maxlen=keep, approximate=False)
        self.first = max(self.first, len(self.log) - keep + 1)

    async def read(self, count: int) -> None:
        """Look: that may open an epoch, and changes nothing else."""
        read = await self.store.read(ROOM, 0, count)
        assert (read.log.tail, read.log.first) == (len(self.log), min(self.first, len(self.log) + 1))
        self.seen.setdefault(read.log.position, list(self.log))

    async def check(self) -> None:
        """Who recovers gets exactly what he missed; who does not has seen what is gone, or missed what is trimmed."""
        for at, had in self.seen.items():
            read = await self.store.read(ROOM, at.seq + 1, 1000)
            good = self.log[: len(had)] == had and len(had) >= min(self.first, len(self.log) + 1) - 1
            assert read.log.recovers(at) is good, (at, read.log)
            if good:
                assert [entry.id.decode() for entry in read.entries] == self.log[len(had) :]
                epochs = [at.epoch, *(entry.epoch for entry in read.entries), read.log.epoch]
                assert epochs == sorted(epochs)
            else:
                assert read.log.position > at or at.seq < self.first - 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_who_recovers_misses_nothing_and_who_misses_nothing_recovers(
    store: Store, redis: Redis, steps: list[tuple[str, int]]
) -> None:
    """After any history of sends, restarts, losses and trims, for everybody who was ever at the end of the log."""
    await redis.delete(store.keys_of(ROOM).stream, store.keys_of(ROOM).meta)
    model = Model(store, redis)
    await model.append(2)
    for name, count in steps:
        await getattr(model, name)(count)
    await model.check()


async def test_a_read_opens_an_epoch_where_redis_may_have_lost_the_tail(store: Store, redis: Redis) -> None:
    """Once, and not in a room that has no log; positions told by readers then lie above all told before."""
    first = await store.append(ROOM, ALICE, ["one", "two"])
    await redis.hset(store.keys_of(ROOM).meta, mapping={"run": "another", "seq": 1})
    opened = (await store.read(ROOM, 1, 10)).log
    assert (opened.tail, opened.epochs[0], len(opened.epochs)) == (1, (first.epoch, 1), 2)
    assert opened.position > Position(first.epoch, 2)
    assert (await store.read(ROOM, 1, 10)).log == opened
    assert (await store.append(ROOM, ALICE, ["again"])).epoch == opened.epoch
    await store.read("nobody was here", 1, 10)
    assert not await redis.exists(store.keys_of("nobody was here").meta)


async def test_a_page_of_history_holds_one_epoch(store: Store, redis: Redis) -> None:
    """Which it names; paging on gives the earlier ones."""
    for count in (3, 2):
        appended = await store.append(ROOM, ALICE, ["x"] * count)
        await redis.hset(store.keys_of(ROOM).meta, "run", "another")
    pages, before, more = [], None, True
    while more:
        read, more = await store.history(ROOM, before, 4)
        pages.append((read.log.epoch, [entry.seq for entry in read.entries]))
        assert {entry.epoch for entry in read.entries} == {read.log.epoch}
        before = read.entries[0].id.decode()
    assert [seqs for _, seqs in pages] == [[4, 5], [1, 2, 3]]
    assert pages[0][0] == appended.epoch
