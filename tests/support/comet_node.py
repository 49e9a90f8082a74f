"""A Comet node in the test's own process: real ports, a real Redis, and nothing to wait for when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import aiohttp
from grpc import aio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from comet.app import Comet
from comet.config import CometSettings
from common.lifecycle import StopRequest
from protos import comet_pb2_grpc
from testbed.service import local_settings
from tests.support.comet_settings import comet_settings
from tests.support.plain_client import TIMEOUT_S, PlainClient

Query = str | int


class Client(PlainClient):
    """A plain client whose connection a test may misuse."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__(connection)
        self.connection = connection

    async def error(self, text: str) -> dict[str, Any]:
        """Send any text and return the payload of the error that answers it."""
        before = len(self.frames("error"))
        await self.connection.send(text)
        await self.until(lambda: len(self.frames("error")) > before)
        return self.frames("error")[before]

    async def until_closed(self, timeout_s: float = TIMEOUT_S) -> int:
        """Read until the connection is closed and return the code (1006 where there was none)."""
        try:
            await self.until(lambda: False, timeout_s)
        except ConnectionClosed as e:
            return e.rcvd.code if e.rcvd is not None else 1006
        raise AssertionError("not closed")


class CometNode:
    """One node. `stop()` drains it; leaving `running` ends it either way."""

    def __init__(self, redis_url: str, **chosen: object) -> None:
        local = {name.removeprefix("COMET_").lower(): value for name, value in local_settings("comet").items()}
        defaults = {**local, "redis_url": redis_url, "drain_seconds": 0.05}
        self.settings: CometSettings = comet_settings(**{**defaults, **chosen})
        self._stop = StopRequest()
        self._task: asyncio.Task[None] | None = None
        self._channel: Any = None

    # -- where it is -------------------------------------------------------------------------------------------------

    def url(self, **query: Query) -> str:
        """Return where a client connects."""
        return f"ws://127.0.0.1:{self.settings.http_bind_port}/" + (f"?{urlencode(query)}" if query else "")

    @property
    def http_url(self) -> str:
        """The same port for ordinary requests, without a slash at its end."""
        return f"http://127.0.0.1:{self.settings.http_bind_port}"

    @property
    def metrics_url(self) -> str:
        """Its metrics."""
        return f"http://127.0.0.1:{self.settings.metrics_port}/metrics"

    @property
    def grpc_address(self) -> str:
        """host:port of its gRPC."""
        return f"127.0.0.1:{self.settings.grpc_port}"

    @property
    def stub(self) -> "comet_pb2_grpc.CometAsyncStub":
        """What Job calls."""
        if self._channel is None:
            self._channel = aio.insecure_channel(self.grpc_address)
        stub: comet_pb2_grpc.CometAsyncStub = comet_pb2_grpc.CometStub(self._channel)
        return stub

    # -- its life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Run it and wait until it answers clients. Raises what it raises."""
        self._task = asyncio.create_task(Comet(self.settings).run(self._stop))
        asking = asyncio.create_task(self._answers())
        await asyncio.wait({self._task, asking}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            asking.cancel()
        if self._task.done():
            await self._task
        await asking

    async def _answers(self) -> None:
        """Its port takes connections before it serves them, so one request waits for just the right time."""
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with aiohttp.ClientSession() as http, http.get(f"{self.http_url}/healthz"):
                    return
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Ask it to stop, as SIGTERM does, and wait until it has."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        if not self._stop.made:
            self._stop.make("the test ends")
        if self._task is not None:
            async with asyncio.timeout(30):
                await self._task

    async def kill(self) -> None:
        """End it in the midst of whatever it does: no drain, nothing given up."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    # -- clients -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connection(self, **query: Query) -> AsyncIterator[ClientConnection]:
        """Connect a WebSocket client that nobody reads for."""
        async with connect(self.url(**query), open_timeout=TIMEOUT_S, close_timeout=1, max_size=None) as connection:
            yield connection

    @asynccontextmanager
    async def client(self, **query: Query) -> AsyncIterator[Client]:
        """Connect a client and wait for its hello."""
        async with self.connection(**query) as connection:
            client = Client(connection)
            await client.until(lambda: client.frames("hello"))
            yield client


@asynccontextmanager
async def running(redis_url: str, **chosen: object) -> AsyncIterator[CometNode]:
    """Run a node while inside."""
    node = CometNode(redis_url, **chosen)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()
