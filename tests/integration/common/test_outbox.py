"""The outbox: read from its head by whoever holds the shard's lease, and by nobody else removed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from common import keys, redis_client
from common.envelope import User
from common.outbox import LEASE_MS, Outbox
from common.store import Store
from testbed.redis_server import RedisServer
from tests.support.eventually import eventually
from tests.support.open_store import open_store
from tests.support.shards import SHARDS

ALICE = User("alice", "Alice")
SHARD = 3


@asynccontextmanager
async def outbox_of(redis: Redis, node: str) -> AsyncIterator[Outbox]:
    """Open a node's outboxes."""
    async with aclosing(Outbox(redis, SHARDS, node)) as it:
        yield it


@pytest.fixture
async def outbox(redis: Redis) -> AsyncIterator[Outbox]:
    """A node's outboxes."""
    async with outbox_of(redis, "node-1") as it:
        yield it


@pytest.fixture
async def other(redis: Redis) -> AsyncIterator[Outbox]:
    """Another node's."""
    async with outbox_of(redis, "node-2") as it:
        yield it


async def put(redis: Redis, shard: int, *rooms: str) -> list[bytes]:
    """Put entries into a shard's outbox as append.lua does, and return their ids."""
    found: list[Any] = [
        await redis.xadd(
            keys.outbox(shard),
            {"room": room, "user": "alice", "name": "Alice", "epoch": 7, "first_seq": 1, "count": 2, "ref": "r",
             "messages": '{"content":"one"},{"content":"two"}'},
        )
        for room in rooms
    ]  # fmt: skip
    return found


async def dead_letters(redis: Redis, shard: int) -> list[dict[str, str]]:
    """Return what was parked."""
    entries: Any = await redis.xrange(keys.outbox_dead(shard))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


# -- leases --------------------------------------------------------------------------------------------------------


async def test_a_lease_has_one_holder(outbox: Outbox, other: Outbox, redis: Redis) -> None:
    """Who holds it keeps it as often as it asks; nobody else gets it; it runs out by itself."""
    assert await outbox.hold(SHARD)
    assert await outbox.hold(SHARD)
    assert not await other.hold(SHARD)
    assert await other.hold(SHARD + 1)
    assert LEASE_MS - 1000 < await redis.pttl(keys.lease(SHARD)) <= LEASE_MS


async def test_held_leases_are_kept_and_lost_ones_are_told(outbox: Outbox, other: Outbox, redis: Redis) -> None:
    """All in one question. One that ran out is not taken anew by it, and one that is another's stays that one's."""
    assert await outbox.hold(SHARD, SHARD + 1, SHARD + 2) == [SHARD, SHARD + 1, SHARD + 2]
    await redis.pexpire(keys.lease(SHARD), 1000)
    await redis.delete(keys.lease(SHARD + 1), keys.lease(SHARD + 2))
    assert await other.hold(SHARD + 1)
    assert await outbox.keep(SHARD, SHARD + 1, SHARD + 2) == [SHARD]
    assert LEASE_MS - 1000 < await redis.pttl(keys.lease(SHARD)) <= LEASE_MS
    assert await other.keep(SHARD + 1) == [SHARD + 1]
    assert not await redis.exists(keys.lease(SHARD + 2))


async def test_leases_of_several_shards_are_given_up_together(outbox: Outbox, other: Outbox) -> None:
    """Those that are ours."""
    await outbox.hold(SHARD, SHARD + 1)
    await other.hold(SHARD + 2)
    await outbox.release(SHARD, SHARD + 1, SHARD + 2)
    assert await other.hold(SHARD, SHARD + 1) == [SHARD, SHARD + 1]
    assert not await outbox.hold(SHARD + 2)


async def test_a_lease_that_is_given_up_is_free_at_once(outbox: Outbox, other: Outbox) -> None:
    """Only its holder can give it up."""
    assert await outbox.hold(SHARD)
    await other.release(SHARD)
    assert not await other.hold(SHARD)
    await outbox.release(SHARD)
    assert await other.hold(SHARD)


# -- reading -------------------------------------------------------------------------------------------------------


async def test_the_oldest_entries_of_each_shard_are_read(outbox: Outbox, redis: Redis) -> None:
    """At most `count` of each, oldest first, with all that Logic needs; reading removes nothing."""
    ids = await put(redis, 3, "a", "b", "c")
    await put(redis, 5, "d")
    await put(redis, 6, "not asked for")
    for _ in range(2):
        waiting = await outbox.read_heads([5, 3, 9], 2, 100)
        assert [(one.shard, one.room) for one in sorted(waiting, key=lambda one: one.shard)] == [
            (3, b"a"), (3, b"b"), (5, b"d"),
        ]  # fmt: skip
    first = next(one for one in waiting if one.shard == 3)
    assert (first.entry_id, first.user, first.name, first.ref, first.count) == (ids[0], b"alice", b"Alice", b"r", 2)
    assert orjson.loads(b"[%b]" % first.messages) == [{"content": "one"}, {"content": "two"}]


async def test_reading_waits_for_the_first_entry(outbox: Outbox, redis: Redis) -> None:
    """Where all are empty it returns at once when something comes, else empty-handed in the end."""
    reading = asyncio.create_task(outbox.read_heads([3, 4], 10, 4000))
    await eventually(lambda: _blocked(redis))
    begun = time.monotonic()
    await put(redis, 4, "a")
    assert [one.room for one in await reading] == [b"a"]
    assert time.monotonic() - begun < 1
    assert await outbox.read_heads([3], 10, 10) == []


async def _blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"])


async def test_an_entry_that_lacks_something_is_read_all_the_same(outbox: Outbox, redis: Redis) -> None:
    """Logic refuses it and it is parked; it must not stop what stands behind it."""
    await redis.xadd(keys.outbox(SHARD), {"room": "a"})
    await put(redis, SHARD, "b")
    poor, good = await outbox.read_heads([SHARD], 10, 100)
    assert (poor.room, poor.user, poor.count, poor.messages, good.room) == (b"a", b"", 0, b"", b"b")


# -- removing ------------------------------------------------------------------------------------------------------


async def test_what_was_answered_is_removed_and_the_rest_stays(outbox: Outbox, redis: Redis) -> None:
    """Whichever entries, in whichever order."""
    one, _, three = await put(redis, SHARD, "a", "b", "c")
    await outbox.hold(SHARD)
    assert await outbox.remove({SHARD: [(three, ""), (one, "")]}) == []
    assert [left.room for left in await outbox.read_heads([SHARD], 10, 10)] == [b"b"]
    assert await outbox.remove({SHARD: [(one, "")]}) == []


async def test_what_was_refused_is_parked_with_its_reason(outbox: Outbox, redis: Redis) -> None:
    """All its fields and why, for an operator; once, also when it is removed twice."""
    one, two = await put(redis, SHARD, "a", "b")
    await outbox.hold(SHARD)
    for _ in range(2):
        assert await outbox.remove({SHARD: [(one, "content is too long"), (two, "")]}) == []
    [dead] = await dead_letters(redis, SHARD)
    assert (dead["room"], dead["reason"], dead["count"]) == ("a", "content is too long", "2")
    assert await outbox.read_heads([SHARD], 10, 10) == []


@pytest.mark.parametrize("taken", [True, False])
async def test_who_lost_the_lease_removes_nothing(outbox: Outbox, other: Outbox, redis: Redis, taken: bool) -> None:
    """A node that was stopped past its lease is fenced off, whether another took it or nobody did."""
    [one] = await put(redis, SHARD, "a")
    await outbox.hold(SHARD)
    await redis.delete(keys.lease(SHARD))
    if taken:
        await other.hold(SHARD)
    assert await outbox.remove({SHARD: [(one, "")]}) == [SHARD]
    assert await outbox.remove({SHARD: [(one, "reason")]}) == [SHARD]
    assert await redis.xlen(keys.outbox(SHARD)) == 1
    assert await dead_letters(redis, SHARD) == []


async def test_the_outbox_can_be_emptied_while_redis_is_full(own_redis: RedisServer) -> None:
    """What waits for Kafka may be what fills it: leases are taken and entries removed or parked all the same."""
    async with (
        open_store(own_redis.url) as store,
        redis_client.connect(own_redis.url) as redis,
        outbox_of(redis, "node-1") as outbox,
    ):
        shard = store.shard_of("room_1")
        for _ in range(2):
            await store.append("room_1", ALICE, ["x"])
        await redis.config_set("maxmemory", "100kb")
        assert await outbox.hold(shard)
        assert await outbox.hold(shard)
        assert await outbox.keep(shard)
        one, two = await outbox.read_heads([shard], 10, 100)
        assert await outbox.remove({shard: [(one.entry_id, "reason"), (two.entry_id, "")]}) == []
        assert await redis.xlen(keys.outbox(shard)) == 0
        assert len(await dead_letters(redis, shard)) == 1
        await outbox.release(shard)


async def test_shards_are_removed_from_together(outbox: Outbox, other: Outbox, redis: Redis) -> None:
    """What is another's is told and stays; the others' entries go."""
    [mine] = await put(redis, SHARD, "a")
    [theirs] = await put(redis, SHARD + 1, "b")
    await outbox.hold(SHARD)
    await other.hold(SHARD + 1)
    assert await outbox.remove({SHARD: [(mine, "")], SHARD + 1: [(theirs, "")]}) == [SHARD + 1]
    assert [left.room for left in await outbox.read_heads([SHARD, SHARD + 1], 10, 10)] == [b"b"]


# -- measuring -----------------------------------------------------------------------------------------------------


async def test_the_backlog_is_measured(outbox: Outbox, redis: Redis, store: Store) -> None:
    """Entries over all shards, and the age of the oldest by Redis's clock."""
    assert await outbox.backlog() == (0, 0.0)
    seconds, _ = await redis.time()
    await redis.xadd(keys.outbox(store.shard_of("a")), {"room": "old"}, id=f"{(seconds - 100) * 1000}-0")
    for room in ("a", "b", "c"):
        await store.append(room, ALICE, ["x"])
    length, age_s = await outbox.backlog()
    assert length == 4
    assert 99 < age_s < 110
    await redis.delete(keys.outbox(store.shard_of("a")))
    length, age_s = await outbox.backlog()
    assert length == 2
    assert 0 <= age_s < 10


async def test_what_was_left_half_read_is_not_taken_for_the_next_answer(outbox: Outbox, redis: Redis) -> None:
    """A round that is given up while Redis keeps it waiting costs the next one nothing but a new connection."""
    reading = asyncio.create_task(outbox.read_heads([SHARD], 10, 4000))
    await eventually(lambda: _blocked(redis))
    reading.cancel()
    await asyncio.wait([reading])
    [one] = await put(redis, SHARD, "a")
    await outbox.hold(SHARD)
    assert await outbox.remove({SHARD: [(one, "")]}) == []
    assert await outbox.read_heads([SHARD], 10, 10) == []


async def test_a_connection_that_was_lost_meanwhile_is_made_anew(outbox: Outbox, redis: Redis) -> None:
    """While Logic had the batch, say: what it took is removed all the same, and is not posted again."""
    [one] = await put(redis, SHARD, "a")
    await outbox.hold(SHARD)
    await outbox.read_heads([SHARD], 10, 1)
    await redis.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.05)  # until the end of the connection is here
    assert await outbox.remove({SHARD: [(one, "")]}) == []
    assert await redis.xlen(keys.outbox(SHARD)) == 0


async def test_connections_are_kept_for_as_many_questions_as_are_asked_at_once(outbox: Outbox, redis: Redis) -> None:
    """While the forwarder waits for entries its node renews leases and measures, and no connection is made for that."""

    async def made() -> int:
        return int((await redis.info("stats"))["total_connections_received"])

    async def a_second() -> None:
        reading = asyncio.create_task(outbox.read_heads([SHARD], 1, 100))
        await asyncio.gather(reading, outbox.keep(SHARD), outbox.backlog())

    await outbox.hold(SHARD)
    await a_second()
    before = await made()
    for _ in range(3):
        await a_second()
    assert await made() == before
