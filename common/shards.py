"""How many shards a Redis has: settled by the first service that comes, checked by every other."""

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from common import keys
from common.errors import StartupError


async def check(redis: Redis, wanted: int) -> None:
    """Settle how many shards this Redis has; raise StartupError if it was set up with another number, or can't be."""
    found = int(await redis.get(keys.SHARDS) or 0)
    if not found:  # asked first, as a full Redis refuses any SET, even one that would change nothing
        found = await _settle(redis, wanted)
    if found != wanted:
        raise StartupError(
            f"this Redis was set up with {found} shards, but the setting shards (CHAT_SHARDS) is {wanted}: "
            f"set it to {found}, or use another Redis"
        )


async def _settle(redis: Redis, wanted: int) -> int:
    try:
        await redis.set(keys.SHARDS, wanted, nx=True)
    except OutOfMemoryError as e:
        raise StartupError(
            "this Redis is full before it was ever used (OOM): raise its maxmemory, or use another Redis"
        ) from e
    return int(await redis.get(keys.SHARDS) or wanted)
