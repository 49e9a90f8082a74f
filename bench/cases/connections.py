"""Benchmark `connections`: memory of idle connections, the cost of connecting, and the time until all are back.

Each repetition has servers of its own, whose memory is unused. Authors write to Comet's rooms before the clients
connect, and again while the clients are cut off. Each client must get exactly the missed messages when it resumes.
"""

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import click

from bench.benchmark import Benchmark, RunOptions, evenly, option
from bench.cases.server_under_test import BARE, COMET, CONTENT_BYTES, SERVE, ServerUnderTest, fitting, server_under_test
from bench.load.connect import GIVE_UP_S, ClientPlan
from bench.load.generator import SendPlan
from bench.load.json_subprocess import JsonSubprocess, json_subprocess
from bench.measures import KIB, Cores, Memory, cpu_seconds, memory
from bench.report.results import Cell, Measured, Report, median, over
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
class ConnectionCase:
    """One kind of server and rooms."""

    server: str
    rooms: int
    deflate: bool = False

    def what(self, clients: int) -> str:
        """Return a description of the rooms or of the connections."""
        if self.server == COMET:
            return "one room" if self.rooms == 1 else f"{self.rooms:,} rooms of {clients // self.rooms}"
        return "permessage-deflate offered" if self.deflate else ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One time that all clients connected."""

    clients: int
    server_s: float
    answer: dict[str, Any]
    memory: Memory | None = None  # of all connections together
    remark: str = ""


async def run(bed: TestBed, options: RunOptions) -> Report:
    """Measure all cases, repetition by repetition."""
    asked, rooms = options.own["clients"], options.own["rooms"]
    evenly(asked, rooms)
    clients = fitting(asked) // rooms * rooms
    cases = [
        ConnectionCase(COMET, 1),
        ConnectionCase(COMET, rooms),
        ConnectionCase(SERVE, 1),
        ConnectionCase(SERVE, 1, deflate=True),
        ConnectionCase(BARE, 1),
    ]
    connects: dict[ConnectionCase, list[Arrival]] = {case: [] for case in cases}
    returns: dict[ConnectionCase, list[Arrival]] = {case: [] for case in cases if not case.deflate}
    for repetition in range(options.repeat):
        for case in cases:
            said = ", ".join(filter(None, (case.server, case.what(clients))))
            options.progress.say(f"{clients:,} clients, {said}, {repetition + 1} of {options.repeat}")
            came, back = await _measure(bed, case, clients, options.seconds)
            connects[case].append(came)
            if back is not None:
                returns[case].append(back)
    rows = [_row(case, "connect", found) for case, found in connects.items()]
    rows += [_row(case, "all back at once", found) for case, found in returns.items()]
    notes = [*NOTES]
    if clients < asked:
        notes.append(f"The limit of open files allows only {clients:,} of the {asked:,} clients asked for.")
    return Report("connections", f"{clients:,} connections", COLUMNS, rows, [_idle_target(connects)], notes)


async def _measure(bed: TestBed, case: ConnectionCase, clients: int, settle_s: float) -> tuple[Arrival, Arrival | None]:
    """Connect all clients, take the memory when they have been idle for a while, cut all off, and let them resume."""
    cores = Cores.here()
    async with (
        server_under_test(bed, cores, case.server) as one,
        json_subprocess(bed.guard, "generator", core=cores.load) as authors,
    ):
        plan = ClientPlan(clients, "idle", case.rooms, [one.port], AT_ONCE, case.deflate, greeted=case.server != SERVE)
        await authors.ask(do="connect", **asdict(replace(plan, clients=case.rooms, deflate=False)))
        await _write(authors, case)
        await asyncio.sleep(settle_s)
        before = memory(one.pid)
        came = await _connect(one, plan)
        await asyncio.sleep(settle_s)
        after = memory(one.pid)
        taken = Memory(after.rss_bytes - before.rss_bytes, after.uss_bytes - before.uss_bytes)
        if case.deflate:  # it comes back as without
            return replace(came, memory=taken), None
        await one.clients.ask(do="leave")
        await _write(authors, case)
        back = replace(plan, in_flight=clients, everybody=False, back=case.server == COMET)
        returned = await _connect(one, back)
    return replace(came, memory=taken), replace(returned, remark=_remark(returned, back))


def _remark(returned: Arrival, plan: ClientPlan) -> str:
    """Return how many clients are not back, or did not get the missed messages."""
    missing, recovered = returned.answer["missing"], returned.answer["recovered"]
    found = [f"**{missing:,} not back within {GIVE_UP_S:.0f} s**"] if missing else []
    if plan.back and recovered < plan.clients - missing:
        found.append(f"**{plan.clients - missing - recovered:,} not recovered**")
    if plan.back and returned.answer["told"] != recovered * WRITTEN:
        found.append(f"**{returned.answer['told']:,} missed messages told instead of {recovered * WRITTEN:,}**")
    return "; ".join(found)


async def _connect(one: ServerUnderTest, plan: ClientPlan) -> Arrival:
    begun = cpu_seconds(one.pid)
    answer = await one.connect(plan)
    return Arrival(plan.clients, cpu_seconds(one.pid) - begun, answer)


async def _write(authors: JsonSubprocess, case: ConnectionCase) -> None:
    """Let the authors write to each of Comet's rooms once."""
    if case.server == COMET:
        seconds = AUTHOR_PERIOD_S * (case.rooms - 0.5)
        await authors.ask(do="load", **asdict(SendPlan(1 / AUTHOR_PERIOD_S, seconds, WRITTEN, CONTENT_BYTES)))


def _row(case: ConnectionCase, what: str, found: Sequence[Arrival]) -> list[Cell]:
    answers, clients = [one.answer for one in found], found[0].clients
    all_in = not any(one["missing"] for one in answers)
    return [
        case.server,
        ", ".join(filter(None, (what, case.what(clients)))),
        clients,
        over(_kib_each(found)),
        median([one.memory.rss_bytes / KIB / clients for one in found if one.memory is not None]),
        median([(clients - one["missing"]) / one["seconds"] for one in answers]),
        over([one.server_s * 1e6 / (clients - one.answer["missing"]) for one in found]),
        median([one["half_s"] for one in answers]),
        median([one["most_s"] for one in answers]),
        over([one["seconds"] for one in answers]) if all_in else None,
        round(statistics.median(one["tries"] for one in answers)),
        median([one["cpu_s"] / one["seconds"] * 100 for one in answers]),
        "; ".join(dict.fromkeys(one.remark for one in found if one.remark)),
    ]


def _kib_each(found: Sequence[Arrival]) -> list[float]:
    """Return the server's own memory for each connection, in all repetitions in which it was taken."""
    return [one.memory.uss_bytes / KIB / one.clients for one in found if one.memory is not None]


def _idle_target(connects: Mapping[ConnectionCase, Sequence[Arrival]]) -> Measured:
    comet, serve = (
        statistics.median(_kib_each(next(found for case, found in connects.items() if case.server == server)))
        for server in (COMET, SERVE)
    )
    return Measured("idle_kib", comet, f"{comet:.3g} KiB against {serve:.3g} KiB of websockets.serve")


CONNECTIONS: Final = Benchmark(
    "connections",
    "Memory of idle connections, what connecting costs, and how fast all are back after a cut.\n\n"
    "Against `websockets.serve` with its defaults.",
    "python -m bench connections --clients 1000 --rooms 100",
    2.0,
    run,
    (
        option("--clients", click.IntRange(1), 10_000, "Connections"),
        option("--rooms", click.IntRange(1), 1000, "Rooms of the second case"),
    ),
)
