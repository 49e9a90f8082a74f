"""The hub heals itself: whatever happens to PubSub, clients notice nothing but a delay, and see each message once."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from testbed.redis_server import RedisServer
from tests.chaos.proxy import Proxy
from tests.support.comet_node import CometNode, running
from tests.support.eventually import eventually
from tests.support.room_client import RoomClient

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
LATE_S = 20.0  # far above the three seconds promised: a busy machine is no failure
log = logging.getLogger(__name__)


def total(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def behind_proxy(server: RedisServer) -> AsyncIterator[tuple[Proxy, CometNode]]:
    """A node whose line to Redis can be hurt: only its PubSub connection is."""
    async with Proxy(server.port, marks=(b"SUBSCRIBE",)) as proxy:
        proxy.only(b"SUBSCRIBE")
        async with running(f"redis://127.0.0.1:{proxy.port}/0") as node:
            try:
                yield proxy, node
            finally:
                proxy.heal()


async def say(client: RoomClient, others: list[RoomClient], first: int, count: int) -> float:
    """Send numbered messages and return how long the last of them took to reach everybody, in seconds."""
    begun = time.monotonic()
    for number in range(first, first + count):
        await client.send(str(number))
    for one in (client, *others):
        await one.until_at(first + count - 1, LATE_S)
        assert one.contents == [str(number) for number in range(1, first + count)]
        assert one.told == 0
    return time.monotonic() - begun


async def test_a_silent_pubsub_connection_delays_messages_and_is_given_up(own_redis: RedisServer) -> None:
    """Half-open: nothing comes and nothing is closed. The check of the tails brings all; then a new one is made."""
    alice, bob = RoomClient(ROOM, "alice"), RoomClient(ROOM, "bob")
    async with behind_proxy(own_redis) as (proxy, node), running(own_redis.url) as other:
        async with alice.on(other), bob.on(node):
            await say(alice, [bob], 1, 3)
            lost = total("comet_pubsub_lost_total")
            proxy.hold()
            for i in range(4):
                log.info("silent: %.2f s", await say(alice, [bob], 4 + i * 5, 5))
            await eventually(lambda: total("comet_pubsub_lost_total") > lost, timeout_s=LATE_S)
            proxy.release()
            await heard_again(alice, [bob], 24)


async def heard_again(alice: RoomClient, others: list[RoomClient], first: int) -> None:
    """Send until a message reaches everybody without having to be read from the stream."""
    repaired = -1.0
    while repaired != total("comet_repaired_messages_total"):
        repaired = total("comet_repaired_messages_total")
        await say(alice, others, first, 1)
        first += 1


async def test_a_pubsub_connection_cut_again_and_again_costs_no_message(own_redis: RedisServer) -> None:
    """Under traffic from both sides of it; in the end PubSub carries messages again."""
    alice, bob = RoomClient(ROOM, "alice"), RoomClient(ROOM, "bob")
    async with behind_proxy(own_redis) as (proxy, node), running(own_redis.url) as other:
        async with alice.on(other), bob.on(node):
            for i in range(12):
                proxy.cut()
                log.info("cut: %.2f s", await say(alice, [bob], 1 + i * 5, 5))
            proxy.refuse()
            proxy.cut()
            for i in range(3):
                log.info("refused: %.2f s", await say(alice, [bob], 61 + i * 5, 5))
            proxy.heal()
            await heard_again(alice, [bob], 76)


async def test_what_pubsub_drops_in_the_middle_or_last_is_read_from_the_stream(own_redis: RedisServer) -> None:
    """Redis drops what it may not publish: a burst in the middle shows at once, a last message by the check."""
    alice, bob = RoomClient(ROOM, "alice"), RoomClient(ROOM, "bob")
    async with running(own_redis.url) as one, running(own_redis.url) as two, alice.on(one), bob.on(two):
        with own_redis.client() as admin:

            def publish(allowed: str) -> None:
                admin.execute_command("ACL", "SETUSER", "default", f"{allowed}publish")

            for lap in range(3):
                first = 1 + lap * 12
                await say(alice, [bob], first, 3)
                publish("-")
                for number in range(first + 3, first + 8):
                    await alice.send(str(number))
                await alice.until(lambda: len(alice.acks) == first + 7)  # noqa: B023 - asked at once
                publish("+")
                log.info("dropped in the middle: %.2f s", await say(alice, [bob], first + 8, 2))
                publish("-")
                log.info("dropped last: %.2f s", await say(alice, [bob], first + 10, 2))
                publish("+")


async def test_all_lines_of_a_node_half_open_for_a_while_cost_no_message(own_redis: RedisServer) -> None:
    """Its clients stay, and get what they missed, once, when Redis can be reached again."""
    alice, bob = RoomClient(ROOM, "alice"), RoomClient(ROOM, "bob")
    async with behind_proxy(own_redis) as (proxy, node), running(own_redis.url) as other:
        async with alice.on(other), bob.on(node):
            await say(alice, [bob], 1, 3)
            proxy.only(None)
            proxy.hold()
            for number in range(4, 24):
                await alice.send(str(number))
            await alice.until_at(23)
            await bob.settle()
            proxy.release()
            log.info("hung: %.2f s", await say(alice, [bob], 24, 1))
