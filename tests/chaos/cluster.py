"""The whole stack as a run hurts it: real Redis and Apache Kafka, three Comets, one Logic, two Jobs, a process each.

Every line between two parts goes through a `Proxy` of its own. Settings are those of production but for what is written
beside them here. Whatever ends the run, the parts die with it: leaving kills them, and so does the guard.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chatroom.up.guard import Guard
from testbed.kafka_server import ApacheKafka
from testbed.redis_server import RedisServer
from testbed.service import CometProgram, ServiceProgram
from testbed.stack import LOGIC, PUSH, REDIS, Stack
from tests.chaos import slow_fsync
from tests.chaos.parts import READY_TIMEOUT_S, NotReady, Part
from tests.chaos.proxy import Proxy

SUBSCRIBE: Final = b"\r\nSUBSCRIBE\r\n"  # what marks a Comet's PubSub connection
TOPIC: Final = "chaos"
PORT: Final = re.compile(r":(\d+)")
ROOT: Final = Path(__file__).parents[2]

_SETTINGS: Final = {
    **ApacheKafka.settings,
    "PYTHONPATH": str(ROOT),  # where the mutants are
    "CHAT_ROOM_MAX_MESSAGES": "1000000",  # nothing is trimmed: each message is looked for afterwards
    "CHAT_LOG_FORMAT": "json",
    "CHAT_LOG_LEVEL": "info",
    "COMET_DEFAULT_ROOMS": "",
    "COMET_RECOVERY_LIMIT": "20",  # so that a client that was away catches up in several frames
    "COMET_RATE_MESSAGES_PER_SECOND": "100000",  # after a fault senders send all again at once
    "COMET_RATE_BURST_MESSAGES": "100000",
    "JOB_CONSUMERS": "2",  # so that each of two Jobs has partitions, and one that is hurt had something to lose
    "JOB_PUSH_DEADLINE_SECONDS": "20",  # a Job that was frozen would else give up what the push tap must get
}


class NodePart(Part):
    """A Comet and the lines to it and from it."""

    def __init__(self, program: CometProgram, clients: Proxy, push: Proxy, redis: Proxy, forward: Proxy) -> None:
        super().__init__(program)
        self.clients = clients
        self.push = push
        self.redis = redis
        self.forward = forward

    @property
    def url(self) -> str:
        """Where clients connect, through the proxy."""
        return f"ws://127.0.0.1:{self.clients.port}/"


class WorkerPart(Part):
    """Logic or a Job, and its line to Redis."""

    def __init__(self, program: ServiceProgram, redis: Proxy) -> None:
        super().__init__(program)
        self.redis = redis
        self.url = program.http_url  # not through a proxy


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
        self._stack = AsyncExitStack()
        self._unexpected: list[str] = []
        self._preload = slow_fsync.Preload(directory / "redis")
        self.redis_server = RedisServer(guard, directory / "redis", self._preload.environ())
        self.redis = Part(self.redis_server)
        self.kafka_line = Proxy(0)
        self.kafka_server = ApacheKafka(guard, directory / "kafka", self.kafka_line.port)
        self.kafka_line.target_port = self.kafka_server.port
        self.kafka = Part(self.kafka_server)
        self._lines: dict[tuple[str, str], Proxy] = {}
        stack = Stack(
            guard,
            directory,
            redis_url=self.redis_server.url,
            brokers=f"127.0.0.1:{self.kafka_line.port}",
            topic=TOPIC,
            comets=nodes,
            jobs=jobs,
            settings={**_SETTINGS, **(environ or {})},
            line=self._line,
            runner=["tests.chaos.mutants", mutant] if mutant else [],
        )
        self.logic = self._worker(stack.logic)
        self.comets = [self._node(one) for one in stack.comets]
        self.jobs = [self._worker(one) for one in stack.jobs]

    # -- what it is made of ------------------------------------------------------------------------------------------

    @property
    def services(self) -> list[NodePart | WorkerPart]:
        """Logic, the Comets, the Jobs."""
        return [self.logic, *self.comets, *self.jobs]

    @property
    def parts(self) -> list[Part]:
        """All of them, in the order in which they start."""
        return [self.redis, self.kafka, *self.services]

    @property
    def proxies(self) -> list[Proxy]:
        """All lines."""
        return [self.kafka_line, *self._lines.values(), *(node.clients for node in self.comets)]

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
            await asyncio.to_thread(self.kafka_server.create_topic, TOPIC)
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

    # -- how its services reach each other ---------------------------------------------------------------------------

    def _line(self, name: str, line: str, address: str) -> str:
        """Put a proxy on a line between two parts."""
        port = PORT.search(address)
        assert port is not None, address
        marks = (SUBSCRIBE,) if line == REDIS and name.startswith("comet") else ()
        proxy = self._lines[name, line] = Proxy(int(port[1]), marks)
        return PORT.sub(f":{proxy.port}", address)

    def _node(self, program: CometProgram) -> NodePart:
        push, redis, logic = (self._lines[program.name, line] for line in (PUSH, REDIS, LOGIC))
        return NodePart(program, Proxy(program.port), push, redis, logic)

    def _worker(self, program: ServiceProgram) -> WorkerPart:
        return WorkerPart(program, self._lines[program.name, REDIS])
