"""What two services share in Redis, on a real one, with the loop that the services run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop
from redis.asyncio import Redis

from common import redis_client
from common.store import Store
from tests.support.open_store import open_store


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the worker's Redis, which is empty."""
    client = redis_client.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A running store on the worker's Redis."""
    async with open_store(redis_url) as it:
        yield it
