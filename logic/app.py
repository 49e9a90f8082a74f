"""Logic's composition: the only file that builds its concrete objects, and the order in which they start and stop.

Logic is the bridge from HTTP to Kafka. It keeps running while Kafka or Redis is away and says so on /readyz. On SIGTERM
it stops accepting, answers what it took, lets the partition queues empty, closes; all within `drain_seconds`.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib import metadata

from aiohttp import web

from common import health, lifecycle, logs, redis_client
from common.health import Health
from common.registry import Registry
from common.shards import Shards
from common.store import Store, StoreLimits
from logic import answers
from logic.api import Api
from logic.config import LogicSettings
from logic.kafka import Kafka
from logic.lookups import Lookups
from logic.producer import Producer
from logic.push_refs import PushRefs
from logic.redis_watch import RedisWatch
from logic.service import Service

DISTRIBUTION = "chatroom-suite"
CLOSE_S = 2.5  # of drain_seconds, for the connections to Kafka and Redis
PORT_SETTING = "http_bind_port (LOGIC_HTTP_BIND_PORT)"

log = logs.get()


def main(argv: Sequence[str]) -> int:
    """Run Logic to its end and return the exit code."""
    settings = LogicSettings.load(argv)
    logs.configure(settings.service, settings.log_level, settings.log_format)
    if settings.log_level != "debug":
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # kafka.py reports, once and not at every try
    return lifecycle.run(lambda stop: serve(settings, stop))


async def serve(settings: LogicSettings, stop: lifecycle.StopRequest) -> None:
    """Serve until asked to stop, then drain. Raises StartupError (in a group)."""
    async with AsyncExitStack() as stack:
        state = Health()
        redis = redis_client.connect(settings.redis_url.get_secret_value())
        stack.push_async_callback(redis.aclose)
        shards = Shards(settings.shards)
        store = Store(redis, shards, _limits(settings))
        producer = Producer(Kafka(settings, state), settings)
        watch = RedisWatch(redis, shards, settings, state)
        api = Api(
            Service(store, PushRefs(redis, watch, settings.ref_window_seconds), producer, watch, settings),
            Lookups(store, Registry(redis, shards)),
            settings,
            metadata.version(DISTRIBUTION),
        )
        async with asyncio.TaskGroup() as group:
            works = (store.run(), producer.run(), watch.run(), shards.watch(redis))
            tasks = [group.create_task(work) for work in works]
            await _serve_http(api, state, settings, stop)
            await _drain(store, producer)
            for task in tasks:
                task.cancel()


async def _serve_http(api: Api, state: Health, settings: LogicSettings, stop: lifecycle.StopRequest) -> None:
    app = web.Application(client_max_size=settings.max_body_bytes, middlewares=[answers.guard(settings.max_requests)])
    api.add_to(app)
    health.add_routes(app, state)
    async with health.serve(
        app,
        settings.http_bind_ip,
        settings.http_bind_port,
        PORT_SETTING,
        shutdown_s=max(0.0, settings.drain_seconds - CLOSE_S),
    ):
        log.info("Logic listens", address=settings.http_bind_ip, port=settings.http_bind_port)
        await stop.wait()
        log.info("Logic drains")
        state.bad("shutdown", "draining")


async def _drain(store: Store, producer: Producer) -> None:
    """Drain the queues. Requests that timed out may have left records in them."""
    try:
        async with asyncio.timeout(CLOSE_S / 5):
            await store.drain()
            await producer.drain()
    except TimeoutError:
        log.warning("Left something undone: Kafka or Redis does not answer")


def _limits(settings: LogicSettings) -> StoreLimits:
    return StoreLimits(
        max_messages=settings.room_max_messages,
        max_age_s=settings.room_max_age_seconds,
        room_ttl_s=settings.room_ttl_seconds,
        ref_window_s=settings.ref_window_seconds,
        append_timeout_s=settings.append_timeout_seconds,
        append_queue=settings.append_queue,
        append_queue_bytes=settings.append_queue_bytes,
    )
