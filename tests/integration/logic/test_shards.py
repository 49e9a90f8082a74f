"""The number of shards as Logic has it: Redis's, whenever that comes."""

import asyncio
from contextlib import aclosing

import pytest
from redis.asyncio import Redis

from common import keys, redis_client
from common.shards import Shards
from testbed.kafka_server import KafkaServer
from testbed.redis_server import RedisServer
from tests.support.logic_node import Logic, backend_send, running, settings_of

ROOM = "room_1"


async def stored_in(redis: Redis, logic: Logic, shards: Shards) -> bool:
    """Send a message and tell whether it is in its shard, and read from there."""
    assert (await logic.post("/logic/send", backend_send(ROOM, "x"))).status == 200
    messages = (await logic.get(f"/logic/rooms/{ROOM}/messages")).json["messages"]
    return len(messages) == await redis.xlen(keys.room_keys(shards.of(ROOM), ROOM).stream) == 1


@pytest.mark.parametrize("kept", [None, 8])
async def test_without_the_setting_it_adopts_the_number_that_redis_keeps(
    kafka: KafkaServer, topic: str, redis_url: str, kept: int | None
) -> None:
    """A backend's message is stored in that number's shard; a new Redis has 64 from then on."""
    async with Redis.from_url(redis_url) as redis:
        if kept is not None:
            await redis.set(keys.SHARDS, kept)
        async with running(settings_of(kafka, topic, redis_url)) as logic:
            shards = Shards(kept or 64)
            assert await redis.get(keys.SHARDS) == str(shards.count).encode()
            assert await stored_in(redis, logic, shards)


async def test_it_adopts_the_number_of_a_redis_that_comes_late(
    kafka: KafkaServer, topic: str, own_redis: RedisServer
) -> None:
    """Nothing needs the number before: what needs a shard needs Redis."""
    async with aclosing(redis_client.connect(own_redis.url)) as redis:
        await redis.set(keys.SHARDS, 8)
        await asyncio.to_thread(own_redis.stop)
        async with running(settings_of(kafka, topic, own_redis.url), ready=False) as logic:
            assert await logic.unready("redis")
            await asyncio.to_thread(own_redis.start)
            await logic.ready()
            assert await stored_in(redis, logic, Shards(8))
