"""The taps: they note everything, also while Redis dies and comes back, and never seem dead themselves."""

import asyncio
import time
from contextlib import aclosing, suppress

from grpc import aio
from redis.asyncio import Redis

from common import keys, redis_client
from common.envelope import User
from common.errors import ChatError
from common.registry import LIFE_S, Registry
from common.store import Store
from protos import comet_pb2, comet_pb2_grpc
from protos.protocol_pb2 import Proto
from testbed.redis_server import RedisServer
from tests.chaos.evidence import Evidence, Pushed
from tests.chaos.histories import read_history
from tests.chaos.taps import PubSubTap, PushTap
from tests.support import comet_node
from tests.support.comet_node import Client
from tests.support.eventually import eventually
from tests.support.open_store import open_store
from tests.support.shards import SHARDS

FRAME = '{"type":"serverMessages","payload":{"roomId":"r","epoch":7,"messages":[%s]}}'


def fresh() -> Evidence:
    """Return evidence of nothing."""
    return Evidence(time.time(), 0.0)


async def send(store: Store, room: str, *contents: str) -> None:
    """Append one after another; what is refused, as Redis just died, is asked for again."""
    for content in contents:
        async with asyncio.timeout(30):
            while not await _appended(store, room, content):
                await asyncio.sleep(0.05)


async def _appended(store: Store, room: str, content: str) -> bool:
    with suppress(ChatError):
        return bool(await store.append(room, User("u", "U"), [content], content))
    return False


async def test_what_is_published_is_noted_in_pieces_where_redis_died(own_redis: RedisServer) -> None:
    """All of it that is published while the tap is subscribed; each connection is a segment of its own."""
    run = fresh()
    async with open_store(own_redis.url) as store, PubSubTap(own_redis.port, run) as tap:
        await send(store, "a", "one", "two")
        await send(store, "b", "three")
        await tap.settle()
        assert [(one.segment, one.room, one.seq) for one in run.published] == [(0, "a", 1), (0, "a", 2), (0, "b", 1)]
        await asyncio.to_thread(own_redis.kill)
        await asyncio.to_thread(own_redis.start)
        await tap.settle()
        await send(store, "a", "four")
        await tap.settle()
        last = run.published[-1]
        assert (last.segment > 0, last.room, last.seq) == (True, "a", 3)
        assert last.epoch > run.published[0].epoch
        assert not run.unexpected


def _count(client: Client) -> int:
    return sum(text.startswith('{"type":"ack"') for text in client.texts)


async def test_the_push_tap_lives_in_the_registry_without_renewing(own_redis: RedisServer) -> None:
    """So that a frozen Redis does not make it seem dead; and no outbox waits for it."""
    async with PushTap(own_redis.port, ["a", "b"], fresh()):
        async with aclosing(redis_client.connect(own_redis.url)) as redis:
            registry = Registry(redis, SHARDS)
            [node] = (await registry.nodes()).values()
            assert not node.forwards
            assert await redis.ttl(keys.node(node.incarnation)) == -1
            assert await registry.serving(["a", "b", "c"]) == [[node.incarnation], [node.incarnation], []]
        await asyncio.to_thread(own_redis.kill)
        await asyncio.to_thread(own_redis.start)
        async with aclosing(redis_client.connect(own_redis.url)) as redis:
            registry = Registry(redis, SHARDS)
            await redis.zadd(keys.NODES, {node.incarnation: time.time() - LIFE_S * 5})  # soon to be swept away
            await eventually(lambda: _is_fresh(registry, redis, node.incarnation))
    async with aclosing(redis_client.connect(own_redis.url)) as redis:
        assert await Registry(redis, SHARDS).nodes() == {}


async def _is_fresh(registry: Registry, redis: Redis, incarnation: str) -> bool:
    seen = await redis.zscore(keys.NODES, incarnation)
    return incarnation in await registry.nodes() and seen is not None and seen > time.time() - LIFE_S


async def test_the_push_tap_notes_all_that_job_pushes(own_redis: RedisServer) -> None:
    """A merged call's rooms and batches in their order, and broadcasts."""
    run = fresh()
    protos = [
        Proto(body=FRAME % f'{{"id":"{seq}-0","seq":{seq}}}', epoch=7, first_seq=seq, count=1) for seq in range(1, 5)
    ]
    async with PushTap(own_redis.port, ["r"], run):
        async with aclosing(redis_client.connect(own_redis.url)) as redis:
            [node] = (await Registry(redis, SHARDS).nodes()).values()
        async with aio.insecure_channel(node.grpc) as channel:
            stub: comet_pb2_grpc.CometAsyncStub = comet_pb2_grpc.CometStub(channel)
            more = [comet_pb2.BroadcastRoomReq(room_id="s", proto=protos[3])]
            await stub.BroadcastRoom(
                comet_pb2.BroadcastRoomReq(room_id="r", proto=protos[0], batch=protos[1:3], more=more)
            )
            await stub.Broadcast(comet_pb2.BroadcastReq(proto=Proto(body="hello all")))
            await stub.BroadcastRoom(comet_pb2.BroadcastRoomReq(room_id="r", proto=Proto(body="raw")))
    expected = [("r", 1), ("r", 2), ("r", 3), ("s", 4)]
    assert run.pushed == [
        Pushed(one.at, room, 7, seq, f"{seq}-0") for one, (room, seq) in zip(run.pushed, expected, strict=True)
    ]
    assert run.broadcast_pushed == ["hello all"]
    assert run.unexpected == ["pushed to r and no message: raw"]


async def test_history_is_read_page_by_page_and_compared_with_redis(own_redis: RedisServer) -> None:
    """Oldest first, each message once with its epoch; what Comet shows and Redis lacks is unexpected."""
    run = fresh()
    contents = [f"k{nth}" for nth in range(250)]
    async with comet_node.running(own_redis.url, rate_burst_messages=10_000) as node:
        async with node.client(rooms="") as client:
            for content in contents:
                await client.send("a", content)
            await client.until(lambda: client.texts[-1].startswith('{"type":"ack"') and _count(client) == 250)
        await read_history(own_redis.port, node.url(), ["a", "empty"], run)
        assert [one.key for one in run.stored["a"]] == contents
        assert [one.seq for one in run.stored["a"]] == list(range(1, 251))
        assert all(one.epoch for one in run.stored["a"])
        assert run.stored["empty"] == []
        assert (run.unexpected, run.dead_letters) == ([], 0)
