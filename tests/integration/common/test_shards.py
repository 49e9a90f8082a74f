"""common/shards.py: the number of shards is settled once, also by a Redis that is full by now."""

import pytest
from redis.asyncio import Redis

from common import keys, shards
from common.errors import StartupError
from testbed.redis_server import RedisServer


async def test_the_first_settles_the_number_and_another_is_refused(redis: Redis) -> None:
    """The line says both numbers."""
    await shards.check(redis, 4)
    await shards.check(redis, 4)
    with pytest.raises(StartupError, match=r"set up with 4 shards, but the setting shards .* is 8"):
        await shards.check(redis, 8)


async def test_a_full_redis_is_checked_as_any_other_and_refused_in_one_line_if_it_is_new(
    own_redis: RedisServer,
) -> None:
    """A service that starts again needs no write; one that comes first can't go on."""
    async with Redis.from_url(own_redis.url) as redis:
        await shards.check(redis, 4)
        await redis.config_set("maxmemory", "1")
        await shards.check(redis, 4)
        await redis.delete(keys.SHARDS)
        with pytest.raises(StartupError, match=r"full .* maxmemory") as raised:
            await shards.check(redis, 4)
    assert "\n" not in str(raised.value)
