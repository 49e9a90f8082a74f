"""common/shards.py: a Redis has one number of shards; the first service stores it and every other one adopts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from common import keys, redis_client, shards
from common.errors import StartupError, Unavailable
from common.shards import DEFAULT, Shards, stored
from testbed.redis_server import RedisServer
from tests.support.eventually import eventually


async def settled(redis: Redis, configured: int | None = None) -> int:
    """Return the number that a service with this setting uses."""
    found = Shards(configured)
    await found.settle(redis)
    return found.count


async def test_the_first_service_stores_its_number_and_the_others_adopt_it(redis: Redis) -> None:
    """With the setting and without."""
    assert await stored(redis) == 0
    assert await settled(redis, 4) == 4
    assert await settled(redis) == 4
    assert await settled(redis, 4) == 4
    assert await stored(redis) == 4


async def test_a_new_redis_gets_64_shards_if_nobody_chose(redis: Redis) -> None:
    """A Redis that was set up with the former default of 16 keeps it."""
    assert await settled(redis) == DEFAULT == 64
    assert await stored(redis) == 64
    await redis.set(keys.SHARDS, 16)
    assert await settled(redis) == 16


async def test_a_contradiction_is_refused_in_one_line_with_both_numbers(redis: Redis) -> None:
    """Nothing is changed in Redis."""
    await settled(redis, 4)
    refused = r"set up with 4 shards, but the setting shards \(CHAT_SHARDS\) is 8"
    with pytest.raises(StartupError, match=refused) as raised:
        await settled(redis, 8)
    assert "\n" not in str(raised.value)
    assert await stored(redis) == 4


@pytest.mark.parametrize("first", [None, 8])
async def test_two_services_at_once_end_with_one_number_or_a_refusal(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch, first: int | None
) -> None:
    """One has the setting, the other does not; both find a new Redis before either has stored its number."""
    both, looked = asyncio.Barrier(2), set[Redis]()

    async def look(client: Redis) -> int:
        found = await stored(client)
        if client not in looked:
            looked.add(client)
            await both.wait()
            if (client is redis) == (first is None):  # the slower one
                await asyncio.sleep(0.05)
        return found

    monkeypatch.setattr(shards, "stored", look)
    async with redis_client.connect(redis_url) as other:
        chosen, adopted = await asyncio.gather(settled(redis, 8), settled(other), return_exceptions=True)
    assert await stored(redis) == adopted == (first or DEFAULT)
    assert chosen == 8 if first else isinstance(chosen, StartupError)


async def test_a_full_redis_is_asked_as_any_other_and_refused_in_one_line_if_it_is_new(own_redis: RedisServer) -> None:
    """A service that starts again needs no write; one that comes first can't go on."""
    async with Redis.from_url(own_redis.url, protocol=2) as redis:
        await redis.config_set("maxmemory", "100kb")
        with pytest.raises(StartupError, match=r"full .* maxmemory") as raised:
            await settled(redis, 4)
        assert "\n" not in str(raised.value)
        await redis.config_set("maxmemory", "512mb")
        assert await settled(redis, 4) == 4
        await redis.config_set("maxmemory", "1")
        assert await settled(redis, 4) == 4
        assert await settled(redis) == 4


async def test_a_room_has_no_shard_until_the_number_is_known(redis: Redis) -> None:
    """Without the setting and without Redis; whoever asks may ask again."""
    unset = Shards()
    with pytest.raises(Unavailable, match="unknown until Redis answers"):
        unset.of("room_1")
    await unset.settle(redis)
    assert unset.of("room_1") == Shards(64).of("room_1") == 50


# -- while the service runs ------------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(redis: Redis, own: Shards) -> AsyncIterator["asyncio.Task[None]"]:
    """Watch while inside, as each service does."""
    await own.settle(redis)
    task = asyncio.create_task(own.watch(redis))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "WATCH_S", 0.01)


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("configured", [None, 4])
async def test_an_empty_redis_in_the_place_of_the_old_one_gets_the_number_back(
    own_redis: RedisServer, configured: int | None
) -> None:
    """So that a service which starts later agrees with those that run. A Redis that is away ends nothing."""
    async with redis_client.connect(own_redis.url) as redis:
        await settled(redis, 4)
        async with watching(redis, Shards(configured)) as task:
            await redis.flushall()
            await eventually(lambda: stored(redis))
            assert await stored(redis) == 4
            await asyncio.to_thread(own_redis.stop)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own_redis.start)
            await redis.flushall()
            await eventually(lambda: stored(redis))
            assert not task.done()
        assert await settled(redis) == 4


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize(
    ("configured", "told"), [(None, "this process adopted 4 from the Redis before it"), (4, "CHAT_SHARDS.* is 4")]
)
async def test_a_redis_with_another_number_in_the_place_of_the_old_one_ends_the_service(
    redis: Redis, configured: int | None, told: str
) -> None:
    """Its rooms lie elsewhere; the next start adopts its number."""
    await settled(redis, 4)
    async with watching(redis, Shards(configured)) as task:
        await redis.set(keys.SHARDS, 8)
        with pytest.raises(StartupError, match=rf"set up with 8 shards, but .*{told}"):
            async with asyncio.timeout(5):
                await task
