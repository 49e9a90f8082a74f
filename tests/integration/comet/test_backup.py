"""A Redis that was lost with its disk and restored from a backup, as docs/operations.md says to do it."""

import asyncio
import shutil

import pytest

from testbed.redis_server import RedisServer
from tests.support.comet_node import Client, running
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


async def history(client: Client, before: str | None = None) -> list[str]:
    """Return a page of the room's history."""
    ask = {"roomId": ROOM} | ({"firstMessageId": before} if before else {})
    page = await client.answer("requestRoomHistory", ask, "roomHistory")
    return [one["content"] for one in page["messages"]]


async def test_a_restored_redis_has_the_history_and_tells_who_saw_more(own_redis: RedisServer) -> None:
    """A snapshot taken while Redis serves is all that is needed, under the name of its log; what came later is told."""
    async with running(own_redis.url) as node, node.client(rooms=ROOM) as alice:
        for content in ("one", "two"):
            await alice.send(ROOM, content)
        await alice.until_contents(ROOM, ["one", "two"])
        with own_redis.client() as admin:
            taken = admin.lastsave()
            admin.bgsave()
            await eventually(
                lambda: admin.lastsave() > taken or admin.info("persistence")["rdb_bgsave_in_progress"] == 0
            )
        backup = own_redis.directory.with_suffix(".rdb")
        shutil.copy(own_redis.directory / "dump.rdb", backup)
        await alice.send(ROOM, "three")
        await alice.until_contents(ROOM, ["one", "two", "three"])
        epoch = alice.frames("ack")[-1]["epoch"]
    await asyncio.to_thread(own_redis.stop)
    shutil.rmtree(own_redis.directory)
    own_redis.directory.mkdir()
    shutil.copy(backup, own_redis.directory / "appendonly.aof")
    await asyncio.to_thread(own_redis.start)
    async with running(own_redis.url) as node, node.client(rooms="") as bob:
        joined = await bob.answer("joinRoom", {"roomId": ROOM, "since": {"epoch": epoch, "seq": 3}}, "joined")
        assert joined["recovered"] is False
        assert await history(bob) == ["one", "two"]
        await bob.send(ROOM, "four")
        await bob.until_contents(ROOM, ["four"])
    await asyncio.to_thread(own_redis.stop)
    await asyncio.to_thread(own_redis.start)
    async with running(own_redis.url) as node, node.client(rooms="") as bob:
        assert await history(bob) == ["four"]  # a page holds one epoch
        assert await history(bob, bob.frames("roomHistory")[-1]["messages"][0]["id"]) == ["one", "two"]
