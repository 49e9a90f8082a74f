"""Rows, targets and pictures of measured fan-outs. Pure."""

from collections.abc import Sequence
from typing import Final

from bench.cases.fan import BUSY, JOINED, Fan, Shape
from bench.cases.server_under_test import BARE, COMET, Taken
from bench.load.fanout_clients import POINTS
from bench.report.charts import Chart, Series
from bench.report.measures import Spread
from bench.report.results import Cell
from bench.report.targets import Measured

COLUMNS: Final = (
    "Clients", "Rooms", "Messages a flush", "Server", "CPU us per delivery", "x bare", "Deliveries/s", "p50, ms",
    "p99, ms", "Server's core busy, %", "Load's core busy, %", "Bytes a message", "Remarks",
)  # fmt: skip
LOAD_TOO_BUSY: Final = 0.9  # of its core: then the load is what was measured
DISTURBED: Final = 0.05  # of both cores, used by programs that are not ours
P50, P99 = POINTS.index(50), POINTS.index(99)
TARGETS: Final = {Shape(1000, 1, 1): "fanout_1", Shape(1000, 1, 16): "fanout_16"}
NOTES: Final = (
    (
        "CPU is all that the server's process used, user and system, while it was loaded. Latency is from the sender's "
        "write to the receiver's read, taken at 200 clients spread evenly, and includes the time that the one load "
        "program needs to read all others."
    ),
    (
        "All servers get the same frames from the same sender at the same pace, at which Comet's core is "
        f"{BUSY:.0%} busy, and the baselines send the very bytes that Comet was recorded to send; what they lack is "
        "everything else: Redis, sessions, order. `websockets.broadcast` is called once for each message; where it "
        f"can't keep Comet's pace up it has its own, at which its core is {BUSY:.0%} busy."
    ),
)


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
        Spread.of(one.us_per_delivery for one in taken),
        ratio(fan, bare) if bare is not None and fan.name != BARE else None,
        Spread.of(one.messages / one.seconds for one in taken).median,
        Spread.of(one.ages_ms[P50] for one in taken),
        Spread.of(one.ages_ms[P99] for one in taken),
        Spread.of(one.busy * 100 for one in taken).median,
        Spread.of(one.load_busy * 100 for one in taken).median,
        round(sum(one.received_bytes for one in taken) / sum(one.messages for one in taken)),
        "; ".join(remarks(fan)),
    ]


def ratio(fan: Fan, bare: Fan) -> Spread:
    """Return what a delivery costs against the bare write, repetition by repetition."""
    return Spread.of(
        one.us_per_delivery / other.us_per_delivery for one, other in zip(fan.taken, bare.taken, strict=True)
    )


def remarks(fan: Fan) -> list[str]:
    """Say what speaks against a row."""
    taken = fan.taken
    found = ["at its own pace"] if fan.own_pace else []
    if (busy := max(one.load_busy for one in taken)) > LOAD_TOO_BUSY:
        found.append(f"**the load was the bottleneck** ({busy:.0%} of its core)")
    if (lost := sum(one.expected - one.messages for one in taken)) > 0:
        found.append(f"**{lost:,} of {sum(one.expected for one in taken):,} deliveries missing**")
    if errors := [error for one in taken for error in one.errors]:
        found.append(f"**{len(errors)} sends refused, the first with** `{refusal(errors[0])}`")
    if gone := sum(one.gone for one in taken):
        found.append(f"**{gone} clients cut off**")
    return found + doubts(fan)


def refusal(error: str) -> str:
    """Return the code of an error frame."""
    return error.partition('"code":"')[2].partition('"')[0] or error


def doubts(fan: Fan) -> list[str]:
    """Say what makes a figure another one than was meant."""
    found = []
    if (others := max(one.others_busy for one in fan.taken)) > DISTURBED:
        found.append(f"disturbed: other programs used {others:.0%} of both cores")
    if (joined := max(one.joined(fan.shape.burst) for one in fan.taken)) > JOINED:
        found.append(f"{joined:.1f} flushes joined to a read")
    return found


def measured(fans: Sequence[Fan]) -> list[Measured]:
    """Return what was found for the targets."""
    by_key = {(fan.shape, fan.name): fan for fan in fans}
    found = []
    for shape, key in TARGETS.items():
        comet, bare = by_key.get((shape, COMET)), by_key.get((shape, BARE))
        if comet is not None and bare is not None:
            us, bare_us = (Spread.of(one.us_per_delivery for one in fan.taken).median for fan in (comet, bare))
            why = f"{us:.3g} us against {bare_us:.3g} us; see the costs below the table"
            doubt = "; ".join(dict.fromkeys(doubts(comet) + doubts(bare)))
            found.append(Measured(key, ratio(comet, bare).median, why, doubt))
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


def ages_chart(name: str, fans: Sequence[Fan], shape: Shape) -> Chart:
    """Draw how old messages are when they are received, of the last repetition."""
    mine = [fan for fan in fans if fan.shape == shape]
    series = [Series(fan.name, fan.taken[-1].ages_ms, list(POINTS)) for fan in mine]
    title = f"Latency, {shape.clients:,} clients in {_rooms(shape.rooms)}, {_messages(shape.burst)} a flush"
    return Chart(name, title, "ms from send to receive", "% of the messages", series, log_x=True)


def sweep_chart(name: str, found: Sequence[tuple[str, Taken]], shape: Shape) -> Chart:
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
