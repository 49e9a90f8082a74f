"""Fan-out measured: Comet and its baselines loaded by turns, with the same clients, bytes and pace.

The pace is found before: Comet's core is about half busy, the load's core not more than its share. A baseline that
can't keep it up (`websockets.broadcast` with many messages a flush) has a pace of its own, and is marked.
Neighbours: `server_under_test.py` runs the servers, `fan_report.py` makes rows and pictures.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from bench.benchmark import Options
from bench.cases.server_under_test import (
    BARE,
    BROADCAST,
    COMET,
    Load,
    ServerUnderTest,
    Taken,
    fitting,
    server_under_test,
)
from bench.load.cores import Cores
from bench.load.crowd_connect import Way
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


@dataclass(frozen=True, slots=True)
class Shape:
    """Who is there and what each gets: clients spread over rooms, so many messages a flush."""

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
    """What a shape cost a server, in all repetitions."""

    shape: Shape
    name: str
    own_pace: bool  # it could not keep Comet's up
    taken: list[Taken] = field(default_factory=list)


async def fan_out(bed: TestBed, options: Options, clients: int, rooms: int, bursts: Sequence[int]) -> list[Fan]:
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
            await one.come(Way(one.port, clients, f"fan-{clients}-{rooms}", rooms))
        for burst in bursts:
            found += await _shape(servers, options, Shape(clients, rooms, burst))
    return found


async def _shape(servers: Sequence[ServerUnderTest], options: Options, shape: Shape) -> list[Fan]:
    flush, period_s = await record(servers[0], shape), await pace(servers[0], shape, options)
    runs: list[tuple[ServerUnderTest, float, Fan]] = []
    for one in servers:
        await one.replay(flush)
        own_s = await pace(one, shape, options, period_s) if one.name == BROADCAST else period_s
        too_fast = own_s * BUSY > period_s * KEEPS_UP
        runs.append((one, own_s if too_fast else period_s, Fan(shape, one.name, own_pace=too_fast)))
    for repetition in range(options.repeat):
        for one, pace_s, fan in runs:
            fan.taken.append(await one.load(Load(max(options.seconds, 3 * pace_s), pace_s, shape.burst)))
            options.progress.say(
                f"{shape.clients:,} x {shape.burst}, {repetition + 1} of {options.repeat}, {one.name}: "
                f"{fan.taken[-1].us_per_delivery:.3g} us per delivery"
            )
    return [fan for _, _, fan in runs]


async def record(comet: ServerUnderTest, shape: Shape) -> str:
    """Return one of Comet's flushes, for the baselines to replay."""
    return (await comet.load(Load(ONE_S, 2 * ONE_S, shape.burst))).flush


async def pace(one: ServerUnderTest, shape: Shape, options: Options, least_s: float = 0.0) -> float:
    """Return the pace at which the server is half busy, and the load not too much.

    A pace found while flushes were joined is too fast: they must be apart for what one costs to be seen.
    """
    tried_s = max(least_s, shape.guessed_period_s)
    for _ in range(TRIES):
        taken = await one.load(Load(max(min(options.seconds, CALIBRATION_S), 3 * tried_s), tried_s, shape.burst))
        busy_s = max(taken.server_s / taken.sent / BUSY, taken.load_s / taken.sent / LOAD_BUSY, LEAST_PERIOD_S)
        if taken.joined(shape.burst) < JOINED:
            break
        tried_s = 2 * max(tried_s, busy_s)
    return busy_s


async def sweep(bed: TestBed, options: Options, shape: Shape, shares: Sequence[float]) -> list[tuple[str, Taken]]:
    """Load Comet and the bare server so that Comet's core is busy for each of the shares."""
    cores = Cores.here()
    found: list[tuple[str, Taken]] = []
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(server_under_test(bed, cores, name)) for name in (COMET, BARE)]
        for one in servers:
            await one.come(Way(one.port, shape.clients, f"sweep-{shape.burst}", shape.rooms))
        flush, half_s = await record(servers[0], shape), await pace(servers[0], shape, options)
        for one in servers:
            await one.replay(flush)
        for share in shares:
            options.progress.say(f"{shape.clients:,} x {shape.burst}: Comet's core busy for {share:.0%}")
            load = Load(options.seconds, half_s * BUSY / share, shape.burst)
            found += [(one.name, await one.load(load)) for one in servers]
    return found
