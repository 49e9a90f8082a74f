"""The asynchronous path's latency: send to BroadcastRoom done, beside a bare aiokafka produce and consume.

From the client's write over Redis, the outbox, Logic, Kafka and Job to the answer of the call that brought the message
to Comet. A relay between Job and Comet notes when that answer passes (call_relay.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from bench.benchmark import Benchmark, Options
from bench.cases import evidence, paced
from bench.cases.rates import RATES, baseline_s, cores_of, doubt, median, over, rates_of, warm_s
from bench.cases.where import largest_costs
from bench.load.call_relay import CallRelay
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

COLUMNS: Final = (
    "msg/s",
    "p50 ms",
    "p99 ms",
    "calls/msg",
    "aiokafka p50 ms",
    "aiokafka p99 ms",
    *(f"{name} cores" for name in PROCESSES),
    "others' cores",
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One rate, once: the load's side, and what the relay saw."""

    outcome: Outcome
    ages_ms: Sequence[float]  # sorted
    calls_per_message: float
    baseline_ms: Sequence[float]  # sorted


async def run(bed: TestBed, options: Options) -> Result:
    """Measure each rate and its baseline, as often as asked for."""
    rates = rates_of(options)
    found: dict[float, list[Measurement]] = {rate: [] for rate in rates}
    async with CallRelay() as relay, bed.pipeline(advertised=[relay.address]) as pipeline:
        relay.target_port = pipeline.comets[0].grpc_port
        plan = TrafficPlan([pipeline.comets[0].ws_port], "pushes", ROOMS, CLIENTS, keep=False)
        async with load(bed, pipeline, plan) as clients:
            await clients.run(min(rates[-1], FIRST_RATE), options.seconds, warm_s(options))  # Kafka compiles as it goes
            for k in range(options.repeat):
                for rate in rates:
                    outcome = await clients.run(rate, options.seconds, warm_s(options), relay.calls.begin)
                    await evidence.settled(pipeline)
                    ages_ms = [age / 1e6 for age in sorted(relay.calls.ages_ns)]
                    calls = relay.calls.calls / max(1, len(ages_ms))
                    took = await paced.produce_and_consume(
                        pipeline.brokers,
                        f"{pipeline.topic}-bare",
                        rate,
                        baseline_s(options),
                        baseline_s(options) / 2,
                        idempotent=bed.settings.get("CHAT_KAFKA_IDEMPOTENCE", "true") == "true",
                    )
                    found[rate].append(Measurement(outcome, ages_ms, calls, took))
                    said = f"p50 {percentile(ages_ms, 0.5):.2f} ms, p99 {percentile(ages_ms, 0.99):.2f} ms"
                    options.progress.say(f"pushes: {rate:,.0f}/s, {k + 1} of {options.repeat}: {said}")
    measured = _measured(found.get(TARGET_RATE, []))
    missed = targets.missed(measured)
    profile = await largest_costs(bed, plan, TARGET_RATE, options.seconds) if missed else ""
    return Result(
        "pushes",
        f"Asynchronous latency: {CLIENTS} clients in {ROOMS} rooms, send to BroadcastRoom done",
        COLUMNS,
        [_row(rate, found[rate]) for rate in rates],
        measured,
        _notes(found),
        [_chart(found)],
        {missed[0]: profile} if missed else {},
    )


def _measured(found: Sequence[Measurement]) -> list[Measured]:
    if not found:
        return []
    p50, p99 = (Spread.of(percentile(one.ages_ms, share) for one in found).median for share in (0.5, 0.99))
    outcomes = [one.outcome for one in found]
    why = next((one.verdict.why for one in outcomes if one.verdict.why), "")
    return [Measured(key, value, why, doubt(outcomes)) for key, value in (("async_p50", p50), ("async_p99", p99))]


def _row(rate: float, found: Sequence[Measurement]) -> list[Cell]:
    outcomes = [one.outcome for one in found]
    return [
        rate,
        *(over([percentile(one.ages_ms, share) for one in found]) for share in (0.5, 0.99)),
        over([one.calls_per_message for one in found]),
        *(over([percentile(one.baseline_ms, share) for one in found]) for share in (0.5, 0.99)),
        *(median(cores_of(name, outcomes)) for name in PROCESSES),
        median([one.others_cores for one in outcomes]),
    ]


def _notes(found: dict[float, list[Measurement]]) -> list[str]:
    whys = [
        f"At {rate:,.0f}/s it did not keep up: {one.outcome.verdict.why}."
        for rate, several in found.items()
        for one in several
        if one.outcome.verdict.why
    ]
    return [
        (
            "A message's time runs from just before its client's write until the answer of its BroadcastRoom "
            "call passes a "
            "relay between Job and Comet: one more hop on loopback, in the time. Comet is the real one and all "
            "members are "
            "connected to it; Redis, Apache Kafka, Logic, Job, Comet, load and relay share the machine's cores."
        ),
        "aiokafka: one idempotent producer with acks=all and one consumer on the same Kafka, same rate and pacing.",
        *whys[:5],
    ]


def _chart(found: dict[float, list[Measurement]]) -> Chart:
    shares = [k / 10 for k in range(1000)]
    series = []
    for rate, several in found.items():
        ages, bare = several[0].ages_ms, several[0].baseline_ms
        series.append(Series(f"{rate:,.0f} msg/s", [percentile(ages, one / 100) for one in shares], shares))
        series.append(Series(f"aiokafka, {rate:,.0f}/s", [percentile(bare, one / 100) for one in shares], shares))
    return Chart(
        "pushes", "Asynchronous latency", "ms from send to BroadcastRoom done", "% of messages", series, log_x=True
    )


BENCHMARK: Final = Benchmark(
    "pushes",
    "Asynchronous latency: send to BroadcastRoom done at several rates, beside a bare aiokafka produce and consume.",
    "python -m bench pushes --rates 100,1000",
    4.0,
    run,
    [click.Option(["--rates"], default=RATES, show_default=True, metavar="R,R", help="Messages a second, by commas.")],
)
