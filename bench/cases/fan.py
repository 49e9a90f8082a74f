"""Fan-out measured: Comet and its baselines loaded by turns, with the same clients, bytes and pace.

The pace is found before: Comet's core is about half busy, the load's core not more than its share. A baseline that
can't keep it up (`websockets.broadcast` with many messages a flush) has a pace of its own, and is marked.
`server_under_test.py` runs the servers. `fanout.py` makes rows and pictures.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from bench.benchmark import RunOptions
from bench.cases.server_under_test import (
    BARE,
    BROADCAST,
    COMET,
    ServerUnderTest,
    Taken,
    comet_under_test,
    fitting,
    server_under_test,
)
from bench.load.connect import ClientPlan
from bench.measures import Cores, shares
from common.errors import StartupError
from testbed.bed import TestBed

BUSY: Final = 0.5  # of its core, the server
KEEPS_UP: Final = 0.85  # of its core a baseline may use at Comet's pace
LOAD_BUSY: Final = 0.75  # of its core, the load
LEAST_PERIOD_S: Final = 0.0003
CALIBRATION_S: Final = 1.0
ONE_S: Final = 0.001  # in which one frame is sent
TRIES: Final = 4  # to see flushes apart, which a busy machine joins
JOINED: Final = 1.1  # flushes in a read, from which on it is worth telling
GUESS_US: Final = (300, 8, 0.2)  # of CPU: a round, each client in it, each message to each client
NAMES: Final = (COMET, BARE, BROADCAST)
TIMED: Final = 200  # clients, whose messages' ages are taken


@dataclass(frozen=True, slots=True)
class FanShape:
    """Clients spread over rooms, and the messages of a flush."""

    clients: int
    rooms: int
    burst: int

    @property
    def guessed_period_s(self) -> float:
        """A pace to begin with."""
        base, client, message = GUESS_US
        return (base + self.clients / self.rooms * (client + message * self.burst)) / 1e6 / BUSY


@dataclass(slots=True)
class Fan:
    """The loads of one server in one shape, a repetition each."""

    shape: FanShape
    name: str
    own_pace: bool  # it could not keep Comet's up
    taken: list[Taken] = field(default_factory=list)


async def fan_out(bed: TestBed, options: RunOptions, clients: int, rooms: int, bursts: Sequence[int]) -> list[Fan]:
    """Measure all servers with so many clients, for each number of messages a flush. Raises StartupError."""
    cores = Cores.here()
    if fitting(clients) < clients:
        raise StartupError(
            f"{clients:,} clients need as many open files: raise `ulimit -n`, or use --clients {fitting(clients)}"
        )
    found: list[Fan] = []
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(server_under_test(bed, cores, name)) for name in NAMES]
        for one in servers:
            options.progress.say(f"{clients:,} clients connect to {one.name}")
            await one.connect(_plan(one, FanShape(clients, rooms, 1), "fan"))
        for burst in bursts:
            found += await _shape(servers, options, FanShape(clients, rooms, burst))
    return found


async def _shape(servers: Sequence[ServerUnderTest], options: RunOptions, shape: FanShape) -> list[Fan]:
    flush, period_s = await record(servers[0], shape), await pace(servers[0], shape, options)
    runs: list[tuple[ServerUnderTest, float, Fan]] = []
    for one in servers:
        await one.replay(flush)
        own_s = await pace(one, shape, options, period_s) if one.name == BROADCAST else period_s
        too_fast = own_s * BUSY > period_s * KEEPS_UP
        runs.append((one, own_s if too_fast else period_s, Fan(shape, one.name, own_pace=too_fast)))
    for repetition in range(options.repeat):
        for one, pace_s, fan in runs:
            fan.taken.append(await one.load(max(options.seconds, 3 * pace_s), pace_s, shape.burst))
            options.progress.say(
                f"{shape.clients:,} x {shape.burst}, {repetition + 1} of {options.repeat}, {one.name}: "
                f"{fan.taken[-1].us_per_delivery:.3g} us per delivery"
            )
    return [fan for _, _, fan in runs]


def _plan(one: ServerUnderTest, shape: FanShape, room: str) -> ClientPlan:
    return ClientPlan(shape.clients, room, shape.rooms, [one.port], timed=TIMED, acks=one.name == COMET)


async def record(comet: ServerUnderTest, shape: FanShape) -> str:
    """Return one of Comet's flushes, for the baselines to replay."""
    return (await comet.load(ONE_S, 2 * ONE_S, shape.burst)).flush


async def pace(one: ServerUnderTest, shape: FanShape, options: RunOptions, least_s: float = 0.0) -> float:
    """Return the pace at which the server is half busy, and the load not too much.

    A pace found while flushes were joined is too fast: the cost of one flush shows only when they are apart.
    """
    tried_s = max(least_s, shape.guessed_period_s)
    for _ in range(TRIES):
        taken = await one.load(max(min(options.seconds, CALIBRATION_S), 3 * tried_s), tried_s, shape.burst)
        busy_s = max(taken.server_s / taken.sent / BUSY, taken.load_s / taken.sent / LOAD_BUSY, LEAST_PERIOD_S)
        if taken.joined(shape.burst) < JOINED:
            break
        tried_s = 2 * max(tried_s, busy_s)
    return busy_s


async def sweep(bed: TestBed, options: RunOptions, shape: FanShape, shares: Sequence[float]) -> list[tuple[str, Taken]]:
    """Load Comet and the bare server so that Comet's core is busy for each of the shares."""
    cores = Cores.here()
    found: list[tuple[str, Taken]] = []
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(server_under_test(bed, cores, name)) for name in (COMET, BARE)]
        for one in servers:
            await one.connect(_plan(one, shape, "sweep"))
        flush, half_s = await record(servers[0], shape), await pace(servers[0], shape, options)
        for one in servers:
            await one.replay(flush)
        for share in shares:
            options.progress.say(f"{shape.clients:,} x {shape.burst}: Comet's core busy for {share:.0%}")
            period_s = half_s * BUSY / share
            found += [(one.name, await one.load(options.seconds, period_s, shape.burst)) for one in servers]
    return found


async def costs(bed: TestBed, options: RunOptions, shape: FanShape) -> str:
    """Return a line for each of the largest costs of Comet's CPU.

    Comet is loaded once more, under a profiler (profiled.py), which itself costs a little CPU.
    """
    options.progress.say(f"{shape.clients:,} x {shape.burst}: where Comet's CPU goes")
    async with comet_under_test(bed, Cores.here(), profile=True) as one:
        await one.connect(_plan(one, shape, "costs"))
        period_s = await pace(one, shape, options)
        comet = one.service
        assert comet is not None  # noqa: S101 - it is Comet's
        comet.begin_profile()
        await one.load(options.seconds, period_s, shape.burst)
        await asyncio.to_thread(comet.stop)
        return "\n".join(shares(comet.costs()))
