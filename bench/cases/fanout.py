"""Benchmarks `fanout` and `rooms`: the cost of bringing messages to all clients of one room, and of many rooms."""

from collections.abc import Sequence
from typing import Final

import click

from bench.benchmark import Benchmark, RunOptions, evenly, option
from bench.cases.fan import BUSY, JOINED, TIMED, Fan, FanShape, costs, fan_out, sweep
from bench.cases.server_under_test import BARE, COMET, Taken
from bench.measures import Spread
from bench.report.pictures import Chart, Series
from bench.report.results import Cell, Measured, Report, median, missed, over
from testbed.bed import TestBed

CLIENTS: Final = (100, 1000, 10_000)
BURSTS: Final = (1, 4, 16, 64)
QUICK: Final = ((1000,), (1, 16))
SWEPT: Final = FanShape(1000, 1, 1)
SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
COLUMNS: Final = (
    "Clients", "Rooms", "Messages a flush", "Server", "CPU us per delivery", "x bare", "Deliveries/s", "p50, ms",
    "p99, ms", "Server's core busy, %", "Load's core busy, %", "Bytes a message", "Remarks",
)  # fmt: skip
LOAD_TOO_BUSY: Final = 0.9  # of its core: then the figures are those of the load
DISTURBED: Final = 0.05  # of both cores, used by programs that are not ours
POINTS: Final = (*range(1, 100), 99.5, 99.9, 100)  # percents of the distribution that are drawn
TARGETS: Final = {FanShape(1000, 1, 1): "fanout_1", FanShape(1000, 1, 16): "fanout_16"}
NOTES: Final = (
    (
        "CPU is all that the server's process used, user and system, while it was loaded. Latency is from the sender's "
        f"write to the receiver's read, taken at {TIMED} clients spread evenly, and includes the time that the one "
        "load program needs to read all others."
    ),
    (
        "All servers get the same frames from the same sender at the same pace, at which Comet's core is "
        f"{BUSY:.0%} busy, and the baselines send the very bytes that Comet was recorded to send; what they lack is "
        "everything else: Redis, sessions, order. `websockets.broadcast` is called once for each message; where it "
        f"can't keep Comet's pace up it has its own, at which its core is {BUSY:.0%} busy."
    ),
)
ROOMS_NOTE: Final = (
    "In a small room a message's way in (receiving it, storing it in Redis, PubSub, forwarding) costs more than "
    "bringing it to ten clients; the baselines have no such way, so the ratio is not one of fan-out alone."
)


async def fanout(bed: TestBed, options: RunOptions) -> Report:
    """Measure one room with all numbers of clients and of messages a flush."""
    clients, bursts = _sizes(options)
    fans: list[Fan] = []
    for count in clients:
        fans += await fan_out(bed, options, count, 1, bursts)
    middle = clients[len(clients) // 2]
    charts = [ages_chart("fanout-latency", fans, FanShape(middle, 1, bursts[0]))]
    if len(bursts) > 1:
        charts.insert(0, costs_chart("fanout-cost", fans, middle))
    if SWEPT.clients in clients and SWEPT.burst in bursts:
        charts.append(sweep_chart("fanout-throughput", await sweep(bed, options, SWEPT, SHARES), SWEPT))
    found = measured(fans)
    profiles = {key: await costs(bed, options, shape) for shape, key in TARGETS.items() if key in missed(found)}
    title = "Fan-out: one room, many clients"
    return Report("fanout", title, COLUMNS, rows(fans), found, NOTES, charts, profiles)


def _sizes(options: RunOptions) -> tuple[Sequence[int], Sequence[int]]:
    """Return the numbers of clients and of messages a flush; a quick run measures fewer than the defaults."""
    clients, bursts = tuple(options.own["clients"]), tuple(options.own["burst"])
    return QUICK if options.quick and (clients, bursts) == (CLIENTS, BURSTS) else (clients, bursts)


async def rooms(bed: TestBed, options: RunOptions) -> Report:
    """Measure all clients in all rooms."""
    clients, count, bursts = options.own["clients"], options.own["rooms"], options.own["burst"]
    evenly(clients, count)
    fans = await fan_out(bed, options, clients, count, bursts)
    title, notes = f"Many rooms: {clients:,} clients in {count:,} rooms", (*NOTES, ROOMS_NOTE)
    chart = ages_chart("rooms-latency", fans, FanShape(clients, count, bursts[0]))
    return Report("rooms", title, COLUMNS, rows(fans), (), notes, [chart])


# -- the report --------------------------------------------------------------------------------------------------------


def rows(fans: Sequence[Fan]) -> list[list[Cell]]:
    """Return a row for each server and shape."""
    bare = {fan.shape: fan for fan in fans if fan.name == BARE}
    return [_row(fan, bare.get(fan.shape)) for fan in fans]


def _row(fan: Fan, bare: Fan | None) -> list[Cell]:
    taken, shape = fan.taken, fan.shape
    return [
        shape.clients,
        shape.rooms,
        shape.burst,
        fan.name,
        over([one.us_per_delivery for one in taken]),
        over(ratios(fan, bare)) if bare is not None and fan.name != BARE else None,
        median([one.messages / one.seconds for one in taken]),
        over([one.age_ms(50) for one in taken]),
        over([one.age_ms(99) for one in taken]),
        median([one.busy * 100 for one in taken]),
        median([one.load_busy * 100 for one in taken]),
        round(sum(one.received_bytes for one in taken) / sum(one.messages for one in taken)),
        "; ".join(remarks(fan)),
    ]


def ratios(fan: Fan, bare: Fan) -> list[float]:
    """Return the cost of a delivery over that of the bare write, repetition by repetition."""
    return [one.us_per_delivery / other.us_per_delivery for one, other in zip(fan.taken, bare.taken, strict=True)]


def remarks(fan: Fan) -> list[str]:
    """Return the flaws of a row."""
    taken = fan.taken
    found = ["at its own pace"] if fan.own_pace else []
    if (busy := max(one.load_busy for one in taken)) > LOAD_TOO_BUSY:
        found.append(f"**the load was the bottleneck** ({busy:.0%} of its core)")
    if (lost := sum(one.expected - one.messages for one in taken)) > 0:
        found.append(f"**{lost:,} of {sum(one.expected for one in taken):,} deliveries missing**")
    if codes := [code for one in taken for code in one.refused]:
        found.append(
            f"**{sum(sum(one.refused.values()) for one in taken)} sends refused, the first with** `{codes[0]}`"
        )
    if gone := sum(one.gone for one in taken):
        found.append(f"**{gone} clients cut off**")
    return found + doubts(fan)


def doubts(fan: Fan) -> list[str]:
    """Return the reasons to doubt the figures."""
    found = []
    if (others := max(one.others_busy for one in fan.taken)) > DISTURBED:
        found.append(f"disturbed: other programs used {others:.0%} of both cores")
    if (joined := max(one.joined(fan.shape.burst) for one in fan.taken)) > JOINED:
        found.append(f"{joined:.1f} flushes joined to a read")
    return found


def measured(fans: Sequence[Fan]) -> list[Measured]:
    """Return the figures for the targets."""
    by_key = {(fan.shape, fan.name): fan for fan in fans}
    found = []
    for shape, key in TARGETS.items():
        comet, bare = by_key.get((shape, COMET)), by_key.get((shape, BARE))
        if comet is not None and bare is not None:
            us, bare_us = (Spread.of(one.us_per_delivery for one in fan.taken).median for fan in (comet, bare))
            why = f"{us:.3g} us against {bare_us:.3g} us; see the costs below the table"
            doubt = "; ".join(dict.fromkeys(doubts(comet) + doubts(bare)))
            found.append(Measured(key, Spread.of(ratios(comet, bare)).median, why, doubt))
    return found


def costs_chart(name: str, fans: Sequence[Fan], clients: int) -> Chart:
    """Draw the cost of a delivery against the messages a flush."""
    series = []
    for server in dict.fromkeys(fan.name for fan in fans):
        mine = [fan for fan in fans if fan.name == server and fan.shape.clients == clients]
        spreads = [Spread.of(one.us_per_delivery for one in fan.taken) for fan in mine]
        series.append(
            Series(
                server,
                [fan.shape.burst for fan in mine],
                [one.median for one in spreads],
                [one.low for one in spreads],
                [one.high for one in spreads],
            )
        )
    title = f"What a delivery costs, {clients:,} clients in a room"
    return Chart(name, title, "messages a flush", "CPU of the server, us per delivery", series, log_x=True, log_y=True)


def ages_chart(name: str, fans: Sequence[Fan], shape: FanShape) -> Chart:
    """Draw how old messages are when they are received, of the last repetition."""
    mine = [fan for fan in fans if fan.shape == shape]
    series = [Series(fan.name, [fan.taken[-1].age_ms(point) for point in POINTS], POINTS) for fan in mine]
    title = f"Latency, {shape.clients:,} clients in {_rooms(shape.rooms)}, {_messages(shape.burst)} a flush"
    return Chart(name, title, "ms from send to receive", "% of the messages", series, log_x=True)


def sweep_chart(name: str, found: Sequence[tuple[str, Taken]], shape: FanShape) -> Chart:
    """Draw deliveries a second against the CPU that they take."""
    series = []
    for server in dict.fromkeys(one for one, _ in found):
        mine = [taken for one, taken in found if one == server]
        series.append(Series(server, [one.messages / one.seconds for one in mine], [one.busy * 100 for one in mine]))
    title = (
        f"Throughput against CPU, {shape.clients:,} clients in {_rooms(shape.rooms)}, {_messages(shape.burst)} a flush"
    )
    return Chart(name, title, "deliveries a second", "% of the server's core", series)


def _rooms(count: int) -> str:
    return "a room" if count == 1 else f"{count:,} rooms"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


FANOUT: Final = Benchmark(
    "fanout",
    "CPU per delivery and latency of a room's messages, for many clients and many messages a flush.\n\n"
    "Against bare joined socket writes and `websockets.broadcast`.",
    "python -m bench fanout --clients 1000 --burst 16",
    4.0,
    fanout,
    (
        option("--clients", click.IntRange(1), CLIENTS, "Clients in the room", multiple=True),
        option("--burst", click.IntRange(1, 100), BURSTS, "Messages a flush", multiple=True),
    ),
)
ROOMS: Final = Benchmark(
    "rooms",
    "The same with many small rooms on one node.",
    "python -m bench rooms --clients 1000 --rooms 100",
    4.0,
    rooms,
    (
        option("--clients", click.IntRange(1), 10_000, "Clients, all together"),
        option("--rooms", click.IntRange(1), 1000, "Rooms that they are spread over"),
        option("--burst", click.IntRange(1, 100), (1, 16), "Messages a flush", multiple=True),
    ),
)
