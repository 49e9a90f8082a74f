"""Comet, put together: the only place that builds its parts, and the order in which they start and stop."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress

from comet.address import advertised
from comet.auth import Auth
from comet.cleanup import Cleanup
from comet.config import CometSettings
from comet.context import Context
from comet.forwarder import Forwarder
from comet.gateway import Gateway
from comet.hub import Hub
from comet.leases import Leases
from comet.membership import Membership
from comet.outbound import Outbound
from comet.presence import Presences
from comet.pubsub import PubSub
from comet.push_service import PushServer, PushService
from comet.room import Room
from common import health, ids, lifecycle, logs, redis_client
from common.outbox import Outbox
from common.registry import Registry
from common.shards import Shards
from common.store import Store, StoreLimits

log = logs.get()

# Of drain_seconds: to leave the registry, until sends in progress must be answered, to spread the closes over, to hand
# the outboxes over (beside the two before), and for each of the last steps.
LEAVE_SHARE, ANSWER_SHARE, SPREAD_SHARE, HAND_OVER_SHARE, LAST_SHARE = 0.1, 0.4, 0.25, 0.5, 0.05
LEAST_S = 0.5


def main(argv: Sequence[str]) -> int:
    """Run Comet with these arguments and return its exit code."""
    settings = CometSettings.load(argv)
    logs.configure("comet", settings.log_level, settings.log_format)
    return lifecycle.run(lambda stop: Comet(settings).run(stop))


class Comet:
    """One node."""

    def __init__(self, settings: CometSettings) -> None:
        self._settings = settings
        self._health = health.Health()
        limits = StoreLimits(
            max_messages=settings.room_max_messages,
            max_age_s=settings.room_max_age_seconds,
            room_ttl_s=settings.room_ttl_seconds,
            ref_window_s=settings.ref_window_seconds,
            append_timeout_s=settings.append_timeout_seconds,
            append_queue=settings.append_queue,
            append_queue_bytes=settings.append_queue_bytes,
        )
        self._redis = redis_client.connect(settings.redis_url.get_secret_value())
        self._shards = Shards(settings.shards)
        self._store = Store(self._redis, self._shards, limits)
        registry = Registry(self._redis, self._shards)
        rooms: dict[str, Room] = {}
        self._pubsub = PubSub(self._redis, lambda room: self._store.keys_of(room).channel, self._health)
        address = advertised(settings, self._health)
        self._membership = Membership(registry, rooms, address, settings.room_ttl_seconds, self._health)
        self._hub = Hub(
            rooms, self._store, self._pubsub, Outbound(), self._membership.room_changed, settings.join_messages
        )
        self._presences = Presences(registry, self._membership, rooms)
        self._cleanup = Cleanup(registry, self._membership)
        self._outbox = Outbox(self._redis, self._shards, ids.new_incarnation())
        self._leases = Leases(self._outbox, registry, self._shards)
        self._forwarder = Forwarder(
            self._outbox,
            self._leases,
            settings.forward_url.get_secret_value(),
            settings.forward_timeout_seconds,
            self._health,
        )
        self._context = Context(settings, self._store, self._hub, self._presences, self._membership)
        key = settings.auth_key.get_secret_value() if settings.auth_key is not None else ""
        auth = Auth(key, settings.algorithms)
        self._gateway = Gateway(settings, self._context, auth, self._health)
        self._push = PushServer(PushService(self._hub, self._membership), settings.http_bind_ip, settings.grpc_port)

    async def run(self, stop: lifecycle.StopRequest) -> None:
        """Start, serve until asked to stop, drain."""
        settings = self._settings
        ip = settings.http_bind_ip
        sock = lifecycle.listen(ip, settings.http_bind_port, "http_bind_port (COMET_HTTP_BIND_PORT)")
        try:
            async with health.serve_health(
                self._health, ip, settings.metrics_port, "metrics_port (COMET_METRICS_PORT)"
            ):
                await redis_client.check(self._redis, str(settings.redis_url))
                await self._shards.settle(self._redis)
                await redis_client.look_at(self._redis, self._health)
                await self._membership.join()
                async with asyncio.TaskGroup() as tasks:
                    running = [tasks.create_task(work) for work in self._works()]
                    await self._push.start()
                    await self._gateway.listen(sock)
                    log.info("Comet is ready", port=settings.http_bind_port, node=self._membership.incarnation)
                    await stop.wait()
                    await self._drain()
                    for task in running:
                        task.cancel()
        finally:
            self._gateway.stop_listening()
            await self._push.stop(settings.drain_seconds * LAST_SHARE)
            sock.close()
            await _within(settings.drain_seconds * LAST_SHARE, self._disconnect())

    def _works(self) -> list[Coroutine[None, None, None]]:
        return [
            self._own_sessions_tasks(),
            self._shards.watch(self._redis),
            self._store.run(),
            self._pubsub.run(self._hub.on_pubsub, self._hub.check_soon),
            self._hub.run(),
            self._membership.run(),
            self._presences.run(),
            self._cleanup.run(),
            self._leases.run(),
            self._forwarder.run(),
            self._forwarder.measure(),
            self._gateway.run(),
        ]

    async def _own_sessions_tasks(self) -> None:
        """Own what sessions wait for, until cancelled."""
        async with asyncio.TaskGroup() as self._context.tasks:
            await asyncio.Event().wait()

    async def _drain(self) -> None:
        """Leave in order: nobody new, finish what was begun, hand over, close.

        Each step has its share of the time, so that one that hangs, as Redis or Logic does, takes none from the next.
        """
        seconds = self._settings.drain_seconds
        begun = asyncio.get_running_loop().time()
        log.info("Comet is draining", seconds=seconds)
        self._health.bad("draining", "the node is about to stop")
        await _within(seconds * LEAVE_SHARE, self._membership.leave())
        self._gateway.stop_listening()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_within(seconds * HAND_OVER_SHARE, self._hand_over()))
            await self._gateway.drain(
                seconds * SPREAD_SHARE, lambda: self._all_answered(begun + seconds * ANSWER_SHARE)
            )
            self._context.draining = True
            await self._all_answered(begun + seconds * (ANSWER_SHARE + SPREAD_SHARE))
        log.info("Comet has stopped")

    async def _all_answered(self, until: float) -> None:
        """Return once all messages taken so far are answered; past the deadline the rest is refused."""
        try:
            async with asyncio.timeout_at(until):
                await self._store.answered()
        except TimeoutError:
            self._store.give_up()
            await asyncio.sleep(0)  # the refusals are written in callbacks

    async def _hand_over(self) -> None:
        """Let another node forward what is in the outboxes."""
        await _within(self._settings.drain_seconds * HAND_OVER_SHARE / 2, self._forwarder.drain())
        await self._leases.drain()

    async def _disconnect(self) -> None:
        await self._outbox.aclose()
        await self._redis.aclose()


async def _within(seconds: float, work: Coroutine[None, None, None]) -> None:
    """Do it, but for no longer than that; a moment it has in any case, as most of it takes no longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(LEAST_S, seconds)):
            await work
