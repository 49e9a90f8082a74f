"""Benchmark `capacity`: the servers that many users would need, and the error of the model that says so.

The model: the CPU of a message in a service is `fixed + serving * nodes that serve the room + member * its members`.
The CPU of an idle service is measured first and subtracted. Three measurements settle the three constants. A fourth
one, of another shape, gives the error of the model. The constants are of a light load; batches grow with it and
make a message cheaper, so that the numbers are rather too high.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import click

from bench.benchmark import Benchmark, RunOptions, option
from bench.cases.size import NAMES, LoadShape, cost_of, measure
from bench.load.connect import ClientPlan
from bench.load.pipeline_load import pipeline_load
from bench.measures import KIB, Spread, cpu_seconds, memory
from bench.report.results import Cell, Report
from testbed.bed import TestBed
from testbed.stack import Stack

CHECK_SHARE: Final = 0.25  # a prediction that is off by more is wrong
MOST_ROUNDS: Final = 100
FEW, MANY, ON_TWO = LoadShape(20, 2), LoadShape(20, 50), LoadShape(20, 50, 2)
CHECK: Final = LoadShape(50, 20, 2)  # of another shape than those that the constants come from
COLUMNS: Final = (
    "service", "us/msg fixed", "us/msg a node", "us/msg a member", "predicted us/msg", "measured us/msg", "off by",
)  # fmt: skip


# -- the model, pure -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """A message's CPU in one service, us."""

    fixed: float
    serving: float  # for each node that serves the room
    member: float  # for each member of the room

    def us(self, nodes: float, members: float) -> float:
        """Return the CPU of a message to a room of so many members on so many nodes."""
        return self.fixed + self.serving * nodes + self.member * members


def settle(few: tuple[int, float], many: tuple[int, float], on_two: float) -> Cost:
    """Return the constants from (members, us) of two rooms on one node, and the us of the larger one on two nodes.

    A negative constant is noise and counts as zero.
    """
    member = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
    serving = max(0.0, on_two - many[1])
    return Cost(max(0.0, few[1] - serving - member * few[0]), serving, member)


@dataclass(frozen=True, slots=True)
class CapacityDemand:
    """The users to serve, and the share of each resource that may be used."""

    users: int
    room_members: int
    messages_per_s: float  # of all users together
    connection_kib: float
    core_share: float = 0.6  # of a core; one process can use one core at most
    node_connections: int = 50_000
    node_memory_gib: float = 4.0


@dataclass(frozen=True, slots=True)
class Needed:
    """How many processes of each kind."""

    comets: int
    bound: str  # the reason for the number of nodes: cpu, memory or connections
    serving: float  # nodes that serve a room on average
    logics: int
    jobs: int
    redis: int
    kafka_cores: int
    partitions: int


def needed(demand: CapacityDemand, costs: Mapping[str, Cost]) -> Needed:
    """Return the least number of nodes that serves the demand, and the processes behind them."""
    by_memory = ceil(demand.users * demand.connection_kib / (demand.node_memory_gib * 1024 * 1024))
    by_connections = ceil(demand.users / demand.node_connections)
    comets, bound = max((by_memory, "memory"), (by_connections, "connections"))
    for _ in range(MOST_ROUNDS):
        wanted = _processes(demand, costs["comet"], spread(comets, demand.room_members))
        if wanted <= comets:
            break
        comets, bound = wanted, "cpu"
    serving = spread(comets, demand.room_members)
    jobs = _processes(demand, costs["job"], serving)
    return Needed(
        comets,
        bound,
        serving,
        _processes(demand, costs["logic"], serving),
        jobs,
        _processes(demand, costs["redis"], serving),
        _processes(demand, costs["kafka"], serving),
        4 * ceil(max(jobs, 1)),
    )


def spread(nodes: int, members: int) -> float:
    """Return on how many of the nodes the members of a room are, where each is on any of them by chance."""
    return nodes * (1.0 - (1.0 - 1.0 / nodes) ** members)


def _processes(demand: CapacityDemand, cost: Cost, serving: float) -> int:
    return max(1, ceil(demand.messages_per_s * cost.us(serving, demand.room_members) / 1e6 / demand.core_share))


def off_by(predicted: float, measured: float) -> float:
    """Return by which share of the measured the prediction is off."""
    return abs(predicted - measured) / measured if measured else 0.0


# -- measuring ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Once:
    """One repetition: a message's cost in each service by shape, and a connection's memory."""

    us: Mapping[LoadShape, Mapping[str, float]]
    connection_kib: float


async def run(bed: TestBed, options: RunOptions) -> Report:
    """Measure the constants, check them, and reckon."""
    found: list[Once] = []
    for k in range(options.repeat):
        found.append(await _once(bed, options, k))
        options.progress.say(f"capacity: {k + 1} of {options.repeat}: {found[-1].connection_kib:.1f} KiB a connection")
    costs = {name: settle_of(found, name) for name in NAMES}
    measured = {name: _us(found, CHECK, name) for name in NAMES}
    predicted = {name: costs[name].us(CHECK.nodes, CHECK.members) for name in NAMES}
    own = options.own
    kib = Spread.of(one.connection_kib for one in found).median
    demand = CapacityDemand(own["users"], own["room"], own["users"] * own["per_minute"] / 60, kib)
    return Report(
        "capacity",
        f"Capacity: what {demand.users:,} users would take",
        COLUMNS,
        [_row(name, costs[name], predicted[name], measured[name]) for name in NAMES]
        + [["all", None, None, None, sum(predicted.values()), sum(measured.values()), _off(predicted, measured)]],
        notes=_notes(demand, needed(demand, costs), predicted, measured),
    )


async def _once(bed: TestBed, options: RunOptions, k: int) -> Once:
    us: dict[LoadShape, Mapping[str, float]] = {}
    async with bed.pipeline() as pipeline:
        kib = await _connection_kib(bed, pipeline, options.own["idle"], k)
        us |= await _all(bed, pipeline, (FEW, MANY), options, f"one-{k}")
    async with bed.pipeline(2) as pipeline:
        us |= await _all(bed, pipeline, (ON_TWO, CHECK), options, f"two-{k}")
    return Once(us, kib)


async def _connection_kib(bed: TestBed, pipeline: Stack, idle: int, k: int) -> float:
    """Return Comet's own memory for each idle connection."""
    pid = pipeline.comets[0].pid
    before = memory(pid).uss_bytes
    async with pipeline_load(bed, pipeline, ClientPlan(idle, f"idle{k}", 10)):
        return (memory(pid).uss_bytes - before) / idle / KIB


async def _all(
    bed: TestBed, pipeline: Stack, shapes: Sequence[LoadShape], options: RunOptions, room: str
) -> dict[LoadShape, Mapping[str, float]]:
    """Return by shape the CPU of a message in each service, without the CPU of the idle service."""
    await measure(bed, pipeline, _scaled(shapes[0], options), options, f"{room}-warm")
    idle = await _idle(pipeline, options.seconds)
    found: dict[LoadShape, Mapping[str, float]] = {}
    for shape in shapes:
        one = await measure(bed, pipeline, _scaled(shape, options), options, f"{room}-{shape.members}")
        found[shape] = {name: max(0.0, cost_of(name, one) - idle[name] / one.acked_per_s * 1e6) for name in NAMES}
    return found


def _scaled(shape: LoadShape, options: RunOptions) -> LoadShape:
    return replace(shape, rooms=shape.rooms * options.own["rooms"] // FEW.rooms)


async def _idle(pipeline: Stack, seconds: float) -> dict[str, float]:
    """Return how many cores each service uses while nothing happens, all of one name together."""
    pids, began = pipeline.pids(), time.monotonic()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    found = dict.fromkeys(NAMES, 0.0)
    for name, pid in pids.items():
        found[name.partition("-")[0]] += (cpu_seconds(pid) - before[name]) / took
    return found


def _us(found: list[Once], shape: LoadShape, name: str) -> float:
    return Spread.of(one.us[shape][name] for one in found).median


def settle_of(found: list[Once], name: str) -> Cost:
    """Return a service's constants, from the medians of all repetitions."""
    few, many, on_two = (_us(found, shape, name) for shape in (FEW, MANY, ON_TWO))
    return settle((FEW.members, few), (MANY.members, many), on_two)


def _row(name: str, cost: Cost, predicted: float, measured: float) -> list[Cell]:
    return [name, cost.fixed, cost.serving, cost.member, predicted, measured, f"{off_by(predicted, measured):.0%}"]


def _off(predicted: dict[str, float], measured: dict[str, float]) -> str:
    return f"{off_by(sum(predicted.values()), sum(measured.values())):.0%}"


def _notes(demand: CapacityDemand, need: Needed, predicted: dict[str, float], measured: dict[str, float]) -> list[str]:
    off = off_by(sum(predicted.values()), sum(measured.values()))
    verdict = "holds" if off <= CHECK_SHARE else "FAILED"
    return [
        (
            f"Check: {CHECK.rooms} rooms of {CHECK.members} on {CHECK.nodes} nodes, predicted from rooms of "
            f"{FEW.members} and "
            f"{MANY.members} on one and of {MANY.members} on two: off by {off:.0%}, at most {CHECK_SHARE:.0%} is "
            f"wanted: {verdict}."
        ),
        (
            f"{demand.users:,} users in rooms of {demand.room_members}, {demand.messages_per_s:,.0f} messages a second "
            f"({demand.messages_per_s * demand.room_members:,.0f} deliveries), {demand.connection_kib:.1f} KiB a "
            f"connection; a process "
            f"may use {demand.core_share:.0%} of a core, a node hold {demand.node_connections:,} connections and "
            f"{demand.node_memory_gib:g} GiB. Each user is on any node by chance, so {need.serving:.1f} nodes "
            f"serve a room."
        ),
        (
            f"They take {need.comets} Comet nodes (what counts is {need.bound}), {need.logics} Logic, {need.jobs} Job, "
            f"{need.redis} Redis with the {need.redis} or more shards over them, {need.partitions} Kafka "
            f"partitions (four for "
            f"each Job) and {need.kafka_cores} cores of Kafka."
        ),
    ]


CAPACITY: Final = Benchmark(
    "capacity",
    "Capacity: how many nodes, Redis and Kafka partitions so many users would take, and how good that guess is.",
    "python -m bench capacity --users 1000000 --room 100 --per-minute 1",
    3.0,
    run,
    [
        option("--users", click.IntRange(1), 1_000_000, "Users who are connected"),
        option("--room", click.IntRange(1), 100, "Members of a room"),
        option("--per-minute", click.FloatRange(0.001), 1.0, "Messages that each user sends a minute"),
        option("--rooms", click.IntRange(2), FEW.rooms, "Rooms while it is measured"),
        option("--idle", click.IntRange(10), 1000, "Connections whose memory is taken"),
        option("--rate", click.FloatRange(10), 500, "Messages a second while it is measured"),
    ],
)
