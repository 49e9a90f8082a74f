"""SIGTERM: the node leaves in order and in time, whatever hangs, and its clients lose nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from chatroom.up.guard import Guard
from common import keys
from common.registry import Registry
from testbed.raw_client import RawClient, raw_clients
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.support.eventually import eventually
from tests.support.frozen import frozen
from tests.support.logic_standin import LogicStandin, serving
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
DRAIN_S = 4.0
AMPLE_DRAIN_S = 12.0  # where what ran out of time would be refused, which a busy machine must not bring about
CLIENTS = 40
STOP_TIMEOUT_S = 60.0  # longer than any test here waits for an end


@asynccontextmanager
async def started(guard: Guard, directory: Path, redis_url: str, **settings: object) -> AsyncIterator[CometProgram]:
    """Run a node while inside; `settings` are named as in the environment."""
    named = {name: str(value) for name, value in {"COMET_DRAIN_SECONDS": DRAIN_S, **settings}.items()}
    program = CometProgram(guard, directory, redis_url, named)
    await asyncio.to_thread(program.start)
    try:
        yield program
    finally:
        await asyncio.to_thread(program.kill)


async def stop(program: CometProgram, drain_s: float = DRAIN_S) -> int | None:
    """SIGTERM it and return its exit code; it has its drain_seconds, and what an end takes on a busy machine."""
    async with asyncio.timeout(drain_s + 4):
        return await asyncio.to_thread(program.stop, STOP_TIMEOUT_S)


async def until_closed(clients: list[RawClient]) -> list[int | None]:
    """Wait until all are, and return their codes."""
    for client in clients:
        await client.until(lambda: client.closed)  # noqa: B023 - awaited within the round
    return [client.close_code for client in clients]


async def test_it_leaves_in_order(guard: Guard, tmp_path: Path, redis_url: str) -> None:
    """Out of the registry and deaf before the first client is closed; 1012 for all, spread; no lease is left."""
    async with (
        started(guard, tmp_path, redis_url) as program,
        raw_clients(program.port, CLIENTS, f"rooms={ROOM}") as clients,
        Redis.from_url(redis_url, protocol=2) as redis,
    ):
        registry = Registry(redis, SHARDS)
        leases = [keys.lease(shard) for shard in range(SHARDS.count)]

        async def forwards() -> bool:
            return await redis.exists(*leases) == len(leases)

        await eventually(forwards)
        assert len(await registry.nodes()) == 1
        stopping = asyncio.create_task(stop(program))
        async with asyncio.timeout(10):
            while not any(client.closed for client in clients):
                await asyncio.sleep(0.001)
        assert sum(client.closed for client in clients) < CLIENTS / 2
        assert await registry.nodes() == {}
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await RawClient.connect(program.port)
        assert await until_closed(clients) == [1012] * CLIENTS
        assert await stopping == 0
        assert await redis.exists(*leases) == 0
        assert "Traceback" not in program.log


async def test_what_it_took_is_acked_before_it_closes(guard: Guard, tmp_path: Path, redis_url: str) -> None:
    """Clients that send all the time: what was not acked was not stored, and nobody got an error."""
    stored: list[str] = []
    async with (
        started(
            guard, tmp_path, redis_url, COMET_RATE_BURST_MESSAGES=100_000, COMET_DRAIN_SECONDS=AMPLE_DRAIN_S
        ) as program,
        raw_clients(program.port, CLIENTS, f"rooms={ROOM}") as clients,
    ):
        sent = 0

        async def load() -> None:
            nonlocal sent
            while not all(client.closed for client in clients):
                for i, client in enumerate(clients):
                    if not client.closed:
                        client.send("clientMessages", roomId=ROOM, content=f"{i} {sent}", ref=f"{i} {sent}")
                        sent += 1
                await asyncio.sleep(0.1)

        loading = asyncio.create_task(load())
        await clients[0].until(lambda: len(clients[0].of("ack")) > 10)
        assert await stop(program, AMPLE_DRAIN_S) == 0
        assert await until_closed(clients) == [1012] * CLIENTS
        await loading
    async with started(guard, tmp_path, redis_url) as program:
        reader = await RawClient.connect(program.port, "rooms=")
        await reader.until_frame("hello")
        reader.on_message = lambda message: stored.append(message["content"])
        reader.send("joinRoom", roomId=ROOM, since={"epoch": 0, "seq": 0})
        await reader.until_frame("joined")
        reader.send("ping")
        await reader.until_frame("pong")
        reader.abort()
    assert [error for client in clients for error in client.of("error")] == []
    acked = {ack["ref"] for client in clients for ack in client.of("ack")}
    assert acked == set(stored)
    assert len(stored) == len(acked) <= sent


async def test_it_ends_in_time_although_redis_is_frozen(guard: Guard, tmp_path: Path, own_redis: RedisServer) -> None:
    """Senders get `unavailable` with their ref, all get 1012, exit 0; what was refused is stored once by a retry."""
    async with started(guard, tmp_path / "comet", own_redis.url) as program:
        async with raw_clients(program.port, CLIENTS, f"rooms={ROOM}") as clients:
            with frozen(own_redis.pid):
                for i, client in enumerate(clients[:10]):
                    client.send("clientMessages", roomId=ROOM, content=str(i), ref=str(i))
                clients[10].send("joinRoom", roomId="another")
                assert await stop(program) == 0
                assert await until_closed(clients) == [1012] * CLIENTS
            refused = [client.of("error")[0] for client in clients[:10]]
            assert [(error["code"], error["ref"]) for error in refused] == [("unavailable", str(i)) for i in range(10)]
            assert [ack for client in clients for ack in client.of("ack")] == []
        assert "Traceback" not in program.log
        await asyncio.to_thread(program.start)
        async with raw_clients(program.port, 10, f"rooms={ROOM}") as again:
            for i, client in enumerate(again):
                client.send("clientMessages", roomId=ROOM, content=str(i), ref=f"again {i}")
            for client in again:
                await client.until_frame("ack")


async def test_it_ends_in_time_although_logic_is_frozen(guard: Guard, tmp_path: Path, redis_url: str) -> None:
    """A batch is under way and is never answered: what was acked stays in the outbox for another node."""
    async with serving(LogicStandin()) as logic:
        logic.open.clear()
        async with (
            started(
                guard, tmp_path, redis_url, COMET_FORWARD_URL=logic.url, COMET_FORWARD_TIMEOUT_SECONDS=60
            ) as program,
            raw_clients(program.port, CLIENTS, f"rooms={ROOM}") as clients,
        ):
            clients[0].send("clientMessages", roomId=ROOM, content="x", ref="r")
            await clients[0].until_frame("ack")
            await eventually(lambda: logic.batches)
            assert await stop(program) == 0
            assert await until_closed(clients) == [1012] * CLIENTS
            assert "Traceback" not in program.log
        logic.open.set()
        async with started(guard, tmp_path, redis_url, COMET_FORWARD_URL=logic.url):
            await eventually(lambda: logic.contents(ROOM) == ["x"])
