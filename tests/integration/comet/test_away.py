"""Redis gone, frozen, or unreachable without a word: connections stay, senders are told, all resumes by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection

from testbed.redis_server import RedisServer
from tests.chaos.proxy import Proxy
from tests.support.comet_node import Client, CometNode, running
from tests.support.eventually import eventually
from tests.support.frozen import freeze

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
PATIENCE_S = 30.0  # until what hangs is noticed everywhere: timeouts of 2 to 6 s, one behind the other


async def reasons(node: CometNode) -> dict[str, str]:
    """Return what /readyz says against the node; its status fits."""
    async with aiohttp.ClientSession() as http, http.get(f"{node.http_url}/readyz") as answer:
        found: dict[str, str] = (await answer.json())["reasons"]
        assert answer.status == (503 if found else 200)
        return found


@asynccontextmanager
async def away(how: str, redis: RedisServer, proxy: Proxy) -> AsyncIterator[None]:
    """Take Redis away while inside."""
    if how == "killed":
        await asyncio.to_thread(redis.kill)
        try:
            yield
        finally:
            await asyncio.to_thread(redis.start)
    elif how == "frozen":
        freeze(redis.pid)
        try:
            yield
        finally:
            os.kill(redis.pid, signal.SIGCONT)
    else:
        proxy.hold()
        try:
            yield
        finally:
            proxy.release()


async def refused(client: Client, kind: str, ref: str, **payload: object) -> None:
    """Send a frame and see it refused as `unavailable`, with its ref."""
    await client.send_frame(kind, {"roomId": ROOM, "ref": ref, **payload})
    await client.until(lambda: any(error["ref"] == ref for error in client.frames("error")), PATIENCE_S)
    [error] = [error for error in client.frames("error") if error["ref"] == ref]
    assert error["code"] == "unavailable"


async def answers(connection: ClientConnection) -> bool:
    """Ask whether the connection is alive."""
    await asyncio.wait_for(await connection.ping(), 10)
    return True


@pytest.mark.parametrize("how", ["killed", "frozen", "blackholed"])
async def test_while_redis_is_away_connections_stay_and_all_resumes_by_itself(own_redis: RedisServer, how: str) -> None:
    """`unavailable` with the ref and no ack, /readyz says why; then a retry is stored once, and joins work again."""
    async with Proxy(own_redis.port) as proxy:
        async with running(f"redis://127.0.0.1:{proxy.port}/0") as node:
            async with node.client(uid="alice", rooms=ROOM) as alice, node.client(uid="bob", rooms=ROOM) as bob:
                await alice.send(ROOM, "before")
                await bob.until_contents(ROOM, ["before"])
                async with away(how, own_redis, proxy):
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(refused(alice, "clientMessages", "r1", content="meanwhile"))
                        tasks.create_task(refused(bob, "joinRoom", "r2"))
                        tasks.create_task(eventually(lambda: reasons(node), timeout_s=PATIENCE_S))
                    await refused(bob, "requestRoomHistory", "r3")
                    assert "redis" in await reasons(node)
                    assert await answers(alice.connection)
                    assert len(alice.frames("ack")) == 1
                await eventually(lambda: is_ready(node), timeout_s=PATIENCE_S)

                async def stored() -> bool:
                    before = len(alice.frames("ack"))
                    await alice.send(ROOM, "meanwhile", ref="r1")
                    await alice.until(
                        lambda: len(alice.frames("ack")) > before or alice.frames("error")[1:], PATIENCE_S
                    )
                    return len(alice.frames("ack")) > before

                await eventually(stored, timeout_s=PATIENCE_S)
                await alice.send(ROOM, "after")
                await alice.until_contents(ROOM, ["before", "meanwhile", "after"], PATIENCE_S)
                async with node.client(uid="dave", rooms="") as dave:
                    joined = await dave.answer("joinRoom", {"roomId": ROOM, "since": {"epoch": 0, "seq": 0}}, "joined")
                    assert joined["recovered"] is True
                    found = [one["content"] for one in joined["messages"]]  # an epoch a frame
                    await dave.until_contents(ROOM, ["before", "meanwhile", "after"][len(found) :])
                    assert found == ["before", "meanwhile", "after"][: len(found)]
                await bob.answer("joinRoom", {"roomId": ROOM}, "joined")
                assert alice.frames("joined") == []
                async with node.client(uid="carol", rooms=ROOM) as carol:
                    await alice.send(ROOM, "to all")
                    for client in (bob, carol):
                        await client.until(lambda: newest(client) == "to all")  # noqa: B023 - awaited within the round


def newest(client: Client) -> str:
    """Return the content of the last message that it saw live."""
    messages = client.messages(ROOM)
    return str(messages[-1]["content"]) if messages else ""


async def is_ready(node: CometNode) -> bool:
    """Ask whether nothing speaks against the node."""
    return not await reasons(node)
