"""What Job's tests start: Job itself as a process, nodes in the registry, a producer in Logic's place."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from chatroom.bench.free_ports import free_port
from chatroom.bench.kafka_server import KafkaServer
from chatroom.bench.program import Program
from chatroom.guard import Guard
from common import redis_client
from common.registry import Node, Presence, Registry
from protos.job_pb2 import PushMsg
from tests.integration.job.comets import Comet
from tests.support.eventually import eventually
from tests.support.metrics import asample
from tests.support.shards import SHARDS


class JobProgram(Program):
    """`python -m job` with these settings."""

    def __init__(self, guard: Guard, directory: Path, settings: Mapping[str, str]) -> None:
        super().__init__(guard, "job", directory)
        self.port = free_port()
        own = {"JOB_METRICS_PORT": str(self.port), "JOB_HTTP_BIND_IP": "127.0.0.1", "CHAT_LOG_FORMAT": "pretty"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "JOB_"))}
        self._environ = {**inherited, **own, **settings}

    def argv(self) -> list[str]:
        """The service as it is run."""
        return [sys.executable, "-m", "job"]

    def environ(self) -> Mapping[str, str]:
        """Settings, nothing of them inherited."""
        return self._environ

    def answers(self) -> bool:
        """Whether it is ready, which means that all consumers are in the group."""
        return self.reasons() == {}

    def reasons(self) -> dict[str, str] | None:
        """What /readyz says speaks against it; None if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                report = answer.read()
        except urllib.error.HTTPError as e:
            report = e.read()
        except OSError:
            return None
        reasons: dict[str, str] = json.loads(report)["reasons"]
        return reasons

    async def until_reasons(self, true: Callable[[dict[str, str]], object], timeout_s: float = 20.0) -> None:
        """Wait until it answers and what speaks against it is as wanted."""

        async def wanted() -> bool:
            reasons = await asyncio.to_thread(self.reasons)
            return reasons is not None and bool(true(reasons))

        await eventually(wanted, f"/readyz\n{self.log[-2000:]}", timeout_s)

    async def up(self) -> "JobProgram":
        """Start it and wait until it is ready."""
        await asyncio.to_thread(self.start)
        return self

    async def ended(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit code."""
        running, self._running = self._running, None
        assert running is not None
        running.send_signal(signum)
        return await asyncio.to_thread(running.wait, 20)

    async def metric(self, name: str, /, **labels: str) -> float:
        """Return one of its samples."""
        return await asample(f"http://127.0.0.1:{self.port}/metrics", name, **labels)

    async def samples(self, name: str, label: str) -> dict[str, float]:
        """Return all samples of a metric that has one label, by its value."""
        families = await asyncio.to_thread(self._families)
        return {sample.labels[label]: sample.value for one in families for sample in one.samples if sample.name == name}

    def _families(self) -> list[Metric]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return list(text_string_to_metric_families(answer.read().decode()))

    async def until_metric(self, metric: str, least: float, /, *, timeout_s: float = 20.0, **labels: str) -> float:
        """Wait until one of its samples reaches a value, and return it."""
        found = -1.0

        async def reached() -> bool:
            nonlocal found
            found = await self.metric(metric, **labels)
            return found >= least

        await eventually(reached, f"{metric} {labels} reaches {least}\n{self.log[-2000:]}", timeout_s)
        return found


StartJob = Callable[..., JobProgram]


@pytest.fixture
def make_job(guard: Guard, tmp_path: Path, redis_url: str, kafka: KafkaServer, topic: str) -> Iterator[StartJob]:
    """Make Jobs (not started yet) on the worker's Redis and Kafka, each test's in a group of its own."""
    made: list[JobProgram] = []

    def make(**settings: str) -> JobProgram:
        defaults = {
            "CHAT_REDIS_URL": redis_url,
            "CHAT_KAFKA_BROKERS": kafka.brokers,
            "CHAT_KAFKA_TOPIC": topic,
            "JOB_CONSUMER_GROUP": f"group-{topic}",
            "JOB_COMET_ADDRS": "",
            **kafka.settings,
        }
        job = JobProgram(guard, tmp_path / f"job{len(made)}", {**defaults, **settings})
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
        await self.registry.record(name, dict.fromkeys(rooms, Presence(1, [])), dict.fromkeys(users, 1), 3600)

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
