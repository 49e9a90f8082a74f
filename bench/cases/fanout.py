"""Part `fanout`: what it costs to bring a room's messages to all of its clients."""

from collections.abc import Sequence
from typing import Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases.fan import Fan, Shape, fan_out, sweep
from bench.cases.fan_costs import costs
from bench.report import fan_report, targets
from bench.report.results import Result
from testbed.bed import TestBed

CLIENTS: Final = (100, 1000, 10_000)
BURSTS: Final = (1, 4, 16, 64)
QUICK: Final = ((1000,), (1, 16))
SWEPT: Final = Shape(1000, 1, 1)
SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


async def run(bed: TestBed, options: Options) -> Result:
    """Measure all shapes asked for."""
    clients, bursts = _sizes(options)
    fans: list[Fan] = []
    for count in clients:
        fans += await fan_out(bed, options, count, 1, bursts)
    middle = clients[len(clients) // 2]
    charts = [fan_report.ages_chart("fanout-latency", fans, Shape(middle, 1, bursts[0]))]
    if len(bursts) > 1:
        charts.insert(0, fan_report.costs_chart("fanout-cost", fans, middle))
    if SWEPT.clients in clients and SWEPT.burst in bursts:
        charts.append(fan_report.sweep_chart("fanout-throughput", await sweep(bed, options, SWEPT, SHARES), SWEPT))
    measured = fan_report.measured(fans)
    missed = targets.missed(measured)
    profiles = {key: await costs(bed, options, shape) for shape, key in fan_report.TARGETS.items() if key in missed}
    return Result(
        "fanout",
        "Fan-out: one room, many clients",
        fan_report.COLUMNS,
        fan_report.rows(fans),
        measured,
        fan_report.NOTES,
        charts,
        profiles,
    )


def _sizes(options: Options) -> tuple[Sequence[int], Sequence[int]]:
    """Return how many clients and messages a flush to measure; a quick run leaves out what nobody asked for."""
    clients, bursts = tuple(options.own["clients"]), tuple(options.own["burst"])
    if options.quick and (clients, bursts) == (CLIENTS, BURSTS):
        return QUICK
    return clients, bursts


BENCHMARK: Final = Benchmark(
    name="fanout",
    about="CPU per delivery and latency of a room's messages, for many clients and many messages a flush.\n\n"
    "Against bare joined socket writes and `websockets.broadcast`.",
    example="python -m bench fanout --clients 1000 --burst 16",
    seconds=4.0,
    run=run,
    options=(
        click.Option(
            ["--clients"],
            type=click.IntRange(1),
            multiple=True,
            default=CLIENTS,
            show_default=True,
            help="Clients in the room (may be given again).",
        ),
        click.Option(
            ["--burst"],
            type=click.IntRange(1, 100),
            multiple=True,
            default=BURSTS,
            show_default=True,
            help="Messages a flush (may be given again).",
        ),
    ),
)
