"""Whether Redis is there: known before a message is stored, shown on /readyz. Looks at it again and again.

Redis away is no reason to end: what comes from Comet needs only Kafka. A Redis that was set up with another number of
shards is one, as it would be written to in the wrong places.
"""

import asyncio

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common import logs, redis_client, shards
from common.errors import StartupError, Unavailable
from common.health import Health
from logic.config import Settings
from logic.metrics import REDIS_UP

NAME = "redis"

log = logs.get()


class RedisWatch:
    """Redis as Logic sees it: there or away."""

    def __init__(self, redis: Redis, settings: Settings, health: Health) -> None:
        self._redis = redis
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
            except (*redis_client.AWAY, RedisError) as e:
                self._away(e)
            except StartupError as e:
                if not isinstance(e.__cause__, redis_client.AWAY):
                    raise
                self._away(e.__cause__)
            else:
                self._set_fault("")
            await asyncio.sleep(self._settings.check_seconds)

    async def _look(self) -> None:
        await self._redis.ping()
        if not self._checked:
            await redis_client.check(self._redis, self._settings.redis_url)
            await shards.check(self._redis, self._settings.shards)
            await redis_client.warn_of_weak_durability(self._redis, self._health)
            self._checked = True

    def _away(self, error: BaseException) -> None:
        self._checked = False  # another one may come back
        self._set_fault("no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__)

    def _set_fault(self, reason: str) -> None:
        """Note why Redis is away, or that it is there ('')."""
        if (self._health.reasons.get(NAME) or "") != reason:
            (log.warning if reason else log.info)("Redis is away" if reason else "Redis is there", reason=reason)
        REDIS_UP.set(not reason)
        if reason:
            self._fault = Unavailable(f"Redis is away: {reason}")
            self._health.bad(NAME, reason)
        else:
            self._fault = None
            self._health.good(NAME)
