"""The rooms' store on a real Redis, in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common import redis_client
from common.shards import Shards
from common.store import Store, StoreLimits
from tests.support.shards import SHARDS


@asynccontextmanager
async def open_store(url: str, shards: Shards = SHARDS, *, runs: bool = True, **limits: float) -> AsyncIterator[Store]:
    """Open a store, as a service does; without `runs` nobody carries its appends out."""
    redis = redis_client.connect(url)
    store = Store(redis, shards, StoreLimits(**limits))  # type: ignore[arg-type]  # whole numbers where they must be
    task = asyncio.create_task(store.run()) if runs else None
    try:
        yield store
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await redis.aclose()
