"""The asynchronous path's beginning: whatever Logic does, nothing accepted is lost, reordered, or waited for."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from common import keys
from testbed.redis_server import RedisServer
from tests.support.comet_node import Client, CometNode, running
from tests.support.eventually import eventually
from tests.support.logic_standin import Answer, LogicStandin, Sends, all_well, serving, statuses
from tests.support.metrics import asample
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


@pytest_asyncio.fixture(loop_scope="package")
async def logic() -> AsyncIterator[LogicStandin]:
    """A Logic that takes everything."""
    async with serving(LogicStandin()) as it:
        yield it


@pytest_asyncio.fixture(loop_scope="package")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the worker's Redis."""
    async with Redis.from_url(redis_url, protocol=2) as it:
        yield it


async def forwards(node: CometNode, status: str) -> float:
    """Return the counter of forwards."""
    return await asample(node.metrics_url, "grpc_calls_total", service="comet", name="logic_forward", status=status)


async def say(client: Client, *contents: str, room: str = ROOM) -> dict[str, Any]:
    """Send messages in one frame and return the ack."""
    messages = [{"content": content} for content in contents]
    return await client.answer("clientMessages", {"roomId": room, "messages": messages}, "ack")


async def waiting(redis: Redis) -> int:
    """Return how many entries all outboxes hold."""
    return sum([await redis.xlen(keys.outbox(shard)) for shard in range(SHARDS.count)])


async def emptied(redis: Redis) -> None:
    """Wait until nothing waits any more."""

    async def empty() -> bool:
        return await waiting(redis) == 0

    await eventually(empty, "the outboxes are empty")


async def test_what_is_accepted_reaches_logic_as_it_expects_it(
    redis_url: str, redis: Redis, logic: LogicStandin
) -> None:
    """One send for a frame, with ids, seqs and epoch; then the outbox is empty and success is counted by message."""
    async with running(redis_url, forward_url=logic.url) as node, node.client(uid="7", name="Al", rooms="") as alice:
        before = await forwards(node, "success"), await forwards(node, "failed")
        ack = await say(alice, "one", "two ☃")
        await emptied(redis)
        [[send]] = logic.batches
        assert send.pop("ref")
        assert send == {
            "roomId": ROOM,
            "userId": "7",
            "userName": "Al",
            "messages": [
                {
                    "id": one["id"],
                    "seq": one["seq"],
                    "timestamp": one["timestamp"],
                    "epoch": ack["epoch"],
                    "content": said,
                }
                for one, said in zip(ack["messages"], ("one", "two ☃"), strict=True)
            ],
        }
        assert await forwards(node, "success") - before[0] == 2
        assert await forwards(node, "failed") == before[1]


async def test_many_messages_are_forwarded_in_batches_and_in_order(
    redis_url: str, redis: Redis, logic: LogicStandin
) -> None:
    """What arrives while one batch is under way is the next."""
    async with running(redis_url, forward_url=logic.url, rate_burst_messages=1000) as node:
        async with node.client(rooms="a,b") as alice:
            for i in range(400):
                await alice.send("ab"[i % 2], str(i))
            await alice.until(lambda: len(alice.frames("ack")) == 400)
        await emptied(redis)
        assert len(logic.batches) < 200
        for room in (0, 1):
            assert logic.contents("ab"[room]) == [str(i) for i in range(400) if i % 2 == room]
            assert logic.seqs("ab"[room]) == list(range(1, 201))


@pytest.mark.parametrize("answer", [(503, {"status": "error"}), (500, {}), (200, {}), (200, {"results": []})])
async def test_what_logic_does_not_take_stays_and_is_sent_again(
    redis_url: str, redis: Redis, logic: LogicStandin, answer: Answer
) -> None:
    """Nothing is removed before it is taken; each try counts as failed; chat goes on; then all comes, in order."""
    async with running(redis_url, forward_url=logic.url) as node, node.client(rooms=ROOM) as alice:
        before = await forwards(node, "failed")
        logic.answer = lambda _sends: answer
        await say(alice, "one")
        await eventually(lambda: len(logic.batches) >= 3)
        await say(alice, "two", "three")
        await alice.until_contents(ROOM, ["one", "two", "three"])
        assert await waiting(redis) == 2
        assert await forwards(node, "failed") - before >= 2
        logic.answer = all_well
        await emptied(redis)
        assert logic.seqs(ROOM) == [1, 2, 3]


async def test_a_logic_that_was_killed_gets_all_that_waited_when_it_is_back(redis_url: str, redis: Redis) -> None:
    """In order, none missing; the node says in its health that it is away, but stays ready."""
    logic = LogicStandin()
    async with running(redis_url, forward_url=logic.url) as node, node.client(rooms=ROOM) as alice:
        for i in range(20):
            await say(alice, str(i))
        await alice.until_contents(ROOM, [str(i) for i in range(20)])
        assert await waiting(redis) == 20
        async with serving(logic):
            await emptied(redis)
        assert logic.contents(ROOM) == [str(i) for i in range(20)]
        assert sorted(set(logic.seqs(ROOM))) == list(range(1, 21))


async def test_an_ack_never_waits_for_logic(redis_url: str, redis: Redis, logic: LogicStandin) -> None:
    """It hangs; messages are acked, delivered and stored as fast as ever; a POST that takes too long is given up."""
    async with running(redis_url, forward_url=logic.url, forward_timeout_seconds=0.3) as node:
        async with node.client(rooms=ROOM) as alice:
            logic.open.clear()
            begun = time.monotonic()
            for i in range(20):
                await say(alice, str(i))
            await alice.until_contents(ROOM, [str(i) for i in range(20)])
            assert time.monotonic() - begun < 2
            await eventually(lambda: len(logic.batches) >= 2)
            logic.open.set()
            await emptied(redis)
            assert logic.contents(ROOM) == [str(i) for i in range(20)]


async def test_what_logic_refuses_is_parked_and_the_rest_goes_on(
    redis_url: str, redis: Redis, logic: LogicStandin
) -> None:
    """In the shard's dead letters, with the reason and all fields."""

    def refuse(sends: Sends) -> Answer:
        bad = ["rejected" if send["messages"][0]["content"] == "bad" else "success" for send in sends]
        return statuses(bad, "content is bad")

    logic.answer = refuse
    async with running(redis_url, forward_url=logic.url) as node, node.client(rooms=ROOM) as alice:
        before = await asample(node.metrics_url, "comet_forward_dead_letters_total")
        for content in ("one", "bad", "two"):
            await say(alice, content)
        await emptied(redis)
        assert logic.contents(ROOM) == ["one", "two"]
        entries: Any = await redis.xrange(keys.outbox_dead(SHARDS.of(ROOM)))
        [(_, fields)] = entries
        assert (fields[b"room"], fields[b"reason"]) == (ROOM.encode(), b"content is bad")
        assert b'"content":"bad"' in fields[b"messages"]
        assert await asample(node.metrics_url, "comet_forward_dead_letters_total") - before == 1


async def test_two_nodes_share_the_outboxes_and_one_takes_over(
    redis_url: str, redis: Redis, logic: LogicStandin
) -> None:
    """Each shard is one node's. When a node stops its shards are another's at once, when it dies after their leases."""
    rooms = [f"room-{i}" for i in range(40)]
    async with (
        running(redis_url, forward_url=logic.url) as staying,
        running(redis_url, forward_url=logic.url, drain_seconds=3) as leaving,
    ):

        async def shared() -> bool:
            holders = await redis.mget([keys.lease(shard) for shard in range(SHARDS.count)])
            return None not in holders and {holders.count(one) for one in holders} == {SHARDS.count // 2}

        await eventually(shared, "each node holds half of the leases")
        async with staying.client(rooms="") as alice:
            for room in rooms:
                await say(alice, "one", room=room)
            await emptied(redis)
            await leaving.stop()
            begun = time.monotonic()
            for room in rooms:
                await say(alice, "two", room=room)
            await emptied(redis)
            assert time.monotonic() - begun < 4
        assert all(logic.contents(room) == ["one", "two"] for room in rooms)


async def test_a_dead_nodes_shards_are_taken_over_when_its_leases_run_out(
    redis_url: str, redis: Redis, logic: LogicStandin
) -> None:
    """What it left is forwarded by the other, in order."""
    async with running(redis_url, forward_url=logic.url) as dying, dying.client(rooms="") as alice:
        await say(alice, "one")
        await emptied(redis)
        logic.answer = lambda sends: statuses(["failed"] * len(sends))
        await say(alice, "two")
        await say(alice, "three")
        await dying.kill()
    logic.answer = all_well
    async with running(redis_url, forward_url=logic.url):
        await redis.delete(*[keys.lease(shard) for shard in range(SHARDS.count)])  # they run out
        await emptied(redis)
    assert logic.seqs(ROOM) == [1, 2, 3]


async def test_a_node_that_lost_its_lease_removes_nothing(redis_url: str, redis: Redis, logic: LogicStandin) -> None:
    """Another took the shard while its POST was under way: that one forwards the entry again, so none is lost."""
    async with running(redis_url, forward_url=logic.url) as node, node.client(rooms=ROOM) as alice:
        logic.open.clear()
        await say(alice, "one")
        await eventually(lambda: len(logic.batches) == 1)
        lease = keys.lease(SHARDS.of(ROOM))
        await redis.set(lease, "another node", px=1000)
        logic.open.set()
        await eventually(lambda: logic.seqs(ROOM) == [1])
        assert await redis.xlen(keys.outbox(SHARDS.of(ROOM))) == 1
        await emptied(redis)
        assert logic.seqs(ROOM) == [1, 1]


async def test_a_message_that_publish_was_denied_for_reaches_logic(own_redis: RedisServer, logic: LogicStandin) -> None:
    """The outbox has it, and Kafka will bring it to other nodes."""
    with own_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-publish")
    async with running(own_redis.url, forward_url=logic.url) as node, node.client(rooms=ROOM) as alice:
        await say(alice, "one")
        await eventually(lambda: logic.contents(ROOM) == ["one"])


async def test_the_outbox_is_measured(redis_url: str, redis: Redis) -> None:
    """Its length and the age of its oldest entry grow while Logic is away."""
    async with running(redis_url) as node, node.client(rooms=ROOM) as alice:
        for i in range(3):
            await say(alice, str(i))

        async def seen() -> bool:
            length = await asample(node.metrics_url, "comet_outbox_length")
            return length == 3 and await asample(node.metrics_url, "comet_outbox_oldest_age_seconds") > 0.5

        await eventually(seen)
        assert await waiting(redis) == 3
