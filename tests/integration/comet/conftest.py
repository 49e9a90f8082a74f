"""Comet in the test's own process, on a real Redis, with the loop that it runs on in production.

All tests here share one loop, as gRPC's asyncio side survives only one uvloop in a process: see each `pytestmark`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import pytest_asyncio
import structlog
import uvloop

from tests.support.comet_node import Client, CometNode, running


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="package", autouse=True)
def errors_only() -> Iterator[None]:
    """Let Comet log no more than what must not happen."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture(loop_scope="package")
async def node(redis_url: str) -> AsyncIterator[CometNode]:
    """A node on the worker's Redis, with the default settings."""
    async with running(redis_url) as it:
        yield it


@pytest_asyncio.fixture(loop_scope="package")
async def alice(node: CometNode) -> AsyncIterator[Client]:
    """A client of hers, in no room yet."""
    async with node.client(uid="alice", name="Alice", rooms="") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="package")
async def bob(node: CometNode) -> AsyncIterator[Client]:
    """A client of his, in no room yet."""
    async with node.client(uid="bob", name="Bob", rooms="") as client:
        yield client
