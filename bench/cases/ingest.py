"""Sustained ingest: the whole pipeline, both paths, with the rate raised until something does not keep up any more.

The rate is searched for first; then it must hold in every repetition, with a ledger over all messages. If it does not,
the next lower one is tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases import evidence
from bench.cases.rate_search import LEAST_RATE, RateSearch
from bench.cases.rates import doubt, over, us_of, warm_s
from bench.cases.where import largest_costs
from bench.load.ledger import Books
from bench.load.load import PROCESSES, Outcome, load
from bench.load.traffic import TrafficPlan
from bench.report.charts import Chart, Series
from bench.report.measures import Spread
from bench.report.results import Cell, Result
from bench.report.targets import TARGETS, Measured
from testbed.bed import Pipeline, TestBed

LOWER: Final = 1.15
LOWER_TRIES: Final = 4  # rates at which the repetitions are tried

COLUMNS: Final = (
    "msg/s offered",
    "msg/s acked",
    "p50 ms",
    "p99 ms",
    "calls/msg",
    *(f"{name} us/msg" for name in PROCESSES),
    "load cores",
    "others' cores",
    "keeps up",
)


@dataclass(frozen=True, slots=True)
class Held:
    """The repetitions at one rate."""

    rate: float
    outcomes: Sequence[Outcome]
    books: Sequence[Books]

    @property
    def why_not(self) -> str:
        """Why the rate did not hold, '' if it did."""
        faults = [one.verdict.why for one in self.outcomes if one.verdict.why]
        return "; ".join(faults + [fault for one in self.books for fault in one.faults[:2]])


async def run(bed: TestBed, options: Options) -> Result:
    """Search, repeat, audit."""
    own = options.own
    async with bed.pipeline() as pipeline:
        search, steps = RateSearch(own["rate"], most=own["most"]), list[Outcome]()
        plan = TrafficPlan(
            [one.ws_port for one in pipeline.comets],
            "search",
            own["rooms"],
            own["rooms"] * own["members"],
            own["bytes"],
            time_all=False,
            keep=False,
        )
        async with load(bed, pipeline, plan) as clients:
            while rate := search.next_rate():
                steps.append(await clients.run(rate, options.seconds, warm_s(options)))
                search.tell(rate, held=not steps[-1].verdict.why)
                options.progress.say(f"ingest: {rate:,.0f}/s: {steps[-1].verdict.why or 'kept up'}")
                await evidence.settled(pipeline)
        held = await _repeat(bed, pipeline, plan, search.held or LEAST_RATE, options)
    profile = "" if _met(held) else await largest_costs(bed, plan, max(held.rate, own["rate"] / 2), options.seconds)
    return _result(steps, held, profile, own)


async def _repeat(bed: TestBed, pipeline: Pipeline, plan: TrafficPlan, rate: float, options: Options) -> Held:
    """Return the repetitions at the highest rate, from this one down, that holds in all of them."""
    for nth in range(LOWER_TRIES):
        held = Held(rate, *await _repetitions(bed, pipeline, plan, rate, f"try{nth}", options))
        if not held.why_not:
            break
        options.progress.say(f"ingest: {rate:,.0f}/s does not hold: {held.why_not[:300]}")
        rate /= LOWER
    return held


async def _repetitions(  # noqa: PLR0913, PLR0917 - what they are made of
    bed: TestBed, pipeline: Pipeline, plan: TrafficPlan, rate: float, room: str, options: Options
) -> tuple[list[Outcome], list[Books]]:
    outcomes, books = list[Outcome](), list[Books]()
    for k in range(options.repeat):
        begin = await evidence.topic_ends(pipeline)
        new_rooms = TrafficPlan(
            plan.ports, f"{room}-{k}", plan.rooms, plan.clients, plan.content_bytes, time_all=False, keep=True
        )
        async with load(bed, pipeline, new_rooms) as clients:
            outcomes.append(await clients.run(rate, 2 * options.seconds, warm_s(options)))
            await evidence.settled(pipeline)
            books.append(await evidence.books(pipeline, await clients.seen(), begin))
        what = outcomes[-1].verdict.why or "kept up"
        options.progress.say(f"ingest: {rate:,.0f}/s, {k + 1} of {options.repeat}: {what}, {_said(books[-1])}")
        if outcomes[-1].verdict.why or books[-1].faults:
            break
    return outcomes, books


def _said(books: Books) -> str:
    return f"{len(books.faults)} faults in the ledger" if books.faults else f"all {books.acked:,} acked accounted for"


# -- the result ----------------------------------------------------------------------------------------------------


def _result(steps: Sequence[Outcome], held: Held, profile: str, own: Mapping[str, Any]) -> Result:
    rate = 0.0 if held.why_not else Spread.of(one.acked_per_s for one in held.outcomes).median
    calls = Spread.of(one.calls_per_message for one in held.outcomes)
    steps = sorted(steps, key=lambda one: one.rate)
    said = doubt(held.outcomes)
    measured = [Measured("ingest", rate, _why_missed(held), said), Measured("calls", calls.median, "", said)]
    return Result(
        "ingest",
        f"Sustained ingest: {own['rooms']} rooms of {own['members']}, both paths, one Comet",
        COLUMNS,
        [*(_row([one]) for one in steps), _row(held.outcomes)],
        measured if (own["rooms"], own["members"]) == (100, 10) else [],
        _notes(held, own),
        [_chart(steps)],
        {"ingest": profile} if profile else {},
    )


def _met(held: Held) -> bool:
    [target] = [one for one in TARGETS if one.key == "ingest"]
    return not held.why_not and target.met_by(Spread.of(one.acked_per_s for one in held.outcomes).median)


def _why_missed(held: Held) -> str:
    """Say what holds the rate back: a fault, or else the process that used most of a core."""
    cores = {name: max(one.cores()[name] for one in held.outcomes) for name in held.outcomes[0].cpu_s}
    busiest = max(cores, key=lambda name: cores[name])
    return held.why_not or f"{busiest} used {cores[busiest]:.2f} of a core, all together {sum(cores.values()):.2f}"


def _row(outcomes: Sequence[Outcome]) -> list[Cell]:
    return [
        outcomes[0].rate,
        over([one.acked_per_s for one in outcomes]),
        over([one.age_ms(50) for one in outcomes]),
        over([one.age_ms(99) for one in outcomes]),
        over([one.calls_per_message for one in outcomes]),
        *(over(us_of(name, outcomes)) for name in PROCESSES),
        over([one.cores()["load"] for one in outcomes]),
        over([one.others_cores for one in outcomes]),
        next((one.verdict.why for one in outcomes if one.verdict.why), "yes"),
    ]


def _notes(held: Held, own: Mapping[str, Any]) -> list[str]:
    acked, repeats = sum(one.acked for one in held.books), sum(one.repeats_in_kafka for one in held.books)
    said = "; ".join(fault for one in held.books for fault in one.faults) or (
        f"every one of {acked:,} acked messages is in the history and in Kafka ({repeats:,} of them twice) and "
        f"came once, "
        "in order, to every client of its room"
    )
    grown = ", ".join(
        f"{name} {max(abs(one.verdict.growth[name]) for one in held.outcomes):,.0f}/s"
        for name in held.outcomes[0].verdict.growth
    )
    oldest = max((look.oldest_s for one in held.outcomes for look in one.backlogs), default=0.0)
    return [
        (
            f"The last row is the sustained rate: {len(held.outcomes)} repetitions, medians with their spread. "
            f"Ledger: {said}."
        ),
        f"What waits changes at that rate by at most: {grown}; the oldest entry of the outbox was {oldest:.2f} s old.",
        (
            f"All {own['rooms'] * own['members']:,} clients send and receive; contents of {own['bytes']} bytes. "
            f"Redis, Kafka, "
            "Logic, Job, Comet and the load share the machine's cores. p50 and p99 are send to one client of each room."
        ),
    ]


def _chart(steps: Sequence[Outcome]) -> Chart:
    rates = [one.acked_per_s for one in steps]
    series = [
        Series(name, rates, [one.cores()[name] for one in steps])
        for name in PROCESSES
        if all(name in one.cpu_s for one in steps)
    ]
    return Chart("ingest", "Throughput against CPU, both paths", "messages acked a second", "cores used", series)


BENCHMARK: Final = Benchmark(
    "ingest",
    "Sustained ingest: raise the rate until the pipeline does not keep up, with a ledger over every message.",
    "python -m bench ingest --rate 5000 --seconds 5",
    4.0,
    run,
    [
        click.Option(
            ["--rate"],
            type=click.FloatRange(100),
            default=3000,
            show_default=True,
            help="Messages a second to begin with.",
        ),
        click.Option(
            ["--most"],
            type=click.FloatRange(100),
            default=100_000,
            show_default=True,
            help="Messages a second past which no rate is tried.",
        ),
        click.Option(["--rooms"], type=click.IntRange(1), default=100, show_default=True, help="Rooms."),
        click.Option(
            ["--members"], type=click.IntRange(1), default=10, show_default=True, help="Clients in each room."
        ),
        click.Option(["--bytes"], type=click.IntRange(36), default=100, show_default=True, help="Size of a content."),
    ],
)
