"""Shards: the parts that the rooms are spread over, and their number, which Redis keeps.

The first service to reach a new Redis stores the number. Every later service adopts it. A service whose setting says
another number refuses to start, as it would look for each room where it is not.
"""

import asyncio
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from common import ids, keys
from common.errors import StartupError, Unavailable
from common.redis_client import REDIS_FAULTS

# for a new Redis; docs/adr/0008-sixty-four-shards.md has the reasons
DEFAULT: Final = 64
WATCH_S: Final = 5.0


class Shards:
    """The shards of one Redis, as one service sees them. Their number is known at first only if it was configured."""

    def __init__(self, configured: int | None = None) -> None:
        self._count = configured
        self._adopted = False  # the number is the one of the Redis that was found first, not the setting

    @property
    def count(self) -> int:
        """The number of shards. Raises Unavailable while it is unknown."""
        if self._count is None:
            raise Unavailable("the number of shards is unknown until Redis answers; try again later")
        return self._count

    def of(self, room: str) -> int:
        """Return the shard that holds the room. Raises Unavailable while the number of shards is unknown."""
        return ids.shard_of(room, self.count)

    async def settle(self, redis: Redis) -> None:
        """Adopt the number that Redis keeps, or store ours (else DEFAULT) in a Redis that keeps none.

        Raises StartupError if Redis stores a different number, or is full and stores none. Errors of redis-py pass.
        """
        found = await stored(redis)
        if not found:  # asked first, as a full Redis refuses any SET, even one that would change nothing
            found = await _store(redis, self._count or DEFAULT)
        if self._count is None:
            self._count, self._adopted = found, True
        if found != self._count:
            raise StartupError(self._contradiction(found))

    async def watch(self, redis: Redis) -> None:
        """Settle again every WATCH_S, forever, as Redis may be replaced by another one. Raises StartupError."""
        while True:
            await asyncio.sleep(WATCH_S)
            with suppress(*REDIS_FAULTS):  # the service's own questions report a Redis that is away
                await self.settle(redis)

    def _contradiction(self, found: int) -> str:
        if self._adopted:
            return (
                f"this Redis was set up with {found} shards, but this process adopted {self._count} from the Redis "
                f"before it: start it again"
            )
        return (
            f"this Redis was set up with {found} shards, but the setting shards (CHAT_SHARDS) is {self._count}: "
            f"set it to {found}, leave it unset, or use another Redis"
        )


async def stored(redis: Redis) -> int:
    """Return the number of shards that Redis keeps, 0 if no service ever used this Redis. Raises what redis raises."""
    return int(await redis.get(keys.SHARDS) or 0)


async def _store(redis: Redis, count: int) -> int:
    """Store the number, unless another service was faster; return the one that Redis keeps."""
    try:
        await redis.set(keys.SHARDS, count, nx=True)
    except OutOfMemoryError as e:
        raise StartupError(
            "this Redis is full before it was ever used (OOM): raise its maxmemory, or use another Redis"
        ) from e
    return await stored(redis) or count
