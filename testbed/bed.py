"""The test bed: real servers and services of one benchmark, started on request, gone at its end.

Redis runs with the promised settings. Kafka is Apache Kafka. The user may name others. Services run with the settings
of production, except for their ports, a topic of their own and the log level: a log line for each message is for people
who watch. A benchmark that needs no Kafka starts none. Whatever ends the bench also ends all of its programs
(`chatroom/up/guard.py`).
"""

import asyncio
import logging
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chatroom import probes
from chatroom.up.guard import Guard
from common.errors import StartupError
from common.lifecycle import raise_file_limit
from common.masking import mask
from testbed.kafka_server import MEASURED_JVM, PARTITIONS, ApacheKafka
from testbed.program import Program, running
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from testbed.stack import Line, Stack, straight

LOG_LEVEL: Final = "warning"
NO_ROOMS: Final = {"COMET_DEFAULT_ROOMS": ""}


class TestBed:
    """The servers and services on which a benchmark measures.

    `redis` (a URL) and `kafka` (host:port) are used instead of servers of its own; `settings` of services (such as
    COMET_PING_SECONDS, or CHAT_LOG_LEVEL for all of them) win over the test bed's.
    """

    __test__ = False  # pytest collects every class whose name begins with Test

    def __init__(
        self, redis: str | None = None, kafka: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.settings = dict(settings or {})
        self._given_redis = redis
        self._given_kafka = kafka
        self._stack = AsyncExitStack()
        self._guard = Guard()
        self._directory = Path()
        self._lives = 0  # how many folders were given to services
        self._starting = asyncio.Lock()
        self._redis: RedisServer | None = None
        self._kafka: ApacheKafka | None = None
        self.servers: dict[str, Program] = {}  # its own servers that run, by name

    async def __aenter__(self) -> Self:
        """Begin with nothing started."""
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would log each try until Kafka is up
        raise_file_limit()  # each client needs a socket in the load and one in Comet
        async with AsyncExitStack() as stack:
            self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatroom-bench-")))
            self._guard = stack.enter_context(Guard())
            stack.callback(self._end_servers)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill all programs: nobody reads their files any more."""
        await self._stack.aclose()

    @property
    def guard(self) -> Guard:
        """The group that everything belongs to."""
        return self._guard

    # -- servers -----------------------------------------------------------------------------------------------------

    async def redis(self) -> str:
        """Return the URL of Redis, which runs. Raises StartupError."""
        async with self._starting:
            if self._given_redis is not None:
                await _reach("Redis", self._given_redis, probes.ask_redis(self._given_redis))
                return self._given_redis
            if self._redis is None:
                self._redis = RedisServer(self._guard, self._directory / "redis")
                await self._serve(self._redis)
            return self._redis.url

    async def kafka(self) -> str:
        """Return Kafka's bootstrap servers, which run. Raises StartupError."""
        async with self._starting:
            if self._given_kafka is not None:
                await _reach("Kafka", self._given_kafka, probes.ask_kafka(self._given_kafka))
                return self._given_kafka
            if self._kafka is None:
                directory = self._directory / "kafka"
                self._kafka = await asyncio.to_thread(ApacheKafka, self._guard, directory, jvm=MEASURED_JVM)
                await self._serve(self._kafka)
            return self._kafka.brokers

    async def _serve(self, server: Program) -> None:
        self.servers[server.name] = server
        await asyncio.to_thread(server.start)

    def _end_servers(self) -> None:
        for server in self.servers.values():
            server.kill()

    # -- services ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def comet(
        self, settings: Mapping[str, str] | None = None, core: int | None = None, *, profile: bool = False
    ) -> AsyncIterator[CometProgram]:
        """Run a node alone, on a core if one is named. No Logic takes its messages. Raises StartupError.

        With `profile` it counts which functions use its CPU. Once it has ended, `costs` returns them.
        """
        chosen = {**NO_ROOMS, **(settings or {}), **self.settings}
        node = CometProgram(self._guard, self._folder(), await self.redis(), chosen)
        node.core = core
        if profile:
            node.profile()
        async with running([node]):
            yield node

    @asynccontextmanager
    async def pipeline(self, nodes: int = 1, *, line: Line = straight, profile: bool = False) -> AsyncIterator[Stack]:
        """Run all services. `line` may put a relay between them (see Stack). Raises StartupError.

        With `profile` they count which functions use their CPU. Once they have ended, `costs` returns them.
        """
        redis_url, brokers = await asyncio.gather(self.redis(), self.kafka())
        topic = f"bench-{secrets.token_hex(6)}"
        await _reach("Kafka", brokers, probes.ensure_topic(brokers, topic, PARTITIONS))
        stack = Stack(
            self._guard,
            self._folder(),
            redis_url=redis_url,
            brokers=brokers,
            topic=topic,
            comets=nodes,
            settings={"CHAT_LOG_LEVEL": LOG_LEVEL, **NO_ROOMS, **self.settings},
            line=line,
            servers=self.servers,
        )
        if profile:
            for service in stack.services:
                service.profile()
        async with running(stack.services):
            yield stack
            if profile:
                await asyncio.gather(*(asyncio.to_thread(service.stop) for service in stack.services))

    def _folder(self) -> Path:
        self._lives += 1
        return self._directory / f"services-{self._lives}"


async def _reach(name: str, where: str, asking: Awaitable[None]) -> None:
    try:
        await asking
    except probes.NoAnswer as e:
        raise StartupError(f"can't reach {name} at {mask(where)} ({e}): check --{name.lower()}") from None
