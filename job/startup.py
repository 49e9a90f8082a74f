"""What Job waits for before it begins: Redis and Kafka, for as long as it takes, and the topic, for a while.

What waiting can't mend is a StartupError: too old a Redis, one with another number of shards, a topic that never comes
or has another number of partitions than this Job was told.
"""

import time
from typing import Final

from common import logs, redis_client
from common.backoff import Backoff
from common.errors import StartupError, Unavailable, reason_of
from common.health import Health
from common.shards import Shards
from job import kafka_topics
from job.config import JobSettings

_FIRST_S: Final = 0.2
_CAP_S: Final = 3.0

log = logs.get()


async def wait_for_redis(
    redis: redis_client.RedisClient, shards: Shards, settings: JobSettings, health: Health
) -> None:
    """Return when Redis answers and is one that we can use. Raises StartupError."""
    backoff = Backoff(_FIRST_S, _CAP_S)
    while True:
        try:
            await redis.ping()
            await redis_client.check(redis, str(settings.redis_url))
            await shards.settle(redis)
        except redis_client.REDIS_FAULTS as e:
            _note(health, "redis", e)
        except StartupError as e:
            if not isinstance(e.__cause__, redis_client.AWAY):
                raise
            _note(health, "redis", e.__cause__)
        else:
            health.good("redis")
            return
        await backoff.wait()


async def wait_for_topic(settings: JobSettings, health: Health) -> None:
    """Return when Kafka answers and has the topic as it must be. Raises StartupError."""
    backoff = Backoff(_FIRST_S, _CAP_S)
    asked_at: float | None = None  # since when Kafka answers, but has no such topic
    while True:
        try:
            found = await kafka_topics.partitions_of(settings, settings.kafka_topic)
        except Unavailable as e:
            asked_at = None
            _note(health, "kafka", e)
        else:
            if found:
                break
            asked_at = asked_at or time.monotonic()
            _check_patience(settings, time.monotonic() - asked_at)
            health.bad("kafka", f"waiting for the topic {settings.kafka_topic}")
        await backoff.wait()
    _check_partitions(settings, found)
    health.good("kafka")


def _note(health: Health, name: str, error: BaseException) -> None:
    why = reason_of(error)
    log.warning("Waiting for what Job needs", service_away=name, why=why)
    health.bad(name, why)


def _check_patience(settings: JobSettings, waited_s: float) -> None:
    if waited_s >= settings.topic_wait_seconds:
        raise StartupError(
            f"Kafka at {settings.kafka_brokers} has no topic {settings.kafka_topic}: create it with "
            f"{settings.partitions or 'some'} partitions, or change the setting kafka_topic (CHAT_KAFKA_TOPIC)"
        )


def _check_partitions(settings: JobSettings, found: int) -> None:
    if settings.partitions and found != settings.partitions:
        raise StartupError(
            f"the topic {settings.kafka_topic} has {found} partitions, but the setting partitions (JOB_PARTITIONS) is "
            f"{settings.partitions}: set it to {found}, or to 0 for any number"
        )
