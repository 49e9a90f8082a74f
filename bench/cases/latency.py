"""The real-time path's latency: send to receive over PubSub, beside a bare Redis PUBLISH in the same run.

The whole pipeline runs and every message takes both paths, as in production; a client gets it by the faster one.
"""

from collections.abc import Sequence
from typing import Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases import paced
from bench.cases.rates import RATES, baseline_s, cores_of, doubt, median, over, rates_of, warm_s
from bench.cases.where import largest_costs
from bench.load.load import PROCESSES, Outcome, load
from bench.load.traffic import TrafficPlan
from bench.report import targets
from bench.report.charts import Chart, Series
from bench.report.measures import Spread, percentile
from bench.report.results import Cell, Result
from bench.report.targets import Measured
from testbed.bed import TestBed

FIRST_RATE: Final = 500
ROOMS, CLIENTS = 10, 100
TARGET_RATE: Final = 1000
PERCENTS: Final = (50, 99, 99.9)

COLUMNS: Final = (
    "msg/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "PUBLISH p50 ms",
    "PUBLISH p99 ms",
    "XADD+PUBLISH p50 ms",
    "XADD+PUBLISH p99 ms",
    "sent late p99 ms",
    *(f"{name} cores" for name in PROCESSES),
    "others' cores",
)


async def run(bed: TestBed, options: Options) -> Result:
    """Measure each rate and its baseline, as often as asked for."""
    rates = rates_of(options)
    outcomes: dict[float, list[Outcome]] = {rate: [] for rate in rates}
    baselines: dict[float, list[list[float]]] = {rate: [] for rate in rates}
    stored: dict[float, list[list[float]]] = {rate: [] for rate in rates}
    async with bed.pipeline() as pipeline:
        plan = TrafficPlan([one.ws_port for one in pipeline.comets], "latency", ROOMS, CLIENTS, keep=False)
        async with load(bed, pipeline, plan) as clients:
            await clients.run(min(rates[-1], FIRST_RATE), options.seconds, warm_s(options))  # Kafka compiles as it goes
            for k in range(options.repeat):
                for rate in rates:
                    outcomes[rate].append(await clients.run(rate, options.seconds, warm_s(options)))
                    for kept, store in ((baselines, False), (stored, True)):
                        took = await paced.publish(
                            pipeline.redis_url, rate, baseline_s(options), baseline_s(options) / 2, store=store
                        )
                        kept[rate].append(took)
                    said = f"p50 {outcomes[rate][-1].age_ms(50):.2f} ms, p99 {outcomes[rate][-1].age_ms(99):.2f} ms"
                    options.progress.say(f"latency: {rate:,.0f}/s, {k + 1} of {options.repeat}: {said}")
    measured = _measured(outcomes.get(TARGET_RATE, []))
    missed = targets.missed(measured)
    profile = await largest_costs(bed, plan, TARGET_RATE, options.seconds) if missed else ""
    return Result(
        "latency",
        f"Real-time latency: {CLIENTS} clients in {ROOMS} rooms, send to receive",
        COLUMNS,
        [_row(rate, outcomes[rate], baselines[rate], stored[rate]) for rate in rates],
        measured,
        _notes(outcomes),
        [_chart(rates, outcomes, baselines)],
        {missed[0]: profile} if missed else {},
    )


def _measured(outcomes: Sequence[Outcome]) -> list[Measured]:
    if not outcomes:
        return []
    p50, p99 = (Spread.of(one.age_ms(percent) for one in outcomes).median for percent in (50, 99))
    why = next((one.verdict.why for one in outcomes if one.verdict.why), "")
    return [Measured(key, value, why, doubt(outcomes)) for key, value in (("realtime_p50", p50), ("realtime_p99", p99))]


def _row(
    rate: float, outcomes: Sequence[Outcome], baselines: Sequence[Sequence[float]], stored: Sequence[Sequence[float]]
) -> list[Cell]:
    return [
        rate,
        *(over([one.age_ms(percent) for one in outcomes]) for percent in PERCENTS),
        *(over([percentile(one, percent / 100) for one in baselines]) for percent in PERCENTS[:2]),
        *(over([percentile(one, percent / 100) for one in stored]) for percent in PERCENTS[:2]),
        median([one.late_ms(99) for one in outcomes]),
        *(median(cores_of(name, outcomes)) for name in PROCESSES),
        median([one.others_cores for one in outcomes]),
    ]


def _notes(outcomes: dict[float, list[Outcome]]) -> list[str]:
    whys = [
        f"At {rate:,.0f}/s it did not keep up: {one.verdict.why}."
        for rate, found in outcomes.items()
        for one in found
        if one.verdict.why
    ]
    return [
        (
            "Ran: Redis as promised, Apache Kafka, Logic, Job, one Comet, one load, all on the machine's cores; "
            "every message "
            "took both paths. A message's time runs from just before its write to when its receiver's read returned; "
            "`sent late` is how long after it was due the load wrote it."
        ),
        (
            "PUBLISH: a bare PUBLISH on the same Redis at the same rate and pacing until its one subscriber has it. "
            "XADD+PUBLISH: the same, stored first, which with `appendfsync always` waits for the disk as every "
            "append does."
        ),
        *whys[:5],
    ]


def _chart(
    rates: Sequence[float], outcomes: dict[float, list[Outcome]], baselines: dict[float, list[list[float]]]
) -> Chart:
    shares = [k / 10 for k in range(1000)]
    series = [
        Series(f"{rate:,.0f} msg/s", [outcomes[rate][0].age_ms(share) for share in shares], shares) for rate in rates
    ]
    series += [
        Series(f"PUBLISH, {rate:,.0f}/s", [percentile(baselines[rate][0], share / 100) for share in shares], shares)
        for rate in rates[:2]
    ]
    return Chart("latency", "Real-time latency", "ms from send to receive", "% of deliveries", series, log_x=True)


BENCHMARK: Final = Benchmark(
    "latency",
    "Real-time latency: send to receive at several rates, beside a bare Redis PUBLISH.",
    "python -m bench latency --rates 100,1000",
    4.0,
    run,
    [click.Option(["--rates"], default=RATES, show_default=True, metavar="R,R", help="Messages a second, by commas.")],
)
