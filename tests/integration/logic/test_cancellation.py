"""A loop that asks Redis can be ended: a cancellation is never lost, whenever it comes."""

import asyncio
import random

from common import redis_client


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
