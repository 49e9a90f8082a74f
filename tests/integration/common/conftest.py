"""What two services share in Redis, on a real one, with the loop that the services run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import uvloop
from redis.asyncio import Redis

from common import redis_client
from common.store import Limits, Store
from tests.support.shards import SHARDS

StoreMaker = Callable[..., AbstractAsyncContextManager[Store]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the worker's Redis, which is empty."""
    client = redis_client.connect(redis_url)
    yield client
    await client.aclose()


@asynccontextmanager
async def open_store(url: str, *, runs: bool = True, **limits: float) -> AsyncIterator[Store]:
    """Open a store, as a service does; without `runs` nobody carries its appends out."""
    redis = redis_client.connect(url)
    store = Store(redis, SHARDS, Limits(**limits))  # type: ignore[arg-type]  # whole numbers where they must be
    task = asyncio.create_task(store.run()) if runs else None
    try:
        yield store
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await redis.aclose()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A running store on the worker's Redis."""
    async with open_store(redis_url) as it:
        yield it
