"""Part `connections`: what an idle connection takes, what connecting costs, and how fast everybody is back.

Each repetition has servers of its own, whose memory nobody used before. In Comet's rooms somebody has written before
the clients come, and writes again while they are cut off; each of them must be told exactly that when it is back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases.server_under_test import BARE, COMET, CONTENT_BYTES, SERVE, ServerUnderTest, fitting, server_under_test
from bench.load.cores import Cores
from bench.load.crowd_connect import GIVE_UP_S, Way
from bench.load.json_subprocess import JsonSubprocess, json_subprocess
from bench.report.measures import KIB, Memory, Spread, cpu_seconds, memory
from bench.report.results import Cell, Result
from bench.report.targets import Measured
from testbed.bed import TestBed

COLUMNS: Final = (
    "Server", "What", "Clients", "KiB each", "KiB each, resident", "A second", "CPU us each", "Half in, s",
    "99 % in, s", "All in, s", "Connections tried", "Load's core busy, %", "Remarks",
)  # fmt: skip
WRITTEN: Final = 5  # messages in each room before the clients come, and again while they are away
AUTHOR_PERIOD_S: Final = 0.001
AT_ONCE: Final = 50  # opening handshakes at the same time; fewer than any server lets wait
NOTES: Final = (
    (
        "Memory is what the server's process has for itself (USS) and what is resident (RSS), with all clients idle, "
        "less what it had before they came, by client; the kernel's socket buffers are not in it. Comet's connections "
        "have a session, a user and a room. `permessage-deflate offered` is what browsers do; Comet has it off by "
        "default."
    ),
    (
        f"Clients connect {AT_ONCE} at a time. Those that come back do so all at once, after their connections were "
        f"cut and {WRITTEN} messages were written to each room: for Comet one is back when it was told exactly those "
        "(`recovered: true`), for `websockets.serve` when the handshake is over."
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of server and rooms."""

    server: str
    rooms: int
    deflate: bool = False

    def what(self, clients: int) -> str:
        """Say what is special about it."""
        if self.server == COMET:
            return "one room" if self.rooms == 1 else f"{self.rooms:,} rooms of {clients // self.rooms}"
        return "permessage-deflate offered" if self.deflate else ""


@dataclass(frozen=True, slots=True)
class Came:
    """What it took to let all clients in."""

    clients: int
    server_s: float
    answer: dict[str, Any]
    memory: Memory | None = None  # that they take together
    remark: str = ""


async def run(bed: TestBed, options: Options) -> Result:
    """Measure all cases, repetition by repetition."""
    asked, rooms = options.own["clients"], options.own["rooms"]
    if asked % rooms:
        raise click.BadParameter(f"{asked} clients can't be spread evenly over {rooms} rooms")
    clients = fitting(asked) // rooms * rooms
    cases = [Case(COMET, 1), Case(COMET, rooms), Case(SERVE, 1), Case(SERVE, 1, deflate=True), Case(BARE, 1)]
    connects: dict[Case, list[Came]] = {case: [] for case in cases}
    returns: dict[Case, list[Came]] = {case: [] for case in cases if not case.deflate}
    for repetition in range(options.repeat):
        for case in cases:
            options.progress.say(
                f"{clients:,} clients, {case.server} {case.what(clients)}, {repetition + 1} of {options.repeat}"
            )
            came, back = await _measure(bed, case, clients, options.seconds)
            connects[case].append(came)
            if back is not None:
                returns[case].append(back)
    rows = [_row(case, "connect", found) for case, found in connects.items()]
    rows += [_row(case, "all back at once", found) for case, found in returns.items()]
    idle = Spread.of(_kib(came) for came in connects[cases[0]]).median
    less = (
        ()
        if clients == asked
        else (f"The limit of open files allows only {clients:,} of the {asked:,} clients asked for.",)
    )
    return Result(
        "connections",
        f"{clients:,} connections",
        COLUMNS,
        rows,
        [Measured("idle_kib", idle, _why(idle, connects))],
        (*NOTES, *less),
    )


async def _measure(bed: TestBed, case: Case, clients: int, settle_s: float) -> tuple[Came, Came | None]:
    """Let all in, take the memory when they have been idle for a while, cut all off, and let all come back."""
    cores = Cores.here()
    async with (
        server_under_test(bed, cores, case.server) as one,
        json_subprocess(bed.guard, "fanout_clients", core=cores.load) as authors,
    ):
        way = Way(one.port, clients, "idle", case.rooms, AT_ONCE, case.deflate, greeted=case.server != SERVE)
        await authors.ask(do="come", **asdict(Way(one.port, case.rooms, "idle", case.rooms, greeted=way.greeted)))
        await _write(authors, case)
        await asyncio.sleep(settle_s)
        before = memory(one.pid)
        came = await _come(one, way)
        await asyncio.sleep(settle_s)
        after = memory(one.pid)
        taken = Memory(after.rss_bytes - before.rss_bytes, after.uss_bytes - before.uss_bytes)
        if case.deflate:  # it comes back as without
            return replace(came, memory=taken), None
        await one.clients.ask(do="leave")
        await _write(authors, case)
        back = replace(way, in_flight=clients, everybody=False, back=case.server == COMET)
        returned = await _come(one, back)
    return replace(came, memory=taken), replace(returned, remark=_remark(returned, back))


def _remark(returned: Came, way: Way) -> str:
    """Say who is not back, or was not told what it missed."""
    missing, recovered = returned.answer["missing"], returned.answer["recovered"]
    found = [f"**{missing:,} not back within {GIVE_UP_S:.0f} s**"] if missing else []
    if way.back and recovered < way.clients - missing:
        found.append(f"**{way.clients - missing - recovered:,} not recovered**")
    if way.back and returned.answer["told"] != recovered * WRITTEN:
        found.append(f"**{returned.answer['told']:,} missed messages told instead of {recovered * WRITTEN:,}**")
    return "; ".join(found)


async def _come(one: ServerUnderTest, way: Way) -> Came:
    begun = cpu_seconds(one.pid)
    answer = await one.come(way)
    return Came(way.clients, cpu_seconds(one.pid) - begun, answer)


async def _write(authors: JsonSubprocess, case: Case) -> None:
    """Let the authors write to each of Comet's rooms once."""
    if case.server == COMET:
        seconds = AUTHOR_PERIOD_S * (case.rooms - 0.5)
        await authors.ask(
            do="load", seconds=seconds, period_s=AUTHOR_PERIOD_S, burst=WRITTEN, content_bytes=CONTENT_BYTES
        )


def _row(case: Case, what: str, found: Sequence[Came]) -> list[Cell]:
    answers = [one.answer for one in found]
    missing = any(one["missing"] for one in answers)
    return [
        case.server,
        ", ".join(filter(None, (what, case.what(found[0].clients)))),
        found[0].clients,
        Spread.of(_kib(one) for one in found) if found[0].memory is not None else None,
        Spread.of(one.memory.rss_bytes / KIB / one.clients for one in found if one.memory is not None).median
        if found[0].memory is not None
        else None,
        Spread.of((one.clients - one.answer["missing"]) / one.answer["seconds"] for one in found).median,
        Spread.of(one.server_s * 1e6 / (one.clients - one.answer["missing"]) for one in found),
        Spread.of(one["half_s"] for one in answers).median,
        Spread.of(one["most_s"] for one in answers).median,
        None if missing else Spread.of(one["seconds"] for one in answers),
        round(Spread.of(one["tries"] for one in answers).median),
        Spread.of(one["cpu_s"] / one["seconds"] * 100 for one in answers).median,
        "; ".join(dict.fromkeys(one.remark for one in found if one.remark)),
    ]


def _kib(came: Came) -> float:
    """Return what a connection takes of the server's own memory."""
    assert came.memory is not None  # noqa: S101 - it was taken
    return came.memory.uss_bytes / KIB / came.clients


def _why(kib: float, connects: dict[Case, list[Came]]) -> str:
    serve = next(found for case, found in connects.items() if case.server == SERVE)
    return f"{kib:.3g} KiB against {Spread.of(_kib(came) for came in serve).median:.3g} KiB of websockets.serve"


BENCHMARK: Final = Benchmark(
    name="connections",
    about="Memory of idle connections, what connecting costs, and how fast all are back after a cut.\n\n"
    "Against `websockets.serve` with its defaults.",
    example="python -m bench connections --clients 1000 --rooms 100",
    seconds=2.0,
    run=run,
    options=(
        click.Option(["--clients"], type=click.IntRange(1), default=10_000, show_default=True, help="Connections."),
        click.Option(
            ["--rooms"], type=click.IntRange(1), default=1000, show_default=True, help="Rooms of the second case."
        ),
    ),
)
