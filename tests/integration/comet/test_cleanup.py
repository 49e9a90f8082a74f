"""What a node wrote under its name is gone from Redis when the node is dead, however it died."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from chatroom.up.guard import Guard
from comet import cleanup
from common import keys, redis_client
from common.registry import Registry
from testbed.service import CometProgram
from tests.support.comet_node import running
from tests.support.eventually import eventually
from tests.support.frozen import frozen
from tests.support.keyspace import names_in
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

USERS = 12
ROOMS = 4


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The living node looks all the time, and takes many steps."""
    monkeypatch.setattr(cleanup, "LOOK_S", 0.05)
    monkeypatch.setattr(cleanup, "STEP", 2)
    monkeypatch.setattr(cleanup, "PAUSE_S", 0.001)


@pytest_asyncio.fixture(loop_scope="package")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The worker's Redis."""
    async with aclosing(redis_client.connect(redis_url)) as it:
        yield it


@pytest_asyncio.fixture(loop_scope="package")
async def victim(guard: Guard, tmp_path: Path, redis_url: str) -> AsyncIterator[CometProgram]:
    """A node as a process of its own, full of users and rooms."""
    program = CometProgram(guard, tmp_path, redis_url)
    await asyncio.to_thread(program.start)
    async with AsyncExitStack() as clients:
        for i in range(USERS):
            url = f"{program.url}?uid=u{i}&rooms=r{i % ROOMS}"
            client = await clients.enter_async_context(connect(url, proxy=None, close_timeout=0))
            await client.recv()
        yield program
        await asyncio.to_thread(program.kill)


async def recorded_name(redis: Redis, *besides: str) -> str:
    """Return the victim's incarnation, beside those of others, once it has recorded all its users and rooms."""
    registry = Registry(redis, SHARDS)

    names: list[str] = []

    async def recorded() -> bool:
        names[:] = [one for one in await registry.nodes() if one not in besides]
        users = await registry.locate([f"u{i}" for i in range(USERS)])
        rooms = await registry.serving([f"r{i}" for i in range(ROOMS)])
        return len(names) == 1 and all(names[0] in found for found in users + rooms)

    await eventually(recorded, f"all is recorded by one of {names}")
    return names[0]


async def presume_dead(redis: Redis, name: str) -> None:
    """Let a minute pass: its life has run out, and it was not seen since."""
    await redis.delete(keys.node(name))
    await redis.zadd(keys.NODES, {name: 0})


async def until_forgotten(redis: Redis, name: str) -> None:
    """Wait until the name is nowhere in Redis, and nothing is left of an index either."""
    found: list[str] = []

    async def gone() -> bool:
        found[:] = await names_in(redis, name)
        return not found

    await eventually(gone, f"{name} in {found}", 30)


async def test_of_a_killed_node_nothing_is_left_anywhere(redis: Redis, redis_url: str, victim: CometProgram) -> None:
    """No field, no key, no entry of the list; what the living node wrote into the same hashes stays."""
    dead = await recorded_name(redis)
    async with running(redis_url) as node, node.client(uid="u0", rooms="r0") as client:
        living = client.frames("hello")[0]["node"]
        await eventually(lambda: _has(redis, keys.user("u0"), living))
        assert len(await names_in(redis, dead)) >= USERS + ROOMS + 2
        await asyncio.to_thread(victim.kill)
        await presume_dead(redis, dead)
        await until_forgotten(redis, dead)
        registry = Registry(redis, SHARDS)
        assert await registry.locate(["u0", "u1"]) == [[living], []]
        assert await registry.serving(["r0", "r1"]) == [[living], []]


async def test_a_node_that_seemed_dead_comes_back_under_another_name(
    redis: Redis, redis_url: str, victim: CometProgram
) -> None:
    """Its sessions live on: they are found under its new name, and its old one is forgotten for good."""
    dead = await recorded_name(redis)
    async with running(redis_url) as node, node.client(uid="other", rooms="") as client:
        with frozen(victim.pid):
            await presume_dead(redis, dead)
            await until_forgotten(redis, dead)
        back = await recorded_name(redis, client.frames("hello")[0]["node"])
        assert back != dead
        await until_forgotten(redis, dead)
        assert await Registry(redis, SHARDS).locate([f"u{i}" for i in range(USERS)]) == [[back]] * USERS


async def _has(redis: Redis, key: str, name: str) -> bool:
    return name.encode() in await redis.hkeys(key)
