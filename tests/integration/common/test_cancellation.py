"""A loop that asks Redis can be ended: a cancellation is never lost, whenever it comes."""

import asyncio
import contextlib
import random

import pytest

from common import redis_client
from common.redis_client import AWAY


async def test_a_cancelled_loop_of_commands_ends(redis_url: str) -> None:
    """Python 3.11 and redis-py alone lose most of these cancellations, and Logic's watch would never end."""
    redis = redis_client.connect(redis_url)

    async def ask_forever() -> None:
        while True:
            await redis.ping()

    try:
        for _ in range(50):
            asking = asyncio.ensure_future(ask_forever())
            await asyncio.sleep(random.uniform(0.001, 0.003))  # noqa: S311 - any instant will do
            asking.cancel()
            ended, _ = await asyncio.wait([asking], timeout=2)
            assert ended
        assert await redis.echo("own answer") == b"own answer"
    finally:
        await redis.aclose()


@pytest.mark.parametrize("reads", [False, True], ids=["hangs up at once", "hangs up when asked"])
async def test_a_loop_ends_that_is_cancelled_while_redis_goes(reads: bool) -> None:
    """Whichever step of connecting, sending and failing it is cancelled in: Redis that dies just then hides nothing."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if reads:
                await reader.read(1)
            writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        redis = redis_client.connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", retries=0)

        async def ask_forever() -> None:
            while True:
                with contextlib.suppress(*AWAY):
                    await redis.ping()
                await asyncio.sleep(0)

        for steps in range(100):
            asking = asyncio.ensure_future(ask_forever())
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            ended, going_on = await asyncio.wait([asking], timeout=2)
            while going_on:  # or the test would never end either
                asking.cancel()
                _, going_on = await asyncio.wait(going_on, timeout=0.1)
            assert ended, f"cancelled after {steps} steps"
        await redis.aclose()
