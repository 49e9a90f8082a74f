"""append: atomic, idempotent, in the order of the calls, each message once, whatever happens to Redis meanwhile."""

import asyncio
import os
import signal
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from common import keys
from common.append_script import OWN_REF_SECONDS
from common.envelope import User, parse_burst
from common.errors import Overloaded, RefReused, Unavailable
from common.store import Store
from testbed.redis_server import RedisServer
from tests.integration.common.appends import ALICE, BOB, ROOM, contents, settled
from tests.support.frozen import freeze
from tests.support.open_store import open_store


def total(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


# -- what one append does ------------------------------------------------------------------------------------------


async def test_messages_get_consecutive_seqs_and_ids_of_redis_clock(store: Store, redis: Redis) -> None:
    """A list is appended whole: seqs without holes from 1, ids that rise, all of one epoch."""
    first = await store.append(ROOM, ALICE, ["one", "two"])
    second = await store.append(ROOM, ALICE, ["three"])
    seconds, _ = await redis.time()
    assert (first.first_seq, len(first.ids), second.first_seq) == (1, 2, 3)
    assert first.epoch == second.epoch
    order = [tuple(int(part) for part in one.split("-")) for one in (*first.ids, *second.ids)]
    assert order == sorted(set(order))
    assert all(abs(ms / 1000 - seconds) < 60 for ms, _ in order)
    assert abs(first.epoch / 1000 - seconds) < 60


async def test_a_message_is_stored_as_it_was_sent(store: Store) -> None:
    """Content, user, seq, timestamp and id stand in the log as clients will see them, whatever characters they hold."""
    content = 'line\n"quoted" \\ \u0000 \u2028 ☃ 😀 </script> %s {0}'
    appended = await store.append("räum:{x}", BOB, [content])
    read = await store.read("räum:{x}", 1, 10)
    assert orjson.loads(read.messages) == {
        "id": appended.ids[0],
        "seq": 1,
        "timestamp": int(appended.ids[0].split("-")[0]),
        "content": content,
        "user": {"id": "bob", "username": BOB.username},
    }


async def test_what_is_published_is_what_is_stored(store: Store, redis: Redis) -> None:
    """One burst for the list, on the room's channel, byte for byte the log's messages."""
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(store.keys_of(ROOM).channel)
        assert (await pubsub.get_message(timeout=5) or {})["type"] == "subscribe"
        appended = await store.append(ROOM, BOB, ["a, b", "}"])
        message = await pubsub.get_message(timeout=5)
    assert message is not None
    burst = parse_burst(message["data"])
    assert (burst.epoch, burst.first_seq, burst.count) == (appended.epoch, 1, 2)
    assert burst.messages == (await store.read(ROOM, 1, 10)).messages


async def test_what_is_accepted_waits_in_the_outbox(store: Store, redis: Redis) -> None:
    """One entry for the list in the room's shard, with all that Logic needs; none where `forward` is false."""
    appended = await store.append(ROOM, BOB, ["one", "two"], ref="r-1")
    await store.append(ROOM, BOB, ["from a backend"], forward=False)
    entries: Any = await redis.xrange(keys.outbox(store.shard_of(ROOM)))
    [(_, fields)] = entries
    told = {name.decode(): value.decode() for name, value in fields.items()}
    messages = orjson.loads(f"[{told.pop('messages')}]")
    assert told == {
        "room": ROOM, "user": "bob", "name": BOB.username, "epoch": str(appended.epoch),
        "first_seq": "1", "count": "2", "ref": "r-1",
    }  # fmt: skip
    assert messages == [
        {"id": one, "seq": seq, "timestamp": int(one.split("-")[0]), "epoch": appended.epoch, "content": content}
        for one, seq, content in zip(appended.ids, (1, 2), ("one", "two"), strict=True)
    ]


async def test_a_rooms_keys_expire_together(redis_url: str, redis: Redis) -> None:
    """An append renews the life of all that a room has in Redis, which outlasts the setting by at most a second."""
    async with open_store(redis_url, room_ttl_s=1000) as store:
        room = store.keys_of(ROOM)
        await redis.hset(room.nodes, "node", "{}")
        await redis.hset(room.meta, "seq", 0)
        await store.append(ROOM, ALICE, ["one"])
    lives = [await redis.pttl(key) for key in (room.stream, room.meta, room.nodes)]
    assert max(lives) <= 1_001_000
    assert max(lives) - min(lives) < 1000
    assert min(lives) > 990_000


async def test_once_a_second_an_append_renews_the_rooms_keys_and_trims_by_age(redis_url: str, redis: Redis) -> None:
    """Also appends behind the first. `kept` in the room's meta says when it was done last, so the test moves that."""
    async with open_store(redis_url, room_ttl_s=1000, max_age_s=60) as store:
        room = store.keys_of(ROOM)
        await store.append(ROOM, ALICE, ["first"])
        for key in (room.meta, room.stream):
            await redis.expire(key, 10)
        await redis.hincrby(room.meta, "kept", 5000)
        await store.append(ROOM, ALICE, ["in the same second"])
        assert max([await redis.ttl(key) for key in (room.meta, room.stream)]) <= 10
        await redis.delete(room.stream)
        for seq in range(1, 301):  # Redis trims whole nodes of a hundred entries
            await redis.xadd(room.stream, {"seq": seq, "epoch": 1, "body": "old"}, id=f"1635724800000-{seq}")
        await redis.hincrby(room.meta, "kept", -6000)
        await store.append(ROOM, ALICE, ["a second later"])
        assert min([await redis.ttl(key) for key in (room.meta, room.stream)]) > 900
        assert await redis.xlen(room.stream) <= 101


# -- order and atomicity -------------------------------------------------------------------------------------------


async def test_messages_are_stored_in_the_order_of_the_calls(store: Store) -> None:
    """Also when far more than one pipeline's worth is called at once."""
    futures = [store.append(ROOM, ALICE, [str(i)]) for i in range(1000)]
    answers = await asyncio.gather(*futures)
    assert [answer.first_seq for answer in answers] == list(range(1, 1001))
    assert await contents(store) == [str(i) for i in range(1000)]


async def test_lists_of_many_nodes_are_never_mixed(redis_url: str) -> None:
    """Two stores append lists to one room at once: each list stands together, no seq is missing or given twice."""
    async with open_store(redis_url) as one, open_store(redis_url) as two:
        futures = [store.append(ROOM, ALICE, [f"{i}a", f"{i}b", f"{i}c"]) for i in range(100) for store in (one, two)]
        answers = await asyncio.gather(*futures)
        stored = await contents(one)
    assert sorted(answer.first_seq for answer in answers) == list(range(1, 601, 3))
    assert all(stored[i : i + 3] == [stored[i][:-1] + part for part in "abc"] for i in range(0, 600, 3))


async def test_drain_returns_once_all_is_answered(store: Store) -> None:
    """Nothing that was called before is still open then."""
    futures = [store.append(ROOM, ALICE, ["x"]) for _ in range(600)]
    await store.drain()
    assert all(future.done() for future in futures)
    await store.drain()


# -- refs ----------------------------------------------------------------------------------------------------------


async def test_the_same_ref_gets_the_first_answer_and_stores_nothing(
    redis_url: str, store: Store, redis: Redis
) -> None:
    """Also through another node, and under a new name."""
    first = await store.append(ROOM, ALICE, ["one", "two"], ref="r")
    before = total("chat_appends_total", result="repeat")
    async with open_store(redis_url) as other:
        again = await other.append(ROOM, User(ALICE.id, "renamed"), ["one", "two"], ref="r")
    assert again == first
    assert await contents(store) == ["one", "two"]
    assert await redis.xlen(keys.outbox(store.shard_of(ROOM))) == 1
    assert total("chat_appends_total", result="repeat") - before == 1


@pytest.mark.parametrize(
    "contents_of_it",
    [["something else"], ["one"], ["two", "one"], ["one", "two", "three"], ["onetwo"], ["one\ntwo"], ["one\\ntwo"]],
)
async def test_a_ref_with_other_contents_is_refused_and_changes_nothing(
    store: Store, redis: Redis, contents_of_it: list[str]
) -> None:
    """It covers all contents in their order. The first append's answer stays, for who repeats that."""
    first = await store.append(ROOM, ALICE, ["one", "two"], ref="r")
    before = total("chat_appends_total", result="ref_reused")
    with pytest.raises(RefReused) as refused:
        await store.append(ROOM, ALICE, contents_of_it, ref="r")
    assert (refused.value.field, refused.value.code, refused.value.http_status) == ("ref", "bad_request", 422)
    assert total("chat_appends_total", result="ref_reused") - before == 1
    assert await store.append(ROOM, ALICE, ["one", "two"], ref="r") == first
    assert await contents(store) == ["one", "two"]
    assert await redis.xlen(keys.outbox(store.shard_of(ROOM))) == 1


async def test_a_ref_that_an_earlier_version_wrote_is_not_compared(store: Store, redis: Redis) -> None:
    """Its record has the ack and no digest."""
    first = await store.append(ROOM, ALICE, ["one", "two"], ref="r")
    key = keys.ref(store.shard_of(ROOM), ROOM, ALICE.id, "r")
    record: Any = await redis.get(key)
    ack = f"{first.epoch} {first.first_seq} {' '.join(first.ids)}"
    assert record.decode().startswith(f"{ack}#")
    await redis.set(key, ack, keepttl=True)
    assert await store.append(ROOM, ALICE, ["something else"], ref="r") == first
    assert await contents(store) == ["one", "two"]


async def test_a_ref_belongs_to_its_room_and_user(store: Store) -> None:
    """Another user's same ref, and the same in another room, are other messages; so are look-alikes when joined."""
    for room, user in ((ROOM, ALICE), (ROOM, BOB), ("room_2", ALICE)):
        assert (await store.append(room, user, ["x"], ref="r")).ids
    await store.append("ab", User("c", "c"), ["x"], ref="d")
    await store.append("a", User("bc", "bc"), ["x"], ref="d")
    await store.append("a", User("b", "b"), ["x"], ref="cd")
    assert [len(await contents(store, room)) for room in (ROOM, "room_2", "ab", "a")] == [2, 1, 1, 2]


async def test_refs_in_one_pipeline_count_too(store: Store) -> None:
    """An impatient client sends the same thing three times at once."""
    answers = await asyncio.gather(*(store.append(ROOM, ALICE, ["x"], ref="r") for _ in range(3)))
    assert answers[0] == answers[1] == answers[2]
    assert await contents(store) == ["x"]


async def test_refs_are_remembered_for_their_window(redis_url: str, redis: Redis) -> None:
    """A client's for `ref_window_s`, our own only as long as we would retry."""
    async with open_store(redis_url, ref_window_s=77) as store:
        await store.append(ROOM, ALICE, ["x"], ref="r")
        assert await redis.ttl(keys.ref(store.shard_of(ROOM), ROOM, "alice", "r")) == 77
        await store.append("room_2", ALICE, ["x"])
        [own] = [key for key in await redis.keys("chat:*:ref:*") if await redis.ttl(key) != 77]
        assert await redis.ttl(own) == OWN_REF_SECONDS


# -- what Redis refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["-publish", "resetchannels"])
async def test_where_publish_is_forbidden_a_message_is_stored_all_the_same(own_redis: RedisServer, rule: str) -> None:
    """PubSub is a hint: the log and the outbox have the message, and it is counted as unpublished."""
    with own_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", rule)
        async with open_store(own_redis.url) as store:
            before = total("chat_unpublished_total")
            appended = await store.append(ROOM, ALICE, ["one"])
            assert (appended.first_seq, await contents(store)) == (1, ["one"])
        assert admin.xlen(keys.outbox(store.shard_of(ROOM))) == 1
    assert total("chat_unpublished_total") - before == 1


async def test_a_full_redis_refuses_and_nothing_is_stored(own_redis: RedisServer) -> None:
    """Overloaded, no seq used, no ref remembered; when there is room again, all works."""
    async with open_store(own_redis.url) as store:
        await store.append(ROOM, ALICE, ["before"])
        with own_redis.client() as admin:
            admin.config_set("maxmemory", "100kb")
            answers = await settled([store.append(ROOM, ALICE, ["x", "y"], ref=str(i)) for i in range(3)])
            answers += await settled([store.append("new room", ALICE, ["x"])])
            assert [type(answer) for answer in answers] == [Overloaded] * 4
            assert admin.exists(store.keys_of("new room").meta, store.keys_of("new room").stream) == 0
            admin.config_set("maxmemory", "512mb")
        assert (await store.append(ROOM, ALICE, ["after"], ref="0")).first_seq == 2
        assert await contents(store) == ["before", "after"]


async def test_too_many_waiting_appends_are_refused_at_once(redis_url: str) -> None:
    """The newest is refused with Overloaded; those before it are carried out when the lane runs."""
    async with open_store(redis_url, runs=False, append_queue=5) as store:
        waiting = [store.append(ROOM, ALICE, [str(i)]) for i in range(5)]
        with pytest.raises(Overloaded):
            store.append(ROOM, ALICE, ["one too many"])
        lane = asyncio.create_task(store.run())
        await settled(waiting)
        assert await contents(store) == ["0", "1", "2", "3", "4"]
        lane.cancel()


async def test_too_many_waiting_bytes_are_refused_at_once(redis_url: str) -> None:
    """However few messages they are; a message that finds nothing waiting is taken, however large."""
    async with open_store(redis_url, runs=False, append_queue_bytes=50_000) as store:
        waiting = [store.append(ROOM, ALICE, ["0" + "x" * 10_000])]
        waiting += [store.append(ROOM, ALICE, [f"{i}" + "x" * 10_000]) for i in range(1, 5)]
        with pytest.raises(Overloaded):
            store.append(ROOM, ALICE, ["one too many"])
        lane = asyncio.create_task(store.run())
        await settled(waiting)
        assert [content[0] for content in await contents(store)] == [str(i) for i in range(len(waiting))]
        for i in range(3):  # what was answered counts no more
            await store.append(ROOM, ALICE, [f"{i}" + "x" * 200_000])
        lane.cancel()


async def test_bytes_that_were_given_up_count_no_more(own_redis: RedisServer) -> None:
    """Redis away: what waits is refused in time, and then as much may wait again; with Redis it is stored."""
    async with open_store(own_redis.url, append_timeout_s=0.3, append_queue_bytes=100_000) as store:
        await store.append(ROOM, ALICE, ["first"])
        await asyncio.to_thread(own_redis.stop)
        for _ in range(3):
            answers = await settled([store.append(ROOM, ALICE, ["x" * 10_000]) for _ in range(4)])
            assert [type(answer) for answer in answers] == [Unavailable] * 4
        await asyncio.to_thread(own_redis.start)
        await settled([store.append(ROOM, ALICE, [str(i)], ref=str(i)) for i in range(4)])
        assert (await contents(store))[-4:] == ["0", "1", "2", "3"]


async def test_what_has_no_time_left_is_refused(own_redis: RedisServer) -> None:
    """A service that must stop gives up what Redis, frozen, does not answer; drain() returns once it is done with."""
    async with open_store(own_redis.url, append_timeout_s=1) as store:
        await store.append(ROOM, ALICE, ["first"])
        freeze(own_redis.pid)
        try:
            waiting = [store.append(ROOM, ALICE, [str(i)]) for i in range(3)]
            await asyncio.sleep(0)  # the first is in flight
            waiting.append(store.append(ROOM, ALICE, ["behind"]))
            store.give_up()
            await store.answered()
            answers = [future.exception() for future in waiting]
            assert [type(answer) for answer in answers] == [Unavailable] * 4
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        await store.drain()
