"""Benchmark `ingest`: the whole pipeline, both paths, with the rate raised until something does not keep up any more.

The rate is searched for first; then it must hold in every repetition, with a ledger over all messages. If it does not,
the next lower one is tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import click

from bench.benchmark import Benchmark, RunOptions, option
from bench.load.connect import ClientPlan
from bench.load.ledger import Books, books, topic_ends
from bench.load.pipeline_load import PROCESSES, Measurement, doubt, largest_costs, pipeline_load, us_of
from bench.measures import Spread
from bench.report.pictures import Chart, Series
from bench.report.results import Cell, Measured, Report, over, target
from testbed.bed import TestBed
from testbed.stack import Stack

STEP: Final = 1.4
LEAST_RATE: Final = 100.0
CLOSE: Final = 1.1  # at most, the lowest rate that did not hold over the highest that held, when the search ends
LOWER: Final = 1.15
LOWER_TRIES: Final = 4  # rates at which the repetitions are tried

COLUMNS: Final = (
    "msg/s offered", "msg/s acked", "p50 ms", "p99 ms", "calls/msg", *(f"{name} us/msg" for name in PROCESSES),
    "load cores", "others' cores", "keeps up",
)  # fmt: skip


class RateSearch:
    """The search: `next_rate` returns a rate to try, `tell` takes the outcome, until `next_rate` returns None."""

    def __init__(self, first: float, least: float = LEAST_RATE, most: float = inf) -> None:
        self._first = min(first, most)
        self._least = least
        self._most = most
        self.held: float | None = None  # the highest rate that was kept up with
        self.failed: float | None = None  # the lowest that was not

    def next_rate(self) -> float | None:
        """Return the next rate to try; None when it is found, or when not even the least one is kept up with."""
        if self.held is None and self.failed is None:
            return self._first
        if self.failed is None:
            assert self.held is not None  # noqa: S101 - for the type checker
            return min(self.held * STEP, self._most) if self.held < self._most else None
        if self.held is None:
            lower = self.failed / STEP
            return lower if lower >= self._least else None
        return (self.held * self.failed) ** 0.5 if self.failed / self.held > CLOSE else None

    def tell(self, rate: float, *, held: bool) -> None:
        """Take note of a try."""
        if held:
            self.held = max(rate, self.held or 0.0)
        else:
            self.failed = min(rate, self.failed or rate)


@dataclass(frozen=True, slots=True)
class Held:
    """The repetitions at one rate."""

    rate: float
    found: Sequence[Measurement]
    books: Sequence[Books]

    @property
    def why_not(self) -> str:
        """Why the rate did not hold, '' if it did."""
        faults = [one.verdict.why for one in self.found if one.verdict.why]
        return "; ".join(faults + [fault for one in self.books for fault in one.faults[:2]])


async def run(bed: TestBed, options: RunOptions) -> Report:
    """Search, repeat, audit."""
    own = options.own
    plan = ClientPlan(own["rooms"] * own["members"], "search", own["rooms"])
    search, steps = RateSearch(own["rate"], most=own["most"]), list[Measurement]()
    async with bed.pipeline() as pipeline:
        async with pipeline_load(bed, pipeline, plan, own["bytes"]) as clients:
            while rate := search.next_rate():
                steps.append(await clients.run(rate, options.seconds))
                search.tell(rate, held=not steps[-1].verdict.why)
                options.progress.say(f"ingest: {rate:,.0f}/s: {steps[-1].verdict.why or 'kept up'}")
                await clients.settled()
        held = await _repeat(bed, pipeline, plan, search.held or LEAST_RATE, options)
    profile = "" if _met(held) else await largest_costs(bed, plan, max(held.rate, own["rate"] / 2), options.seconds)
    return _report(steps, held, profile, own)


async def _repeat(bed: TestBed, pipeline: Stack, plan: ClientPlan, rate: float, options: RunOptions) -> Held:
    """Return the repetitions at the highest rate, from this one down, that holds in all of them."""
    for nth in range(LOWER_TRIES):
        held = Held(rate, *await _repetitions(bed, pipeline, plan, rate, f"try{nth}", options))
        if not held.why_not:
            break
        options.progress.say(f"ingest: {rate:,.0f}/s does not hold: {held.why_not[:300]}")
        rate /= LOWER
    return held


async def _repetitions(  # noqa: PLR0913, PLR0917 - where, and how
    bed: TestBed, pipeline: Stack, plan: ClientPlan, rate: float, room: str, options: RunOptions
) -> tuple[list[Measurement], list[Books]]:
    found, audits = list[Measurement](), list[Books]()
    for k in range(options.repeat):
        begin = await topic_ends(pipeline)
        new_rooms = replace(plan, room=f"{room}-{k}", keep=True)
        async with pipeline_load(bed, pipeline, new_rooms, options.own["bytes"]) as clients:
            found.append(await clients.run(rate, 2 * options.seconds))
            await clients.settled()
            audits.append(await books(pipeline, await clients.seen(), begin))
        what = found[-1].verdict.why or "kept up"
        options.progress.say(f"ingest: {rate:,.0f}/s, {k + 1} of {options.repeat}: {what}, {_said(audits[-1])}")
        if found[-1].verdict.why or audits[-1].faults:
            break
    return found, audits


def _said(books: Books) -> str:
    return f"{len(books.faults)} faults in the ledger" if books.faults else f"all {books.acked:,} acked accounted for"


# -- the report ----------------------------------------------------------------------------------------------------


def _report(steps: Sequence[Measurement], held: Held, profile: str, own: Mapping[str, Any]) -> Report:
    rate = 0.0 if held.why_not else Spread.of(one.acked_per_s for one in held.found).median
    calls = Spread.of(one.calls_per_message for one in held.found)
    steps = sorted(steps, key=lambda one: one.rate)
    said = doubt(held.found)
    measured = [Measured("ingest", rate, _why_missed(held), said), Measured("calls", calls.median, "", said)]
    return Report(
        "ingest",
        f"Sustained ingest: {own['rooms']} rooms of {own['members']}, both paths, one Comet",
        COLUMNS,
        [*(_row([one]) for one in steps), _row(held.found)],
        measured if (own["rooms"], own["members"]) == (100, 10) else [],
        _notes(held, own),
        [_chart(steps)],
        {"ingest": profile} if profile else {},
    )


def _met(held: Held) -> bool:
    return not held.why_not and target("ingest").met_by(Spread.of(one.acked_per_s for one in held.found).median)


def _why_missed(held: Held) -> str:
    """Return the limit of the rate: a fault, or else the process that used most of a core."""
    cores = {name: max(one.cores()[name] for one in held.found) for name in held.found[0].cpu_s}
    busiest = max(cores, key=lambda name: cores[name])
    return held.why_not or f"{busiest} used {cores[busiest]:.2f} of a core, all together {sum(cores.values()):.2f}"


def _row(found: Sequence[Measurement]) -> list[Cell]:
    return [
        found[0].rate,
        over([one.acked_per_s for one in found]),
        over([one.age_ms(50) for one in found]),
        over([one.age_ms(99) for one in found]),
        over([one.calls_per_message for one in found]),
        *(over(us_of(name, found)) for name in PROCESSES),
        over([one.cores()["load"] for one in found]),
        over([one.others_cores for one in found]),
        next((one.verdict.why for one in found if one.verdict.why), "yes"),
    ]


def _notes(held: Held, own: Mapping[str, Any]) -> list[str]:
    acked, repeats = sum(one.acked for one in held.books), sum(one.repeats_in_kafka for one in held.books)
    said = "; ".join(fault for one in held.books for fault in one.faults) or (
        f"every one of {acked:,} acked messages is in the history and in Kafka ({repeats:,} of them twice) and came "
        "once, in order, to every client of its room"
    )
    grown = ", ".join(
        f"{name} {max(abs(one.verdict.growth[name]) for one in held.found):,.0f}/s"
        for name in held.found[0].verdict.growth
    )
    oldest = max((look.oldest_s for one in held.found for look in one.backlogs), default=0.0)
    return [
        (f"The last row is the sustained rate, of several repetitions the medians with their spread. Ledger: {said}."),
        f"What waits changes at that rate by at most: {grown}; the oldest entry of the outbox was {oldest:.2f} s old.",
        (
            f"All {own['rooms'] * own['members']:,} clients send and receive; contents of {own['bytes']} bytes. "
            "Redis, Kafka, Logic, Job, Comet and the load share the machine's cores. p50 and p99 are send to one "
            "client of each room."
        ),
    ]


def _chart(steps: Sequence[Measurement]) -> Chart:
    rates = [one.acked_per_s for one in steps]
    series = [
        Series(name, rates, [one.cores()[name] for one in steps])
        for name in PROCESSES
        if all(name in one.cpu_s for one in steps)
    ]
    return Chart("ingest", "Throughput against CPU, both paths", "messages acked a second", "cores used", series)


INGEST: Final = Benchmark(
    "ingest",
    "Sustained ingest: raise the rate until the pipeline does not keep up, with a ledger over every message.",
    "python -m bench ingest --rate 5000 --seconds 5",
    4.0,
    run,
    [
        option("--rate", click.FloatRange(100), 3000, "Messages a second to begin with"),
        option("--most", click.FloatRange(100), 100_000, "Messages a second past which no rate is tried"),
        option("--rooms", click.IntRange(1), 100, "Rooms"),
        option("--members", click.IntRange(1), 10, "Clients in each room"),
        option("--bytes", click.IntRange(36), 100, "Size of a content"),
    ],
)
