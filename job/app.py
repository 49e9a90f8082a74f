"""Job, put together: the only place that builds its parts, and the order in which they start and stop.

Start: the health port; then Redis and Kafka, waited for; then the nodes' pushers, the dead letters and the consumers.
Stop: the consumers finish what is in flight, commit and leave the group; then everything else ends.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from common import lifecycle, logs, redis_client
from common.health import Health, serve_health
from common.registry import Registry
from common.shards import Shards
from job import kafka, kafka_group, kafka_topics, startup
from job.comet_client import CometClient
from job.config import JobSettings
from job.consumer import Consumer
from job.dead_letter import DeadLetters
from job.directory import Directory
from job.dispatcher import Dispatcher
from job.fleet import Fleet
from job.locator import Locator
from job.topic_watch import TopicWatch

LEAVE_S: Final = 1.5  # of the time to drain: for the last commits and to leave the group

log = logs.get()


def main(argv: Sequence[str]) -> int:
    """Run Job with these arguments and return its exit code."""
    settings = JobSettings.load(argv)
    logs.configure("job", settings.log_level, settings.log_format)
    return lifecycle.run(partial(serve, settings))


async def serve(settings: JobSettings, stop: lifecycle.StopRequest) -> None:
    """Run Job until asked to stop, then drain. Raises StartupError (in a group)."""
    health = Health()
    async with (
        serve_health(health, settings.http_bind_ip, settings.metrics_port, "metrics_port (JOB_METRICS_PORT)"),
        aclosing(redis_client.connect(settings.redis_url.get_secret_value())) as redis,
        asyncio.TaskGroup() as tasks,
    ):
        job = Job(settings, health, redis)
        running = tasks.create_task(job.run())
        await stop.wait()
        log.info("Job is draining", seconds=settings.drain_seconds)
        await job.drain()
        running.cancel()
    log.info("Job has stopped")


class Job:
    """All parts of Job."""

    def __init__(self, settings: JobSettings, health: Health, redis: redis_client.RedisClient) -> None:
        self._settings = settings
        self._health = health
        self._redis = redis
        self._shards = Shards(settings.shards)
        self._consumers: list[Consumer] = []
        self._consuming: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Wait for Redis and Kafka, then consume until cancelled. Raises StartupError."""
        self._health.bad("redis", "not connected yet")
        self._health.bad("kafka", "not connected yet")
        await startup.wait_for_redis(self._redis, self._shards, self._settings, self._health)
        await startup.wait_for_topic(self._settings, self._health)
        async with asyncio.TaskGroup() as tasks:
            await self._start(tasks)
            log.info("Job is up", topic=self._settings.kafka_topic, consumers=self._settings.consumers)

    async def drain(self) -> None:
        """Let the consumers finish, commit and leave within drain_seconds."""
        drain_s = self._settings.drain_seconds
        self._health.bad("draining", "Job is about to stop")
        for consumer in self._consumers:
            consumer.stop(time.monotonic() + max(drain_s - LEAVE_S, drain_s / 2))
        if self._consuming:
            await asyncio.wait(self._consuming, timeout=drain_s)

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        settings, health = self._settings, self._health
        registry = Registry(self._redis, self._shards)
        fleet = Fleet(tasks, CometClient, settings.addresses, settings.push_deadline_seconds)
        directory = Directory(registry, fleet, health)
        dispatcher = Dispatcher(Locator(registry, directory, fleet), fleet)
        dead_letters = DeadLetters(settings.kafka_topic, partial(kafka_topics.writer, settings), health)
        join = partial(kafka.member, settings)
        await directory.refresh()
        tasks.create_task(self._shards.watch(self._redis))
        tasks.create_task(directory.run())
        tasks.create_task(dead_letters.run())
        self._consumers = [
            Consumer(index, settings, join, dispatcher, dead_letters, health) for index in range(settings.consumers)
        ]
        watch = TopicWatch(settings, partial(kafka_group.group, settings), self._assigned, health)
        tasks.create_task(watch.run())
        self._consuming = [tasks.create_task(consumer.run()) for consumer in self._consumers]

    def _assigned(self) -> set[int]:
        return {partition for consumer in self._consumers for partition in consumer.assigned()}
