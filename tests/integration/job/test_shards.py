"""The number of shards as Job has it: Redis's."""

import asyncio

import pytest
from redis.asyncio import Redis

from common import keys
from common.registry import Registry
from common.shards import Shards
from protos.job_pb2 import PushMsg
from tests.integration.job.conftest import Nodes, Produce, StartJob


@pytest.mark.parametrize("kept", [None, 8])
async def test_without_the_setting_it_adopts_the_number_that_redis_keeps(
    make_job: StartJob, nodes: Nodes, produce: Produce, redis_url: str, kept: int | None
) -> None:
    """It finds the node that serves a room in that number's shard, and calls no other; a new Redis has 64."""
    async with Redis.from_url(redis_url) as redis:
        if kept is not None:
            await redis.set(keys.SHARDS, kept)
        nodes.registry = Registry(redis, Shards(kept or 64))
        serving, other = await nodes.up("serving", rooms=["red"]), await nodes.up("other", rooms=["blue"])
        job = await make_job().up()
        assert await redis.get(keys.SHARDS) == str(kept or 64).encode()
        await produce(type=PushMsg.ROOM, room="red", msg="x", epoch=1, first_seq=1, count=1)
        await serving.until(lambda: serving.bodies("red") == ["x"])
        assert await job.until_metric("job_records_total", 1, result="pushed") == 1
        assert other.rooms == []


async def test_another_number_is_one_line_and_exit_1(make_job: StartJob, redis_url: str) -> None:
    """The line says what to set."""
    async with Redis.from_url(redis_url) as redis:
        await redis.set(keys.SHARDS, 8)
    job = make_job(CHAT_SHARDS="16")
    assert await asyncio.to_thread(job.spawn().wait, 30) == 1
    assert "8 shards" in job.log
    assert "CHAT_SHARDS" in job.log.splitlines()[-1]
    assert "Traceback" not in job.log
