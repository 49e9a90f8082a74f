"""The kinds of faults: each strikes a running cluster, holds, heals, and waits until everything is ready again.

A fault returns what it did, for people. However it ends, what it did to the cluster is undone. A part that does not
come back within a minute is an error that names it (`NotReady`). What a fault chooses by chance comes from its `rng`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from redis import Redis

from tests.chaos import slow_fsync as disk
from tests.chaos.cluster import SUBSCRIBE, Cluster
from tests.chaos.parts import Part
from tests.chaos.proxy import Proxy

Kind = Callable[[Cluster, Random], Awaitable[str]]

CUT_EVERY_S: Final = 0.4
ROOM_LEFT: Final = 0.98  # of what Redis uses: what it frees by and by must not make room again

KINDS: Final[dict[str, Kind]] = {}


def possible_kinds() -> list[str]:
    """Return the kinds that this machine can do. Raises FileNotFoundError in CI where one can't be done."""
    return [kind for kind in KINDS if kind != "slow_fsync" or disk.possible()]


def _kind(fault: Kind) -> Kind:
    KINDS[fault.__name__] = fault
    return fault


# -- the two ways in which a program fails -------------------------------------------------------------------------


async def _kill(cluster: Cluster, part: Part, down_s: float) -> str:
    await part.kill()
    try:
        await asyncio.sleep(down_s)
    finally:
        await part.start()
    await cluster.settle()
    return f"SIGKILL {part.name}, started again after {down_s:.1f} s"


async def freeze(cluster: Cluster, part: Part, for_s: float) -> str:
    """Stop a part for so long, then wait until everything is ready again."""
    async with _frozen(part):
        await asyncio.sleep(for_s)
    await cluster.settle()
    return f"SIGSTOP {part.name} for {for_s:.1f} s"


@asynccontextmanager
async def _frozen(part: Part) -> AsyncIterator[None]:
    part.freeze()
    try:
        yield
    finally:
        part.thaw()


@_kind
async def kill_comet(cluster: Cluster, rng: Random) -> str:
    """A node dies; its clients go to others, its leases run out."""
    return await _kill(cluster, rng.choice(cluster.comets), rng.uniform(0.2, 6))


@_kind
async def freeze_comet(cluster: Cluster, rng: Random) -> str:
    """A node stops past its leases' 5 s, and wakes in the belief that nothing happened."""
    return await freeze(cluster, rng.choice(cluster.comets), rng.uniform(6, 8))


@_kind
async def kill_logic(cluster: Cluster, rng: Random) -> str:
    """The bridge to Kafka dies."""
    return await _kill(cluster, cluster.logic, rng.uniform(0.2, 3))


@_kind
async def freeze_logic(cluster: Cluster, rng: Random) -> str:
    """Logic stops, in part past the 5 s that Comet waits for an answer, which then comes to nobody."""
    return await freeze(cluster, cluster.logic, rng.uniform(3, 7))


@_kind
async def kill_job(cluster: Cluster, rng: Random) -> str:
    """A Job dies; its partitions go to the other."""
    return await _kill(cluster, rng.choice(cluster.jobs), rng.uniform(0.2, 5))


@_kind
async def freeze_job(cluster: Cluster, rng: Random) -> str:
    """A Job stops past the group's session timeout of 3 s, and wakes without its partitions."""
    return await freeze(cluster, rng.choice(cluster.jobs), rng.uniform(4, 7))


@_kind
async def kill_redis(cluster: Cluster, rng: Random) -> str:
    """Redis dies and reads its append-only file again."""
    return await _kill(cluster, cluster.redis, rng.uniform(0.1, 2))


@_kind
async def freeze_redis(cluster: Cluster, rng: Random) -> str:
    """Redis stops for longer than anybody waits for its answer (2 s)."""
    return await freeze(cluster, cluster.redis, rng.uniform(2, 5))


@_kind
async def kill_kafka(cluster: Cluster, rng: Random) -> str:
    """The broker dies, with what it had not flushed still in the kernel's hands."""
    return await _kill(cluster, cluster.kafka, rng.uniform(0.1, 1))


@_kind
async def freeze_kafka(cluster: Cluster, rng: Random) -> str:
    """The broker stops for about the group's session timeout."""
    return await freeze(cluster, cluster.kafka, rng.uniform(2, 5))


# -- lines ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _healed(lines: Sequence[Proxy]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for line in lines:
            line.heal()


async def _cut(cluster: Cluster, lines: Sequence[Proxy], for_s: float, *, refuse: bool = False) -> int:
    """Cut the lines again and again, refusing new connections if told so; return how many were cut."""
    loop = asyncio.get_running_loop()
    until, cut = loop.time() + for_s, 0
    async with _healed(lines):
        for line in lines:
            line.refuse(refuse)
        while loop.time() < until:
            cut += sum(line.cut() for line in lines)
            await asyncio.sleep(CUT_EVERY_S)
    await cluster.settle()
    return cut


async def _hold(cluster: Cluster, lines: Sequence[Proxy], for_s: float) -> int:
    """Hold the lines half-open and return how many connections they had at the end."""
    async with _healed(lines):
        for line in lines:
            line.hold()
        await asyncio.sleep(for_s)
        held = sum(line.connections for line in lines)
    await cluster.settle()
    return held


@_kind
async def cut_clients(cluster: Cluster, rng: Random) -> str:
    """All clients of some nodes lose their connection at once, and can't come back for a moment."""
    comets = rng.sample(cluster.comets, rng.randint(1, len(cluster.comets)))
    for_s = rng.uniform(0.1, 2)
    cut = await _cut(cluster, [comet.clients for comet in comets], for_s, refuse=True)
    return f"cut {cut} connections of clients to {_names(comets)}, refused for {for_s:.1f} s"


@_kind
async def delay_clients(cluster: Cluster, rng: Random) -> str:
    """The way to some nodes is slow."""
    comets = rng.sample(cluster.comets, rng.randint(1, len(cluster.comets)))
    delay_s, for_s = rng.uniform(0.05, 0.5), rng.uniform(2, 5)
    lines = [comet.clients for comet in comets]
    async with _healed(lines):
        for line in lines:
            line.delay(delay_s)
        await asyncio.sleep(for_s)
    await cluster.settle()
    return f"{delay_s * 1000:.0f} ms either way between clients and {_names(comets)} for {for_s:.1f} s"


@_kind
async def half_open_clients(cluster: Cluster, rng: Random) -> str:
    """Nothing passes between a node and its clients, and neither is told."""
    comet, for_s = rng.choice(cluster.comets), rng.uniform(2, 8)
    held = await _hold(cluster, [comet.clients], for_s)
    return f"{held} clients of {comet.name} half-open for {for_s:.1f} s"


@_kind
async def cut_redis(cluster: Cluster, rng: Random) -> str:
    """A service loses its connections to Redis again and again, with commands in flight."""
    service, for_s = rng.choice(cluster.services), rng.uniform(0.5, 4)
    cut = await _cut(cluster, [service.redis], for_s, refuse=rng.random() < 0.5)
    return f"cut {cut} connections of {service.name} to Redis within {for_s:.1f} s"


@_kind
async def half_open_redis(cluster: Cluster, rng: Random) -> str:
    """Nothing passes between a node and Redis; what it had sent arrives when nobody waits for it any more."""
    comet, for_s = rng.choice(cluster.comets), rng.uniform(2, 7)
    held = await _hold(cluster, [comet.redis], for_s)
    return f"{held} connections of {comet.name} to Redis half-open for {for_s:.1f} s"


def _only_pubsub(cluster: Cluster, rng: Random) -> list[Proxy]:
    """Choose one node's PubSub connection, or all of them."""
    lines = [comet.redis for comet in rng.choice([cluster.comets, [rng.choice(cluster.comets)]])]
    for line in lines:
        line.only(SUBSCRIBE)
    return lines


@_kind
async def cut_pubsub(cluster: Cluster, rng: Random) -> str:
    """PubSub connections, and only they, are cut again and again: published messages are lost."""
    lines, for_s = _only_pubsub(cluster, rng), rng.uniform(2, 5)
    cut = await _cut(cluster, lines, for_s)
    return f"cut {cut} PubSub connections of {len(lines)} nodes within {for_s:.1f} s"


@_kind
async def silent_pubsub(cluster: Cluster, rng: Random) -> str:
    """PubSub connections say nothing and are not closed."""
    lines, for_s = _only_pubsub(cluster, rng), rng.uniform(3, 9)
    await _hold(cluster, lines, for_s)
    return f"PubSub of {len(lines)} nodes silent for {for_s:.1f} s"


@_kind
async def cut_forward(cluster: Cluster, rng: Random) -> str:
    """Posts to Logic lose their connection before the answer, so that what was produced is posted again."""
    lines, for_s = [comet.forward for comet in cluster.comets], rng.uniform(1, 4)
    cut = await _cut(cluster, lines, for_s, refuse=rng.random() < 0.3)
    return f"cut {cut} connections of all nodes to Logic within {for_s:.1f} s"


@_kind
async def half_open_push(cluster: Cluster, rng: Random) -> str:
    """Pushes to a node are not answered, and come in a heap."""
    comet, for_s = rng.choice(cluster.comets), rng.uniform(2, 7)
    held = await _hold(cluster, [comet.push], for_s)
    return f"{held} connections of Jobs to {comet.name} half-open for {for_s:.1f} s"


@_kind
async def cut_kafka(cluster: Cluster, rng: Random) -> str:
    """Everybody loses the broker again and again, with records in flight."""
    for_s = rng.uniform(0.5, 3)
    cut = await _cut(cluster, [cluster.kafka_line], for_s)
    return f"cut {cut} connections to Kafka within {for_s:.1f} s"


# -- room, and whoever takes it ------------------------------------------------------------------------------------


@_kind
async def slow_fsync(cluster: Cluster, rng: Random) -> str:
    """Redis's disk is slow: each write waits for it."""
    delay_s, for_s = rng.uniform(0.02, 0.3), rng.uniform(2, 5)
    cluster.slow_fsync(delay_s)
    try:
        await asyncio.sleep(for_s)
    finally:
        cluster.slow_fsync(0)
    await cluster.settle()
    return f"each fsync of Redis takes {delay_s * 1000:.0f} ms longer for {for_s:.1f} s"


@_kind
async def full_outbox(cluster: Cluster, rng: Random) -> str:
    """Logic stops, so that the outbox only grows, and Redis is full."""
    for_s = rng.uniform(2, 5)
    async with _frozen(cluster.logic), _full(cluster) as most_bytes:
        await asyncio.sleep(for_s)
    await cluster.settle()
    return f"SIGSTOP logic and Redis full at {most_bytes / 1e6:.1f} MB for {for_s:.1f} s"


@asynccontextmanager
async def _full(cluster: Cluster) -> AsyncIterator[int]:
    """Let Redis use no more than it does; yield how much that is."""
    before, most_bytes = await asyncio.to_thread(_limit, cluster.redis_server.client)
    try:
        yield most_bytes
    finally:
        await asyncio.to_thread(_unlimit, cluster.redis_server.client, before)


def _limit(client: Callable[[], Redis]) -> tuple[str, int]:
    with client() as redis:
        before = str(redis.config_get("maxmemory")["maxmemory"])
        most_bytes = int(redis.info("memory")["used_memory"] * ROOM_LEFT)
        redis.config_set("maxmemory", most_bytes)
        return before, most_bytes


def _unlimit(client: Callable[[], Redis], before: str) -> None:
    with client() as redis:
        redis.config_set("maxmemory", before)


@_kind
async def rolling_restart(cluster: Cluster, rng: Random) -> str:
    """Every service is asked to stop and started again, one after the other, as an upgrade does."""
    services = rng.sample(cluster.services, len(cluster.services))
    for service in services:
        code = await service.stop()
        if code != 0:
            service.unexpected.append(f"{service.name} was asked to stop and ended with exit code {code}")
        await service.start()
        await service.ready()
    await cluster.settle()
    return f"SIGTERM and start of {_names(services)}"


def _names(parts: Sequence[Part]) -> str:
    return ", ".join(part.name for part in parts)
