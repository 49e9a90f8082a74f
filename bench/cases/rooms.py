"""Part `rooms`: fan-out to many small rooms, where each message reaches few."""

from typing import Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases.fan import Shape, fan_out
from bench.report import fan_report
from bench.report.results import Result
from testbed.bed import TestBed

NOTE: Final = (
    "In a small room a message's way in (receiving it, storing it in Redis, PubSub, forwarding) costs more than "
    "bringing it to ten clients; the baselines have no such way, so the ratio is not one of fan-out alone."
)


async def run(bed: TestBed, options: Options) -> Result:
    """Measure all clients in all rooms."""
    clients, rooms, bursts = options.own["clients"], options.own["rooms"], options.own["burst"]
    if clients % rooms:
        raise click.BadParameter(f"{clients} clients can't be spread evenly over {rooms} rooms")
    fans = await fan_out(bed, options, clients, rooms, bursts)
    chart = fan_report.ages_chart("rooms-latency", fans, Shape(clients, rooms, bursts[0]))
    return Result(
        "rooms",
        f"Many rooms: {clients:,} clients in {rooms:,} rooms",
        fan_report.COLUMNS,
        fan_report.rows(fans),
        (),
        (*fan_report.NOTES, NOTE),
        [chart],
    )


BENCHMARK: Final = Benchmark(
    name="rooms",
    about="The same with many small rooms on one node.",
    example="python -m bench rooms --clients 1000 --rooms 100",
    seconds=4.0,
    run=run,
    options=(
        click.Option(
            ["--clients"], type=click.IntRange(1), default=10_000, show_default=True, help="Clients, all together."
        ),
        click.Option(
            ["--rooms"],
            type=click.IntRange(1),
            default=1000,
            show_default=True,
            help="Rooms that they are spread over.",
        ),
        click.Option(
            ["--burst"],
            type=click.IntRange(1, 100),
            multiple=True,
            default=(1, 16),
            show_default=True,
            help="Messages a flush (may be given again).",
        ),
    ),
)
