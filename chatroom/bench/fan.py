"""Fan-out measured: Comet and its baselines loaded by turns, with the same clients, bytes and pace.

The pace is found before: Comet's core is about half busy, the load's core not more than its share. A baseline that can't
keep it up (`websockets.broadcast` with many messages a flush) is measured at half a core's own pace, and marked.
Neighbours: `stand.py` runs the servers, `fan_report.py` makes rows and pictures.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from chatroom.bench.cores import Cores
from chatroom.bench.crowd_connect import Way
from chatroom.bench.lab import Lab
from chatroom.bench.part import Options
from chatroom.bench.stand import BARE, BROADCAST, COMET, Load, Stand, Taken, fitting, stand
from common.errors import StartupError

BUSY: Final = 0.5  # of its core, the server
LOAD_BUSY: Final = 0.75  # of its core, the load
LEAST_PERIOD_S: Final = 0.0003
CALIBRATION_S: Final = 1.0
TRIES: Final = 5  # to see flushes alone, which a busy machine joins
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
    own_pace: bool  # it could not keep up with Comet's
    taken: list[Taken] = field(default_factory=list)


async def fan_out(
    lab: Lab, options: Options, clients: int, rooms: int, bursts: Sequence[int], names: Sequence[str] = NAMES
) -> list[Fan]:
    """Measure all servers with so many clients, for each number of messages a flush. Raises StartupError."""
    cores = Cores.here()
    if fitting(clients) < clients:
        raise StartupError(
            f"{clients:,} clients need as many open files: raise `ulimit -n`, or use --clients {fitting(clients)}"
        )
    found: list[Fan] = []
    async with AsyncExitStack() as stack:
        stands = [await stack.enter_async_context(stand(lab, cores, name)) for name in names]
        for one in stands:
            options.progress.say(f"{clients:,} clients connect to {one.name}")
            await one.come(Way(one.port, clients, f"fan-{clients}-{rooms}", rooms))
        for burst in bursts:
            found += await _shape(stands, options, Shape(clients, rooms, burst))
    return found


async def _shape(stands: Sequence[Stand], options: Options, shape: Shape) -> list[Fan]:
    period_s, flush = await record(stands[0], shape)
    runs: list[tuple[Stand, float, Fan]] = []
    for one in stands:
        await one.replay(flush)
        own_s = _half_busy(await _try(one, shape, period_s)) if one.name == BROADCAST else period_s
        runs.append((one, max(own_s, period_s), Fan(shape, one.name, own_pace=own_s > period_s)))
    for repetition in range(options.repeat):
        for one, pace_s, fan in runs:
            fan.taken.append(await one.load(Load(max(options.seconds, 3 * pace_s), pace_s, shape.burst)))
            options.progress.say(
                f"{shape.clients:,} x {shape.burst}, {repetition + 1} of {options.repeat}, {one.name}: "
                f"{fan.taken[-1].us_per_delivery:.3g} us per delivery"
            )
    return [fan for _, _, fan in runs]


async def record(comet: Stand, shape: Shape) -> tuple[float, str]:
    """Return Comet's pace and one of its flushes, for the baselines to replay. Raises RuntimeError.

    A pace found while flushes were joined is too fast: they must be apart for what one costs to be seen.
    """
    pace_s = 0.0
    for _ in range(TRIES):
        taken = await _try(comet, shape, pace_s)
        pace_s = _half_busy(taken)
        if taken.flush and taken.joined(shape.burst) < JOINED:
            return pace_s, taken.flush
        pace_s *= 2
    if taken.flush:
        return pace_s, taken.flush
    raise RuntimeError(f"Comet never sent a flush of {shape.burst} messages alone: the machine is too busy")


async def _try(one: Stand, shape: Shape, pace_s: float) -> Taken:
    pace_s = max(pace_s, shape.guessed_period_s)
    return await one.load(Load(max(CALIBRATION_S, 3 * pace_s), pace_s, shape.burst))


def _half_busy(taken: Taken) -> float:
    """Return the pace at which the server will be half busy, and the load not too much."""
    return max(taken.server_s / taken.sent / BUSY, taken.load_s / taken.sent / LOAD_BUSY, LEAST_PERIOD_S)


async def sweep(lab: Lab, options: Options, shape: Shape, shares: Sequence[float]) -> list[tuple[str, Taken]]:
    """Load Comet and the bare server so that Comet's core is busy for each of the shares."""
    cores = Cores.here()
    found: list[tuple[str, Taken]] = []
    async with AsyncExitStack() as stack:
        stands = [await stack.enter_async_context(stand(lab, cores, name)) for name in (COMET, BARE)]
        for one in stands:
            await one.come(Way(one.port, shape.clients, f"sweep-{shape.burst}", shape.rooms))
        half_s, flush = await record(stands[0], shape)
        for one in stands:
            await one.replay(flush)
        for share in shares:
            options.progress.say(f"{shape.clients:,} x {shape.burst}: Comet's core busy for {share:.0%}")
            for one in stands:
                found.append((one.name, await one.load(Load(options.seconds, half_s * BUSY / share, shape.burst))))
    return found
