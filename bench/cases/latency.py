"""Benchmarks `latency` and `pushes`: the latency of the real-time and of the asynchronous path, beside their baselines.

The whole pipeline runs and every message takes both paths, as in production. `latency` times send to receive over
PubSub, beside a bare Redis PUBLISH. `pushes` times send to BroadcastRoom done over the outbox, Logic, Kafka and Job,
beside a bare aiokafka produce and consume. A relay between Job and Comet notes when the answer of a call passes
(call_relay.py).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click

from bench.benchmark import Benchmark, RunOptions
from bench.load import paced
from bench.load.call_relay import CallRelay
from bench.load.connect import ClientPlan
from bench.load.pipeline_load import PROCESSES, Measurement, cores_of, doubt, largest_costs, pipeline_load
from bench.measures import Spread, percentile
from bench.report.pictures import Chart, Series
from bench.report.results import Cell, Measured, Report, median, missed, over
from common.errors import StartupError
from testbed.bed import TestBed
from testbed.stack import Stack

RATES: Final = "100,1000,5000"
FIRST_RATE: Final = 500  # to warm up: Kafka compiles as it goes
TARGET_RATE: Final = 1000
ROOMS, CLIENTS = 10, 100
BASELINE_S: Final = 2.0
SHOWN_FAULTS: Final = 5
SHARES: Final = [k / 10 for k in range(1000)]  # percents of a distribution that are drawn
LATENCY_COLUMNS: Final = (
    "msg/s", "p50 ms", "p99 ms", "p99.9 ms", "PUBLISH p50 ms", "PUBLISH p99 ms", "XADD+PUBLISH p50 ms",
    "XADD+PUBLISH p99 ms", "sent late p99 ms", *(f"{name} cores" for name in PROCESSES), "others' cores",
)  # fmt: skip
PUSHES_COLUMNS: Final = (
    "msg/s", "p50 ms", "p99 ms", "calls/msg", "aiokafka p50 ms", "aiokafka p99 ms",
    *(f"{name} cores" for name in PROCESSES), "others' cores",
)  # fmt: skip
LATENCY_NOTES: Final = (
    (
        "Ran: Redis as promised, Apache Kafka, Logic, Job, one Comet, one load, all on the machine's cores; every "
        "message took both paths. A message's time runs from just before its write to when its receiver's read "
        "returned; `sent late` is how long after it was due the load wrote it."
    ),
    (
        "PUBLISH: a bare PUBLISH on the same Redis at the same rate and pacing until its one subscriber has it. "
        "XADD+PUBLISH: the same, stored first, which with `appendfsync always` waits for the disk as every "
        "append does."
    ),
)
PUSHES_NOTES: Final = (
    (
        "A message's time runs from just before its client's write until the answer of its BroadcastRoom call passes "
        "a relay between Job and Comet: one more hop on loopback, in the time. Comet is the real one and all members "
        "are connected to it; Redis, Apache Kafka, Logic, Job, Comet, load and relay share the machine's cores."
    ),
    "aiokafka: one idempotent producer with acks=all and one consumer on the same Kafka, same rate and pacing.",
)


@dataclass(frozen=True, slots=True)
class PathLatency:
    """One rate, once: the load, the ages of the messages at the end of the path, and those of the baselines."""

    load: Measurement
    ages_ms: Sequence[float]
    baselines_ms: Sequence[Sequence[float]]
    calls_per_message: float = 0.0


Found = Mapping[float, Sequence[PathLatency]]  # the repetitions of each rate


async def latency(bed: TestBed, options: RunOptions) -> Report:
    """Measure the real-time path and a bare PUBLISH, without and with storing."""
    plan = ClientPlan(CLIENTS, "latency", ROOMS, timed=CLIENTS)

    async def measure(load: Measurement, pipeline: Stack, seconds: float) -> PathLatency:
        bare = [
            await paced.publish(pipeline.redis_url, load.rate, seconds, seconds / 2, store=store)
            for store in (False, True)
        ]
        return PathLatency(load, load.told["ages_ms"], bare)

    async with bed.pipeline() as pipeline:
        found = await _rates(bed, pipeline, plan, options, measure)
    measured, profiles = await _targets(bed, plan, found, options, ("realtime_p50", "realtime_p99"))
    title = f"Real-time latency: {CLIENTS} clients in {ROOMS} rooms, send to receive"
    rows, notes = [_latency_row(*one) for one in found.items()], (*LATENCY_NOTES, *_faults(found))
    series = [_series(f"{rate:,.0f} msg/s", several[0].ages_ms) for rate, several in found.items()]
    series += [_series(f"PUBLISH, {rate:,.0f}/s", found[rate][0].baselines_ms[0]) for rate in list(found)[:2]]
    chart = Chart("latency", "Real-time latency", "ms from send to receive", "% of deliveries", series, log_x=True)
    return Report("latency", title, LATENCY_COLUMNS, rows, measured, notes, [chart], profiles)


async def pushes(bed: TestBed, options: RunOptions) -> Report:
    """Measure the asynchronous path and a bare produce and consume."""
    plan = ClientPlan(CLIENTS, "pushes", ROOMS, timed=CLIENTS)
    idempotent = bed.settings.get("CHAT_KAFKA_IDEMPOTENCE", "true") == "true"

    async def measure(load: Measurement, pipeline: Stack, seconds: float) -> PathLatency:
        ages_ms, calls = [age / 1e6 for age in relay.calls.ages_ns], relay.calls.calls
        topic = f"{pipeline.topic}-bare"
        bare = await paced.produce_and_consume(
            pipeline.brokers, topic, load.rate, seconds, seconds / 2, idempotent=idempotent
        )
        return PathLatency(load, ages_ms, [bare], calls / max(1, len(ages_ms)))

    async with CallRelay() as relay, bed.pipeline(line=relay.line) as pipeline:
        found = await _rates(bed, pipeline, plan, options, measure, relay.calls.begin)
    measured, profiles = await _targets(bed, plan, found, options, ("async_p50", "async_p99"))
    title = f"Asynchronous latency: {CLIENTS} clients in {ROOMS} rooms, send to BroadcastRoom done"
    rows, notes = [_pushes_row(*one) for one in found.items()], (*PUSHES_NOTES, *_faults(found))
    series = []
    for rate, several in found.items():
        series.append(_series(f"{rate:,.0f} msg/s", several[0].ages_ms))
        series.append(_series(f"aiokafka, {rate:,.0f}/s", several[0].baselines_ms[0]))
    x_label = "ms from send to BroadcastRoom done"
    chart = Chart("pushes", "Asynchronous latency", x_label, "% of messages", series, log_x=True)
    return Report("pushes", title, PUSHES_COLUMNS, rows, measured, notes, [chart], profiles)


async def _rates(  # noqa: PLR0913, PLR0917 - where, and how
    bed: TestBed,
    pipeline: Stack,
    plan: ClientPlan,
    options: RunOptions,
    measure: Callable[[Measurement, Stack, float], Awaitable[PathLatency]],
    measure_from: Callable[[float], None] = lambda _moment_s: None,
) -> Found:
    """Load the pipeline at each rate, as often as asked for, and `measure` after each load."""
    rates, seconds = _rates_of(options), min(BASELINE_S, options.seconds)
    found: dict[float, list[PathLatency]] = {rate: [] for rate in rates}
    async with pipeline_load(bed, pipeline, plan) as clients:
        await clients.run(min(rates[-1], FIRST_RATE), options.seconds)
        for k in range(options.repeat):
            for rate in rates:
                load = await clients.run(rate, options.seconds, measure_from)
                await clients.settled()
                one = await measure(load, pipeline, seconds)
                found[rate].append(one)
                p50, p99 = (percentile(one.ages_ms, share) for share in (0.5, 0.99))
                said = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
                options.progress.say(f"{plan.room}: {rate:,.0f}/s, {k + 1} of {options.repeat}: {said}")
    return found


def _rates_of(options: RunOptions) -> list[float]:
    """Return the rates of --rates. Raises StartupError."""
    try:
        rates = [float(one) for one in str(options.own["rates"]).split(",")]
    except ValueError:
        rates = []
    if not rates or min(rates) <= 0:
        raise StartupError(f"--rates must be numbers above 0 separated by commas, got {options.own['rates']!r}")
    return rates


# -- the report --------------------------------------------------------------------------------------------------------


async def _targets(
    bed: TestBed, plan: ClientPlan, found: Found, options: RunOptions, keys: Sequence[str]
) -> tuple[list[Measured], dict[str, str]]:
    """Return p50 and p99 at the targets' rate, and the largest costs where one of them is missed."""
    several = found.get(TARGET_RATE, ())
    if not several:
        return [], {}
    why = next((one.load.verdict.why for one in several if one.load.verdict.why), "")
    disturbed = doubt([one.load for one in several])
    measured = [
        Measured(key, Spread.of(percentile(one.ages_ms, share) for one in several).median, why, disturbed)
        for key, share in zip(keys, (0.5, 0.99), strict=True)
    ]
    worst = missed(measured)
    return measured, {worst[0]: await largest_costs(bed, plan, TARGET_RATE, options.seconds)} if worst else {}


def _latency_row(rate: float, several: Sequence[PathLatency]) -> list[Cell]:
    return [
        rate,
        *_percentiles([one.ages_ms for one in several], 0.5, 0.99, 0.999),
        *_percentiles([one.baselines_ms[0] for one in several], 0.5, 0.99),
        *_percentiles([one.baselines_ms[1] for one in several], 0.5, 0.99),
        median([one.load.late_ms(99) for one in several]),
        *_cores([one.load for one in several]),
    ]


def _pushes_row(rate: float, several: Sequence[PathLatency]) -> list[Cell]:
    return [
        rate,
        *_percentiles([one.ages_ms for one in several], 0.5, 0.99),
        over([one.calls_per_message for one in several]),
        *_percentiles([one.baselines_ms[0] for one in several], 0.5, 0.99),
        *_cores([one.load for one in several]),
    ]


def _percentiles(several: Sequence[Sequence[float]], *shares: float) -> list[Cell]:
    return [over([percentile(ages_ms, share) for ages_ms in several]) for share in shares]


def _cores(loads: Sequence[Measurement]) -> list[Cell]:
    return [*(median(cores_of(name, loads)) for name in PROCESSES), median([one.others_cores for one in loads])]


def _faults(found: Found) -> list[str]:
    whys = [(rate, one.load.verdict.why) for rate, several in found.items() for one in several]
    return [f"At {rate:,.0f}/s it did not keep up: {why}." for rate, why in whys if why][:SHOWN_FAULTS]


def _series(label: str, ages_ms: Sequence[float]) -> Series:
    ordered = sorted(ages_ms)
    return Series(label, [percentile(ordered, share / 100) for share in SHARES], SHARES)


_RATES: Final = click.Option(
    ["--rates"], default=RATES, show_default=True, metavar="R,R", help="Messages a second, by commas."
)
LATENCY: Final = Benchmark(
    "latency",
    "Real-time latency: send to receive at several rates, beside a bare Redis PUBLISH.",
    "python -m bench latency --rates 100,1000",
    4.0,
    latency,
    [_RATES],
)
PUSHES: Final = Benchmark(
    "pushes",
    "Asynchronous latency: send to BroadcastRoom done at several rates, beside a bare aiokafka produce and consume.",
    "python -m bench pushes --rates 100,1000",
    4.0,
    pushes,
    [_RATES],
)
