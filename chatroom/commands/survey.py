"""What `chatroom status` finds out: each part asked by itself, so that one that is away hides nothing of the others."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chatroom.commands import topic_reader
from chatroom.probes import ASK_TIMEOUT_S, NoAnswer
from common import keys
from common.errors import SettingError, reason_of
from common.masking import mask
from common.outbox import Outbox
from common.redis_client import REDIS_FAULTS, connect
from common.registry import Node, Registry
from common.shards import Shards, stored

T = TypeVar("T")
ROOMS_AT_ONCE: Final = 1000
OK: Final = "ok"
DEGRADED: Final = "degraded"  # it serves, with a warning


@dataclass(frozen=True, slots=True)
class Places:
    """Where to ask."""

    url: str
    logic: str
    job: str
    redis: str
    kafka: str
    topic: str
    group: str


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """What a service says of itself: `state` is ok, degraded, unavailable, or that there was no answer."""

    state: str
    reasons: dict[str, str]
    warnings: dict[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in Redis."""

    nodes: list[Node]
    rooms: int
    waiting: int
    oldest_s: float
    dead: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The whole picture; a part that could not be asked is the reason why."""

    services: dict[str, ServiceReport]
    kept: Kept | str
    nodes: dict[str, str]  # each node's own word, by incarnation
    lag: dict[int, int] | str

    @property
    def healthy(self) -> bool:
        """Whether everything answers and nothing is unavailable."""
        states = [*(service.state for service in self.services.values()), *self.nodes.values()]
        return (
            all(state in {OK, DEGRADED} for state in states)
            and isinstance(self.kept, Kept)
            and isinstance(self.lag, dict)
        )


async def survey(places: Places) -> Survey:
    """Ask everything at once."""
    kept, lag, comet, logic, job = await asyncio.gather(
        _or_why(_kept(places.redis)),
        _or_why(topic_reader.lag(places.kafka, places.topic, places.group)),
        _health(_http(places.url)),
        _health(places.logic),
        _health(places.job),
    )
    nodes = [] if isinstance(kept, str) else kept.nodes
    words = await asyncio.gather(*(_word(node.grpc) for node in nodes))
    by_node = {node.incarnation: word for node, word in zip(nodes, words, strict=True)}
    return Survey({"comet": comet, "logic": logic, "job": job}, kept, by_node, lag)


async def _or_why(asking: Awaitable[T]) -> T | str:
    try:
        return await asking
    except NoAnswer as e:
        return str(e)


async def _kept(url: str) -> Kept:
    """Look into Redis. Raises NoAnswer."""
    try:
        async with connect(url, timeout_s=ASK_TIMEOUT_S) as redis:
            shards = Shards(await stored(redis))
            registry = Registry(redis, shards)
            nodes = sorted((await registry.nodes()).values(), key=lambda node: node.grpc)
            async with aclosing(Outbox(redis, shards, "")) as outbox:
                waiting, oldest_s = await outbox.backlog()
            pipeline = redis.pipeline(transaction=False)
            for shard in range(shards.count):
                pipeline.xlen(keys.outbox_dead(shard))
            return Kept(nodes, await _rooms(registry), waiting, oldest_s, sum(await pipeline.execute()))
    except SettingError as e:
        raise NoAnswer(str(e)) from None
    except REDIS_FAULTS as e:
        raise NoAnswer(reason_of(e)) from None


async def _rooms(registry: Registry) -> int:
    """Count the rooms that have a log."""
    cursor, found = await registry.rooms(0, ROOMS_AT_ONCE)
    names = set(found)  # SCAN may tell one twice
    while cursor:
        cursor, found = await registry.rooms(cursor, ROOMS_AT_ONCE)
        names.update(found)
    return len(names)


async def _health(url: str) -> ServiceReport:
    """GET a service's /readyz."""
    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{url.rstrip('/')}/readyz") as response:
            report: dict[str, Any] = await response.json()
            return ServiceReport(report["status"], report["reasons"], report.get("warnings", {}))
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as e:
        return ServiceReport(f"no answer from {mask(url)}: {reason_of(e)}", {}, {})


async def _word(address: str) -> str:
    """Ask a node for its health over gRPC, as Job reaches it."""
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # its methods are made at run time
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=ASK_TIMEOUT_S)
        except grpc.aio.AioRpcError as e:
            return f"no answer: {e.details()}"
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return OK if serving else health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).lower()


def _http(url: str) -> str:
    """Return where Comet answers HTTP: beside its WebSocket."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme.replace("ws", "http", 1), parts.netloc, "", "", ""))
