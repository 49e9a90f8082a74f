"""A real Redis that comes back without its last 500 appends: all that is sent then arrives, and each is told once."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from common import keys
from common.positions import Position
from testbed.redis_server import RedisServer
from tests.support import aof
from tests.support.comet_node import running
from tests.support.room_client import RoomClient
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
KEYS = keys.room_keys(SHARDS.of(ROOM), ROOM)
STORED, LOST, SENT = 1200, 500, 500
KEPT = STORED - LOST
FAST: dict[str, Any] = {"rate_messages_per_second": 1e6, "rate_burst_messages": 100_000, "append_timeout_seconds": 20}


def lose_tail(server: RedisServer) -> None:
    """Kill it, cut off its last appends, start it again."""
    server.kill()
    aof.lose_appends(server.directory, KEYS.stream.encode(), LOST)
    server.start()


async def stream_of(server: RedisServer) -> list[tuple[int, int]]:
    """Return (seq, epoch) of all entries of the room's stream."""
    async with Redis.from_url(server.url, protocol=2) as redis:
        entries: Any = await redis.xrange(KEYS.stream)
    return [(int(fields[b"seq"]), int(fields[b"epoch"])) for _, fields in entries]


@pytest.mark.parametrize("returning", ["at once, where the room is", "at once, elsewhere", "afterwards"])
async def test_a_redis_that_lost_its_last_500_appends_is_told_to_each_client_once(
    own_redis: RedisServer, returning: str
) -> None:
    """Clients on two nodes: live ones, one that resumes above the cut (by either node, twice) and one below it."""
    alice, bob, above, below = (RoomClient(ROOM, uid) for uid in ("alice", "bob", "above", "below"))
    everybody = (alice, bob, above, below)
    nodes = [running(own_redis.url, **FAST) for _ in range(3)]
    async with nodes[0] as one, nodes[1] as two, nodes[2] as three:
        async with alice.on(one), bob.on(two):
            async with below.on(two):
                await send(alice, 0, KEPT - 50)
                await below.until_at(KEPT - 50)
            async with above.on(one):
                await send(alice, KEPT - 50, STORED)
                for client in (alice, bob, above):
                    await client.until_at(STORED)
            await asyncio.to_thread(lose_tail, own_redis)
            if returning != "afterwards":
                places = [two, three, one] if returning == "at once, where the room is" else [three, two, one]
                for node in places:
                    async with above.on(node):
                        await above.until(lambda: above.told)  # by the check of the tails, where not by the join
                        await above.settle()
                assert (above.told, above.position and above.position.seq) == (1, KEPT)
                for client in (alice, bob):
                    await client.until(lambda: client.told)  # noqa: B023 - asked at once
            await asyncio.gather(send(alice, STORED, STORED + SENT // 2), send(bob, STORED + SENT // 2, STORED + SENT))
            async with above.on(two), below.on(one):
                end = Position(alice.acks[-1]["epoch"], KEPT + SENT)
                for client in everybody:
                    await client.until(lambda: client.position == end)  # noqa: B023 - asked at once
                    await client.settle()
        assert await stream_of(own_redis) == sorted(await stream_of(own_redis))
        assert [seq for seq, _ in await stream_of(own_redis)] == list(range(1, KEPT + SENT + 1))
    fresh = {str(number) for number in range(STORED, STORED + SENT)}
    for client in everybody:
        came = [content for content in client.contents if content in fresh]
        assert (len(came), set(came)) == (SENT, fresh) or (client is above and returning == "afterwards"), client.uid
        assert client.told == (0 if client is below else 1), client.uid
        assert not client.errors
    assert below.contents[:KEPT] == [str(number) for number in range(KEPT)]
    assert alice.contents == bob.contents


async def send(client: RoomClient, begin: int, end: int) -> None:
    """Send numbered messages, one a frame, and wait for all acks."""
    acked = len(client.acks)
    for number in range(begin, end):
        await client.send(str(number))
    await client.until(lambda: len(client.acks) == acked + end - begin)
