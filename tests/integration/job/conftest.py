"""What Job's tests start: Job itself as a process, nodes in the registry, a producer in Logic's place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from chatroom.up.guard import Guard
from common import redis_client
from common.registry import Node, Registry, RoomPresence
from protos.job_pb2 import PushMsg
from testbed.kafka_server import KafkaServer
from testbed.service import ServiceProgram, shared_settings
from tests.integration.job.comets import Comet
from tests.support.eventually import eventually
from tests.support.metrics import asample, families_at, until_sample
from tests.support.shards import SHARDS

END_TIMEOUT_S = 20.0


class JobProgram(ServiceProgram):
    """`python -m job`, as asyncio tests use it."""

    async def up(self) -> "JobProgram":
        """Start it and wait until it is ready, which means that all consumers are in the group."""
        await asyncio.to_thread(self.start)
        return self

    async def ended(self) -> int | None:
        """SIGTERM it and return its exit code."""
        return await asyncio.to_thread(self.stop, END_TIMEOUT_S)

    async def until_reasons(self, true: Callable[[dict[str, str]], object], timeout_s: float = 20.0) -> None:
        """Wait until it answers /readyz and its reasons not to be ready are as wanted."""

        async def wanted() -> bool:
            reasons = (await asyncio.to_thread(self.report))["reasons"]
            return "readyz" not in reasons and bool(true(reasons))

        await eventually(wanted, f"/readyz\n{self.log[-2000:]}", timeout_s)

    async def metric(self, name: str, /, **labels: str) -> float:
        """Return one of its samples."""
        return await asample(self.metrics_url, name, **labels)

    async def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return all samples of a metric that has one label, by its value."""
        families = await asyncio.to_thread(families_at, self.metrics_url)
        return {sample.labels[label]: sample.value for one in families for sample in one.samples if sample.name == name}

    async def until_metric(self, metric: str, least: float, /, *, timeout_s: float = 20.0, **labels: str) -> float:
        """Wait until one of its samples reaches a value, and return it."""
        try:
            return await until_sample(self.metrics_url, metric, least, timeout_s=timeout_s, **labels)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log[-2000:]}") from None


StartJob = Callable[..., JobProgram]


@pytest.fixture
def make_job(guard: Guard, tmp_path: Path, redis_url: str, kafka: KafkaServer, topic: str) -> Iterator[StartJob]:
    """Make Jobs (not started yet) on the worker's Redis and Kafka, each test's in a group of its own."""
    made: list[JobProgram] = []

    def make(**settings: str) -> JobProgram:
        shared = {**kafka.settings, **shared_settings(redis_url, kafka.brokers, topic), "CHAT_LOG_FORMAT": "pretty"}
        job = JobProgram(guard, "job", tmp_path / f"job{len(made)}", {**shared, **settings})
        made.append(job)
        return job

    yield make
    for job in made:
        job.kill()


class Nodes:
    """Comets that serve and are registered, and renew as a real one would."""

    def __init__(self, registry: Registry, stack: AsyncExitStack) -> None:
        self.registry = registry
        self._stack = stack
        self._living: dict[str, Node] = {}

    async def up(self, name: str, rooms: list[str] = [], users: list[str] = [], **how: Any) -> Comet:  # noqa: B006 - read only; a Comet's own fields
        """Serve and register a node."""
        comet = await self._stack.enter_async_context(Comet(name, **how))
        await self.register(name, comet.address, rooms, users)
        return comet

    async def register(self, name: str, address: str, rooms: list[str], users: list[str] = []) -> None:  # noqa: B006 - likewise
        """Register a node that somebody else serves, at whatever address; it lives until it leaves."""
        node = self._living[name] = Node(name, address)
        await self.registry.renew(node, first=True)
        await self.registry.record(name, dict.fromkeys(rooms, RoomPresence(1, [])), dict.fromkeys(users, 1), 3600)

    async def leave(self, comet: Comet) -> None:
        """Take a node out of the registry; it goes on to answer."""
        del self._living[comet.incarnation]
        await self.registry.leave(comet.incarnation)

    async def renew(self) -> None:
        """Renew until cancelled."""
        while True:
            for node in list(self._living.values()):
                await self.registry.renew(node, first=True)
            await asyncio.sleep(2)


@pytest.fixture
async def nodes(redis_url: str) -> AsyncIterator[Nodes]:
    """Nodes to be started."""
    redis = redis_client.connect(redis_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        it = Nodes(Registry(redis, SHARDS), stack)
        renewing = asyncio.create_task(it.renew())
        yield it
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing


Produce = Callable[..., Awaitable[int]]


@pytest.fixture
async def producer(kafka: KafkaServer) -> AsyncIterator[AIOKafkaProducer]:
    """A producer as Logic's."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.brokers, acks="all", linger_ms=2)
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
async def produce(producer: AIOKafkaProducer, topic: str) -> Produce:
    """Produce a PushMsg (its fields by keyword), keyed by its room; return the partition that it went to."""

    async def produce(*, msg: str = "", partition: int | None = None, **fields: Any) -> int:
        fields.setdefault("operation", 4)
        value = PushMsg(msg=msg.encode(), **fields).SerializeToString()
        key = fields.get("room", "").encode() or None
        sent = await producer.send_and_wait(topic, value, key=key, partition=partition)
        return int(sent.partition)

    return produce
