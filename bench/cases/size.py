"""Benchmark `size`: the cost of a message against members of a room, rooms, nodes, and bytes of a message.

One thing changes at a time, at one rate; the slope says what each further member, room, node or byte costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from bench.benchmark import Benchmark, RunOptions, option
from bench.load.backlogs import growth
from bench.load.connect import ClientPlan
from bench.load.pipeline_load import Measurement, pipeline_load
from bench.measures import Spread
from bench.report.pictures import Chart, Series
from bench.report.results import Cell, Report, median, over
from common.errors import StartupError
from testbed.bed import TestBed
from testbed.stack import Stack

NAMES: Final = ("comet", "logic", "job", "redis", "kafka")  # the Comets of several nodes together


@dataclass(frozen=True, slots=True)
class LoadShape:
    """What is loaded."""

    rooms: int = 10
    members: int = 10
    nodes: int = 1
    content_bytes: int = 100


BASE: Final = LoadShape()
# What changes, and to which values; those of `--quick` are the first and the last.
SIZES: Final[Mapping[str, Sequence[int]]] = {
    "members": (2, 10, 50, 200),
    "rooms": (1, 10, 100, 500),
    "nodes": (1, 2, 3),
    "content_bytes": (50, 500, 4000),
}
ABOUT: Final = {
    "members": "Members of a room",
    "rooms": "Rooms",
    "nodes": "Comet nodes",
    "content_bytes": "Bytes of a content",
}
COLUMNS: Final = (
    "what changes", "to", "deliveries/msg", "us of CPU/msg", *(f"{name} us/msg" for name in NAMES), "p50 ms",
    "p99 ms", "others' cores", "keeps up",
)  # fmt: skip


async def run(bed: TestBed, options: RunOptions) -> Report:
    """Measure each size, as often as asked for."""
    found: dict[tuple[str, int], list[Measurement]] = {}
    for nodes in sorted({1, *_sizes("nodes", options)}):
        async with bed.pipeline(nodes) as pipeline:
            await measure(bed, pipeline, replace(BASE, nodes=nodes), options, "warm")
            for k in range(options.repeat):
                for what, size in _sizes_on(nodes, options):
                    shape = replace(BASE, **{"nodes": nodes, what: size})
                    one = await measure(bed, pipeline, shape, options, f"{what}{size}-{k}")
                    found.setdefault((what, size), []).append(one)
                    us = sum(cost_of(name, one) for name in NAMES)
                    options.progress.say(f"size: {what} {size:,}, {k + 1} of {options.repeat}: {us:,.0f} us a message")
    rows = [_row(what, size, found[what, size]) for what in SIZES for size in _sizes(what, options)]
    return Report(
        "size",
        f"Cost against size, at {options.own['rate']:,.0f} messages a second",
        COLUMNS,
        rows,
        notes=_notes(found, options),
        charts=[_chart(what, found, options) for what in SIZES],
    )


async def measure(bed: TestBed, pipeline: Stack, shape: LoadShape, options: RunOptions, room: str) -> Measurement:
    """Load a pipeline in that shape."""
    clients, share = shape.rooms * max(shape.members, shape.nodes), shape.nodes * shape.rooms
    plan = ClientPlan(clients - clients % share, room, shape.rooms)
    async with pipeline_load(bed, pipeline, plan, shape.content_bytes) as load:
        found = await load.run(options.own["rate"], options.seconds)
        await load.settled()
    return found


def cost_of(name: str, one: Measurement) -> float:
    """Return the CPU of a message in us, of all nodes of that name together; 0 where that is not known."""
    return sum(us for process, us in one.us_per_message().items() if process.partition("-")[0] == name)


def _listed(what: str) -> str:
    return ",".join(map(str, SIZES[what]))


def _sizes(what: str, options: RunOptions) -> Sequence[int]:
    """Return the sizes to measure. Raises StartupError where the option is no list of them."""
    asked = options.own[what]
    if asked is None:
        sizes = SIZES[what]
        return (sizes[0], sizes[-1]) if options.quick else sizes
    sizes = [int(one) if one.isdigit() else 0 for one in str(asked).split(",")]
    if min(sizes) < 1:
        raise StartupError(f"--{what.replace('_', '-')} must be whole numbers from 1 on by commas, got {asked!r}")
    return sizes


def _sizes_on(nodes: int, options: RunOptions) -> list[tuple[str, int]]:
    """Return the sizes to measure on so many nodes. All sizes but the nodes themselves are measured on one."""
    if nodes != 1:
        return [("nodes", nodes)]
    one = [("nodes", 1)] if 1 in _sizes("nodes", options) else []
    return one + [(what, size) for what in SIZES if what != "nodes" for size in _sizes(what, options)]


# -- the report ----------------------------------------------------------------------------------------------------


def _row(what: str, size: int, several: Sequence[Measurement]) -> list[Cell]:
    return [
        what.replace("_", " "),
        size,
        Spread.of(one.told["delivered"] / one.told["acked"] for one in several).median,
        over([sum(cost_of(name, one) for name in NAMES) for one in several]),
        *(over([cost_of(name, one) for one in several]) for name in NAMES),
        over([one.age_ms(50) for one in several]),
        over([one.age_ms(99) for one in several]),
        median([one.others_cores for one in several]),
        next((one.verdict.why for one in several if one.verdict.why), "yes"),
    ]


def _points(what: str, name: str, found: Mapping[tuple[str, int], Sequence[Measurement]]) -> list[tuple[float, float]]:
    return [
        (size, Spread.of(cost_of(name, one) for one in several).median)
        for (changed, size), several in sorted(found.items())
        if changed == what
    ]


def _notes(found: Mapping[tuple[str, int], Sequence[Measurement]], options: RunOptions) -> list[str]:
    each = {"members": "member", "rooms": "room", "nodes": "node", "content_bytes": "byte"}
    slopes = [
        f"{word}: " + ", ".join(f"{name} {growth(_points(what, name, found)):.3g}" for name in NAMES)
        for what, word in each.items()
    ]
    return [
        (
            f"Where nothing else is said: {BASE.rooms} rooms of {BASE.members} on one node, contents of "
            f"{BASE.content_bytes} bytes, {options.own['rate']:,.0f} messages a second. Redis and Kafka are counted "
            "where the test bed runs them."
        ),
        f"Slopes, us of CPU a message for each further one (least squares). {'; '.join(slopes)}.",
    ]


def _chart(what: str, found: Mapping[tuple[str, int], Sequence[Measurement]], options: RunOptions) -> Chart:
    series = []
    for name in NAMES:
        points = _points(what, name, found)
        series.append(Series(name, [x for x, _ in points], [y for _, y in points]))
    title = f"CPU of a message against {what.replace('_', ' ')}, {options.own['rate']:,.0f} msg/s"
    return Chart(f"size_{what}", title, what.replace("_", " "), "us of CPU a message", series, log_x=what != "nodes")


SIZE: Final = Benchmark(
    "size",
    "Cost against size: members of a room, number of rooms, nodes, bytes of a message.",
    "python -m bench size --rate 500 --repeat 1",
    2.5,
    run,
    [
        option("--rate", click.FloatRange(10), 500, "Messages a second"),
        *(
            click.Option([f"--{what.replace('_', '-')}"], metavar="N,N", help=f"{about}.  [default: {_listed(what)}]")
            for what, about in ABOUT.items()
        ),
    ],
)
