"""How many shards a Redis has: settled by the first service that comes, checked by every other."""

from redis.asyncio import Redis

from common import keys
from common.errors import StartupError


async def check(redis: Redis, wanted: int) -> None:
    """Settle how many shards this Redis has; raise StartupError if it was set up with another number."""
    await redis.set(keys.SHARDS, wanted, nx=True)
    found = int(await redis.get(keys.SHARDS) or wanted)
    if found != wanted:
        raise StartupError(
            f"this Redis was set up with {found} shards, but the setting shards (CHAT_SHARDS) is {wanted}: "
            f"set it to {found}, or use another Redis"
        )
