"""The number of shards as a node has it: Redis's."""

import pytest
from redis.asyncio import Redis

from common import keys
from common.errors import StartupError
from common.shards import Shards
from tests.support.comet_node import CometNode, running
from tests.support.eventually import eventually
from tests.support.logic_standin import LogicStandin, serving

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


@pytest.mark.parametrize("kept", [None, 8, 16])
async def test_a_node_without_the_setting_adopts_the_number_that_redis_keeps(redis_url: str, kept: int | None) -> None:
    """A message is stored in that number's shard, and the node forwards so many; a new Redis has 64 from then on."""
    async with Redis.from_url(redis_url, protocol=2) as redis, serving(LogicStandin()) as logic:
        if kept is not None:
            await redis.set(keys.SHARDS, kept)
        async with running(redis_url, forward_url=logic.url) as node, node.client(rooms=ROOM) as alice:
            shards = Shards(kept or 64)
            assert await redis.get(keys.SHARDS) == str(shards.count).encode()
            await alice.answer("clientMessages", {"roomId": ROOM, "content": "x"}, "ack")
            assert await redis.xlen(keys.room_keys(shards.of(ROOM), ROOM).stream) == 1
            await eventually(lambda: logic.seqs(ROOM) == [1])
            assert sorted(await redis.keys("chat:*:lease")) == sorted(
                keys.lease(shard).encode() for shard in range(shards.count)
            )


async def test_a_node_refuses_to_start_with_another_number(redis_url: str, node: CometNode) -> None:
    """It would look for a room where it is not."""
    assert node.settings.shards is None
    with pytest.raises(StartupError, match=r"64 shards.*CHAT_SHARDS\) is 8"):
        async with running(redis_url, shards=8):
            pass


async def test_a_running_node_gives_an_empty_redis_its_number_back(redis_url: str, node: CometNode) -> None:
    """A node that starts later, and would choose another number, adopts that of those that run."""
    assert node
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        await eventually(lambda: redis.get(keys.SHARDS))
        assert await redis.get(keys.SHARDS) == b"64"
