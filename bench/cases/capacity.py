"""Capacity: what 1,000,000 users would take, from constants measured here, and how far a prediction by them is off.

What a service uses while nothing happens is measured first and taken off: a message's cost is what comes on top. The
constants are of a light load; batches grow with it and make a message cheaper, so that the numbers are rather too high.
A run of another shape shows what the model is worth.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases.capacity_model import CHECK_SHARE, Cost, Demand, Needed, needed, off_by, settle
from bench.cases.size import NAMES, Shape, cost_of, measure
from bench.load.load import load
from bench.load.traffic import TrafficPlan
from bench.report.measures import KIB, Spread, cpu_seconds, memory
from bench.report.results import Cell, Result
from testbed.bed import Pipeline, TestBed

FEW, MANY, ON_TWO = Shape(20, 2), Shape(20, 50), Shape(20, 50, 2)
CHECK: Final = Shape(50, 20, 2)  # of another shape than those that the constants come from
COLUMNS: Final = (
    "service",
    "us/msg fixed",
    "us/msg a node",
    "us/msg a member",
    "predicted us/msg",
    "measured us/msg",
    "off by",
)


@dataclass(frozen=True, slots=True)
class Once:
    """One repetition: a message's cost in each service by shape, and a connection's memory."""

    us: Mapping[Shape, Mapping[str, float]]
    connection_kib: float


async def run(bed: TestBed, options: Options) -> Result:
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
    demand = Demand(own["users"], own["room"], own["users"] * own["per_minute"] / 60, kib)
    return Result(
        "capacity",
        f"Capacity: what {demand.users:,} users would take",
        COLUMNS,
        [_row(name, costs[name], predicted[name], measured[name]) for name in NAMES]
        + [["all", None, None, None, sum(predicted.values()), sum(measured.values()), _off(predicted, measured)]],
        notes=_notes(demand, needed(demand, costs), predicted, measured),
    )


async def _once(bed: TestBed, options: Options, k: int) -> Once:
    us: dict[Shape, Mapping[str, float]] = {}
    async with bed.pipeline() as pipeline:
        kib = await _connection_kib(bed, pipeline, options.own["idle"], k)
        us |= await _all(bed, pipeline, (FEW, MANY), options, f"one-{k}")
    async with bed.pipeline(2) as pipeline:
        us |= await _all(bed, pipeline, (ON_TWO, CHECK), options, f"two-{k}")
    return Once(us, kib)


async def _connection_kib(bed: TestBed, pipeline: Pipeline, idle: int, k: int) -> float:
    """Return what an idle connection takes of Comet's own memory."""
    pid = pipeline.comets[0].pid
    before = memory(pid).uss_bytes
    plan = TrafficPlan([pipeline.comets[0].ws_port], f"idle{k}", 10, idle, keep=False)
    async with load(bed, pipeline, plan):
        return (memory(pid).uss_bytes - before) / idle / KIB


async def _all(
    bed: TestBed, pipeline: Pipeline, shapes: Sequence[Shape], options: Options, room: str
) -> dict[Shape, Mapping[str, float]]:
    """Return by shape what a message costs in each service, over what that uses while nothing happens."""
    await measure(bed, pipeline, _scaled(shapes[0], options), options, f"{room}-warm")
    idle = await _idle(pipeline, options.seconds)
    found: dict[Shape, Mapping[str, float]] = {}
    for shape in shapes:
        outcome = await measure(bed, pipeline, _scaled(shape, options), options, f"{room}-{shape.members}")
        found[shape] = {
            name: max(0.0, cost_of(name, outcome) - idle[name] / outcome.acked_per_s * 1e6) for name in NAMES
        }
    return found


def _scaled(shape: Shape, options: Options) -> Shape:
    return replace(shape, rooms=shape.rooms * options.own["rooms"] // FEW.rooms)


async def _idle(pipeline: Pipeline, seconds: float) -> dict[str, float]:
    """Return how many cores each service uses while nothing happens, all of one name together."""
    pids, began = pipeline.pids(), time.monotonic()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    found = dict.fromkeys(NAMES, 0.0)
    for name, pid in pids.items():
        found[name.partition("-")[0]] += (cpu_seconds(pid) - before[name]) / took
    return found


def _us(found: list[Once], shape: Shape, name: str) -> float:
    return Spread.of(one.us[shape][name] for one in found).median


def settle_of(found: list[Once], name: str) -> Cost:
    """Return a service's constants, from the medians of all repetitions."""
    few, many, on_two = (_us(found, shape, name) for shape in (FEW, MANY, ON_TWO))
    return settle((FEW.members, few), (MANY.members, many), on_two)


def _row(name: str, cost: Cost, predicted: float, measured: float) -> list[Cell]:
    return [name, cost.fixed, cost.serving, cost.member, predicted, measured, f"{off_by(predicted, measured):.0%}"]


def _off(predicted: dict[str, float], measured: dict[str, float]) -> str:
    return f"{off_by(sum(predicted.values()), sum(measured.values())):.0%}"


def _notes(demand: Demand, need: Needed, predicted: dict[str, float], measured: dict[str, float]) -> list[str]:
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


BENCHMARK: Final = Benchmark(
    "capacity",
    "Capacity: how many nodes, Redis and Kafka partitions so many users would take, and how good that guess is.",
    "python -m bench capacity --users 1000000 --room 100 --per-minute 1",
    3.0,
    run,
    [
        click.Option(
            ["--users"], type=click.IntRange(1), default=1_000_000, show_default=True, help="Users who are connected."
        ),
        click.Option(["--room"], type=click.IntRange(1), default=100, show_default=True, help="Members of a room."),
        click.Option(
            ["--per-minute"],
            type=click.FloatRange(0.001),
            default=1.0,
            show_default=True,
            help="Messages that each user sends a minute.",
        ),
        click.Option(
            ["--rooms"],
            type=click.IntRange(2),
            default=FEW.rooms,
            show_default=True,
            help="Rooms while it is measured.",
        ),
        click.Option(
            ["--idle"],
            type=click.IntRange(10),
            default=1000,
            show_default=True,
            help="Connections whose memory is taken.",
        ),
        click.Option(
            ["--rate"],
            type=click.FloatRange(10),
            default=500,
            show_default=True,
            help="Messages a second while it is measured.",
        ),
    ],
)
