"""The test bed: real servers and services of one part of the bench, started on request, gone at its end.

Redis runs as promised, Kafka is Apache Kafka (or those that the user named); services run with the settings of
production, but for ports, a topic of their own and the log level: a line a message is for people who look on. A part
that needs no Kafka starts none. Whatever ends the bench, what it started dies with it (`chatroom/up/guard.py`).
"""

import asyncio
import logging
import resource
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chatroom import probes
from chatroom.up.guard import Guard
from chatroom.up.ports import LOOPBACK
from common import redis_client
from common.errors import StartupError
from testbed.kafka_server import MEASURED_JVM, PARTITIONS, ApacheKafka
from testbed.ports import free_port
from testbed.program import Program
from testbed.redis_server import RedisServer
from testbed.service import Service

LOG_LEVEL: Final = "warning"


class Comet(Service):
    """A node of its own ports."""

    def __init__(self, guard: Guard, name: str, directory: Path, settings: Mapping[str, str]) -> None:
        self.ws_port = free_port()
        self.grpc_port = free_port()
        own = {
            "COMET_HTTP_BIND_PORT": str(self.ws_port),
            "COMET_GRPC_PORT": str(self.grpc_port),
            "COMET_DEFAULT_ROOMS": "",
        }
        super().__init__(guard, name, directory, module="comet", settings={**own, **settings})


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All services of both paths, and where what they share is."""

    comets: Sequence[Comet]
    logic: Service
    job: Service
    redis_url: str
    brokers: str
    topic: str
    group: str
    servers: Mapping[str, Program]  # Redis and Kafka, where they are the test bed's own

    def pids(self) -> dict[str, int]:
        """Return the pids by name: redis and kafka (the test bed's own), comet (comet-0 of several), logic, job."""
        services = {service.name: service for service in (*self.comets, self.logic, self.job)}
        return {name: program.pid for name, program in (services | dict(self.servers)).items()}


class TestBed:
    """What a part measures on.

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
        self._lives = 0  # of services, each of which gets a folder
        self._starting = asyncio.Lock()
        self._redis: RedisServer | None = None
        self._kafka: ApacheKafka | None = None
        self.servers: dict[str, Program] = {}  # those of its own that run

    async def __aenter__(self) -> Self:
        """Begin with nothing started."""
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would tell of each time that Kafka is not up yet
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:  # a client is a socket in the load and one in Comet
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        async with AsyncExitStack() as stack:
            self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatroom-bench-")))
            self._guard = stack.enter_context(Guard())
            stack.callback(self._end_servers)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill all that runs: nobody reads its files any more."""
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
    ) -> AsyncIterator[Comet]:
        """Run a node alone, on a core if one is named; nobody takes what it forwards. Raises StartupError.

        With `profile` it notes what its CPU is used for; whoever stops it can ask for its `costs`.
        """
        own = {
            "CHAT_REDIS_URL": await self.redis(),
            "CHAT_LOG_LEVEL": LOG_LEVEL,
            "COMET_FORWARD_URL": f"http://{LOOPBACK}:{free_port()}",
        }
        chosen = {**(settings or {}), **_of("COMET_", self.settings)}
        node = Comet(self._guard, "comet", self._folder(), {**own, **chosen})
        node.core = core
        if profile:
            node.profile = node.directory / "comet.profile"
        async with _running([node]):
            yield node

    @asynccontextmanager
    async def pipeline(
        self,
        nodes: int = 1,
        *,
        advertised: Sequence[str] = (),
        profile: bool = False,
    ) -> AsyncIterator[Pipeline]:
        """Run all services. `advertised` says for each node where Job shall call it. Raises StartupError.

        With `profile` they note what their CPU is used for; `costs` can be asked for when they have ended.
        """
        redis_url, brokers = await asyncio.gather(self.redis(), self.kafka())
        topic = f"bench-{secrets.token_hex(6)}"
        await _reach("Kafka", brokers, probes.ensure_topic(brokers, topic, PARTITIONS))
        shared = {
            "CHAT_REDIS_URL": redis_url,
            "CHAT_KAFKA_BROKERS": brokers,
            "CHAT_KAFKA_TOPIC": topic,
            "CHAT_LOG_LEVEL": LOG_LEVEL,
        }
        chosen, folder = self.settings, self._folder()
        logic = Service(self._guard, "logic", folder, module="logic", settings=shared | _of("LOGIC_", chosen))
        forwarding = {"COMET_FORWARD_URL": f"http://{LOOPBACK}:{logic.health_port}"}
        of_comets = shared | forwarding | _of("COMET_", chosen)
        comets = [
            Comet(
                self._guard,
                "comet" if nodes == 1 else f"comet-{k}",
                folder,
                of_comets | ({"COMET_ADVERTISE_ADDRESS": advertised[k]} if advertised else {}),
            )
            for k in range(nodes)
        ]
        own = {"JOB_CONSUMER_GROUP": topic, "JOB_COMET_ADDRS": ""}
        job = Service(self._guard, "job", folder, module="job", settings=shared | own | _of("JOB_", chosen))
        services = [logic, *comets, job]
        if profile:
            for service in services:
                service.profile = folder / f"{service.name}.profile"
        async with _running(services):
            yield Pipeline(comets, logic, job, redis_url, brokers, topic, topic, self.servers)
            if profile:
                await asyncio.gather(*(asyncio.to_thread(service.stop) for service in services))

    def _folder(self) -> Path:
        self._lives += 1
        return self._directory / f"services-{self._lives}"


def _of(prefix: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that a service takes: its own and the shared ones."""
    return {name: value for name, value in settings.items() if name.startswith((prefix, "CHAT_"))}


@asynccontextmanager
async def _running(programs: Sequence[Program]) -> AsyncIterator[None]:
    """Start them side by side, and kill them on the way out."""
    try:
        await asyncio.gather(*(asyncio.to_thread(program.start) for program in programs))
        yield
    finally:
        for program in programs:
            program.kill()


async def _reach(name: str, where: str, asking: Awaitable[None]) -> None:
    try:
        await asking
    except probes.NoAnswer as e:
        shown = redis_client.without_password(where) if name == "Redis" else where
        raise StartupError(f"can't reach {name} at {shown} ({e}): check --{name.lower()}") from None
