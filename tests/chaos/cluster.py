"""The whole stack as a run hurts it: real Redis and Apache Kafka, three Comets, one Logic, two Jobs, a process each.

Every line between two parts goes through a `Proxy` of its own. Settings are those of production but for what is written
beside them here. Whatever ends the run, the parts die with it: leaving kills them, and so does the guard.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chatroom.bench.free_ports import free_port
from chatroom.bench.kafka_server import ApacheKafka
from chatroom.bench.redis_server import RedisServer
from chatroom.bench.service import Service
from chatroom.guard import Guard
from tests.chaos import slow_fsync
from tests.chaos.parts import READY_TIMEOUT_S, Mutant, NotReady, Part
from tests.chaos.proxy import Proxy

SUBSCRIBE: Final = b"\r\nSUBSCRIBE\r\n"  # what marks a Comet's PubSub connection
TOPIC: Final = "my-topic"
GROUP: Final = "job-service-group"
PARTITIONS: Final = 4

_SHARED: Final = {
    **ApacheKafka.settings,
    "CHAT_KAFKA_TOPIC": TOPIC,
    "CHAT_ROOM_MAX_MESSAGES": "1000000",  # nothing is trimmed: each message is looked for afterwards
    "CHAT_LOG_FORMAT": "json",
}
_COMET: Final = {
    "COMET_DEFAULT_ROOMS": "",
    "COMET_RECOVERY_LIMIT": "20",  # so that who was away for a while is caught up in several frames
    "COMET_RATE_MESSAGES_PER_SECOND": "100000",  # after a fault senders send all again at once
    "COMET_RATE_BURST_MESSAGES": "100000",
}
_JOB: Final = {
    "JOB_CONSUMERS": "2",  # so that each of two Jobs has partitions, and one that is hurt had something to lose
    "JOB_COMET_ADDRS": "",
    "JOB_PUSH_DEADLINE_SECONDS": "20",  # a Job that was frozen would else give up what the push tap must get
}


class Comet(Part):
    """A node and the lines to it and from it."""

    def __init__(self, program: Service, clients: Proxy, push: Proxy, redis: Proxy, forward: Proxy) -> None:
        super().__init__(program)
        self.clients = clients
        self.push = push
        self.redis = redis
        self.forward = forward

    @property
    def url(self) -> str:
        """Where clients connect, through the proxy."""
        return f"ws://127.0.0.1:{self.clients.port}/"


class Worker(Part):
    """Logic or a Job, and its line to Redis."""

    def __init__(self, program: Service, redis: Proxy) -> None:
        super().__init__(program)
        self.redis = redis

    @property
    def url(self) -> str:
        """Where it answers HTTP, not through a proxy."""
        assert isinstance(self.program, Service)
        return f"http://127.0.0.1:{self.program.health_port}"


class Cluster:
    """All parts; `async with` starts them and waits until they are ready. Raises NotReady.

    `mutant` breaks a promise in every service (mutants.py); `environ` adds settings, which win.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, named by those who make it
        self,
        guard: Guard,
        directory: Path,
        *,
        nodes: int = 3,
        jobs: int = 2,
        mutant: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._guard = guard
        self._mutant = mutant
        self._environ = dict(environ or {})
        self._stack = AsyncExitStack()
        self._unexpected: list[str] = []
        self._preload = slow_fsync.Preload(directory / "redis")
        self.redis_server = RedisServer(guard, directory / "redis", self._preload.environ())
        self.redis = Part(self.redis_server)
        self.kafka_line = Proxy(0)
        self.kafka_server = ApacheKafka(guard, directory / "kafka", self.kafka_line.port)
        self.kafka_line.target_port = self.kafka_server.port
        self.kafka = Part(self.kafka_server)
        self._shared = {**_SHARED, "CHAT_KAFKA_BROKERS": self.brokers}
        self.logic = self._worker("logic", "logic", {})
        self.comets = [self._comet(f"comet-{k}") for k in range(nodes)]
        self.jobs = [self._worker(f"job-{k}", "job", _JOB) for k in range(jobs)]

    # -- what it is made of ------------------------------------------------------------------------------------------

    @property
    def services(self) -> list[Comet | Worker]:
        """Logic, the Comets, the Jobs."""
        return [self.logic, *self.comets, *self.jobs]

    @property
    def parts(self) -> list[Part]:
        """All of them, in the order in which they start."""
        return [self.redis, self.kafka, *self.services]

    @property
    def proxies(self) -> list[Proxy]:
        """All lines."""
        of_comets = [line for one in self.comets for line in (one.clients, one.push, one.redis, one.forward)]
        return [self.kafka_line, self.logic.redis, *(job.redis for job in self.jobs), *of_comets]

    @property
    def brokers(self) -> str:
        """Kafka's bootstrap servers, through the proxy."""
        return f"127.0.0.1:{self.kafka_line.port}"

    # -- its life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start everything, each as soon as what it needs is there."""
        async with AsyncExitStack() as stack:
            for proxy in self.proxies:
                await stack.enter_async_context(proxy)
            stack.callback(self._kill_all)
            await asyncio.to_thread(self._preload.build)
            logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it would tell of each time that Kafka is away
            await self._up([self.redis, self.kafka])
            await asyncio.to_thread(self.kafka_server.create_topic, TOPIC, PARTITIONS)
            await self._up(self.services)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill everything: nobody reads its files any more."""
        await self._stack.aclose()

    async def settle(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until every part is ready. Raises NotReady, which names those that are not."""
        found = await asyncio.gather(*(part.ready(timeout_s) for part in self.parts), return_exceptions=True)
        failed = [one for one in found if isinstance(one, BaseException)]
        if failed:
            raise NotReady("\n".join(map(str, failed)))

    def unexpected(self) -> list[str]:
        """Return what nobody asked for so far, as it was found: ends of parts, and tracebacks in their logs."""
        for part in self.parts:
            part.look()
            self._unexpected += part.unexpected
            part.unexpected.clear()
        return list(self._unexpected)

    def slow_fsync(self, seconds: float) -> None:
        """Let each fsync of Redis take so much longer; 0 ends it."""
        self._preload.sleep(seconds)

    async def _up(self, parts: Sequence[Part]) -> None:
        await asyncio.gather(*(part.start() for part in parts))
        await asyncio.gather(*(part.ready() for part in parts))

    def _kill_all(self) -> None:
        """Without a thread or an await: this must work whatever is going on."""
        for part in reversed(self.parts):
            part.end()

    # -- how its services are run ------------------------------------------------------------------------------------

    def _service(self, name: str, module: str, redis: Proxy, settings: dict[str, str]) -> Service:
        url = {"CHAT_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0"}
        environ = {**self._shared, **url, **settings, **self._environ}
        directory = self.directory / name
        if self._mutant:
            return Mutant(self._guard, name, directory, module=module, settings=environ, mutant=self._mutant)
        return Service(self._guard, name, directory, module=module, settings=environ)

    def _worker(self, name: str, module: str, settings: dict[str, str]) -> Worker:
        redis = Proxy(self.redis_server.port)
        return Worker(self._service(name, module, redis, settings), redis)

    def _comet(self, name: str) -> Comet:
        ws_port, grpc_port = free_port(), free_port()
        clients, push = Proxy(ws_port), Proxy(grpc_port)
        redis = Proxy(self.redis_server.port, (SUBSCRIBE,))
        assert isinstance(self.logic.program, Service)
        forward = Proxy(self.logic.program.health_port)
        settings = {
            **_COMET,
            "COMET_HTTP_BIND_PORT": str(ws_port),
            "COMET_GRPC_PORT": str(grpc_port),
            "COMET_ADVERTISE_ADDRESS": f"127.0.0.1:{push.port}",
            "COMET_FORWARD_URL": f"http://127.0.0.1:{forward.port}",
        }
        return Comet(self._service(name, "comet", redis, settings), clients, push, redis, forward)
