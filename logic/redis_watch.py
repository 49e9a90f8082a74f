"""Whether Redis is there: known before a message is stored, shown on /readyz. Looks at it again and again.

Redis away is no reason to end: what comes from Comet needs only Kafka. A Redis that was set up with another number of
shards is one, as it would be written to in the wrong places.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from common import logs, redis_client
from common.errors import StartupError, Unavailable, reason_of
from common.health import Health
from common.shards import Shards
from logic.config import LogicSettings
from logic.metrics import REDIS_MEMORY, REDIS_MEMORY_LIMIT, REDIS_UP, REDIS_WEAK

NAME = "redis"

T = TypeVar("T")

log = logs.get()


class RedisWatch:
    """Redis as Logic sees it: there or away."""

    def __init__(
        self, redis: redis_client.RedisClient, shards: Shards, settings: LogicSettings, health: Health
    ) -> None:
        self._redis = redis
        self._shards = shards
        self._settings = settings
        self._health = health
        self._checked = False  # this Redis is the right one
        self._fault: Unavailable | None = Unavailable("Redis is away: not connected yet")
        health.bad(NAME, "not connected yet")

    def check(self) -> None:
        """Raise Unavailable while Redis is away."""
        if self._fault is not None:
            raise self._fault

    async def run(self) -> None:
        """Look forever. Raises StartupError if Redis is too old or has another number of shards."""
        while True:
            try:
                async with asyncio.timeout(self._settings.check_timeout_seconds):
                    await self._look()
            except redis_client.REDIS_FAULTS as e:
                self._away(e)
            except StartupError as e:
                if not isinstance(e.__cause__, redis_client.AWAY):
                    raise
                self._away(e.__cause__)
            else:
                self._there()
            await asyncio.sleep(self._settings.check_seconds)

    async def _look(self) -> None:
        await self._redis.ping()  # an error while it still loads its files, which INFO is not
        if not self._checked:
            await redis_client.check(self._redis, str(self._settings.redis_url))
            await self._shards.settle(self._redis)
            self._checked = True
        state = await redis_client.look_at(self._redis, self._health)
        REDIS_MEMORY.set(state.memory_bytes)
        REDIS_MEMORY_LIMIT.set(state.limit_bytes)
        REDIS_WEAK.set(len(state.weak))

    def _away(self, error: BaseException) -> None:
        self._checked = False  # another one may come back
        reason = reason_of(error)
        if self._health.reasons.get(NAME) != reason:
            log.warning(state(error), reason=reason)
        REDIS_UP.set(0)
        self._fault = Unavailable(f"{state(error)}: {reason}")
        self._health.bad(NAME, reason)

    def _there(self) -> None:
        if self._fault is not None:
            log.info("Redis is there")
        REDIS_UP.set(1)
        self._fault = None
        self._health.good(NAME)


async def ask(question: Awaitable[T]) -> T:
    """Return Redis's answer; raise Unavailable, which says whether Redis is away or refuses."""
    try:
        async with asyncio.timeout(2 * redis_client.TIMEOUT_S):
            return await question
    except redis_client.REDIS_FAULTS as e:
        raise Unavailable(f"{state(e)}: {reason_of(e)}; try again later") from e


def state(error: BaseException) -> str:
    """Tell a Redis that is away from one that refuses: other people have to mend them."""
    return "Redis is away" if isinstance(error, redis_client.AWAY) else "Redis refuses what Logic asks"
