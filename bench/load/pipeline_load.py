"""A load on a pipeline, and all that is measured meanwhile: CPU by process, backlogs, gRPC calls, the clients' tally.

The clients are a process of their own (generator.py); this is the bench's side of it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from bench.load.backlogs import BacklogSample, LoadVerdict, judge
from bench.load.connect import ClientPlan
from bench.load.generator import SendPlan
from bench.load.json_subprocess import JsonSubprocess, json_subprocess
from bench.measures import Spread, busy_seconds, cpu_seconds, shares
from common import redis_client
from common.errors import StartupError
from common.outbox import Outbox
from common.shards import Shards, stored
from testbed.bed import TestBed
from testbed.stack import Stack

BEGIN_S: Final = 0.3  # until the order has reached the generator
LOOK_S: Final = 0.5
SETTLED_LOOK_S: Final = 0.1
DRAIN_S: Final = 10.0
SETTLE_S: Final = 60.0
TRIES: Final = 3
WARM_S: Final = 2.0
PROCESSES: Final = ("comet", "logic", "job", "redis", "kafka", "load")  # those of one node, as columns
QUIET_CORES: Final = 0.2  # that other programs may use without a word


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load, measured. `cpu_s` is by process, the load's own among them."""

    rate: float
    told: Mapping[str, Any]  # the generator's answer
    cpu_s: Mapping[str, float]
    others_s: float  # CPU that other programs used
    calls: float  # gRPC calls of Job
    backlogs: Sequence[BacklogSample]
    verdict: LoadVerdict

    @property
    def acked_per_s(self) -> float:
        """Messages acked a second."""
        return float(self.told["acked"] / self.told["seconds"])

    @property
    def calls_per_message(self) -> float:
        """Calls of BroadcastRoom for each message."""
        return float(self.calls / self.told["acked"])

    def us_per_message(self) -> dict[str, float]:
        """Return the CPU of each process in us for each acked message."""
        return {name: cpu / self.told["acked"] * 1e6 for name, cpu in self.cpu_s.items()}

    @property
    def others_cores(self) -> float:
        """Cores that other programs used, which the pipeline did not have."""
        return float(self.others_s / self.told["seconds"])

    def cores(self) -> dict[str, float]:
        """Return how many cores each process used."""
        return {name: cpu / self.told["seconds"] for name, cpu in self.cpu_s.items()}

    def age_ms(self, percent: float) -> float:
        """Return the age, from send to receive, that so many percent of the messages did not exceed."""
        return float(self.told["ages_ms"][round(percent * 10)])

    def late_ms(self, percent: float) -> float:
        """Return how late the generator itself sent."""
        return float(self.told["late_ms"][round(percent * 10)])


def doubt(found: Sequence[Measurement]) -> str:
    """Return why the figures may be wrong: other programs used the cores; '' if hardly any did."""
    others = Spread.of(one.others_cores for one in found).median
    return f"others used {others:.1f} cores meanwhile" if others > QUIET_CORES else ""


def cores_of(name: str, found: Sequence[Measurement]) -> list[float]:
    """Return how many cores a process used in each repetition; empty where that is not known."""
    return [one.cores()[name] for one in found if name in one.cpu_s]


def us_of(name: str, found: Sequence[Measurement]) -> list[float]:
    """Return the CPU of a process a message in each repetition; empty where that is not known."""
    return [one.us_per_message()[name] for one in found if name in one.cpu_s]


class PipelineLoad:
    """Clients that are connected, and the pipeline that they load."""

    def __init__(self, pipeline: Stack, clients: JsonSubprocess, outbox: Outbox, content_bytes: int) -> None:
        self._pipeline = pipeline
        self._clients = clients
        self._outbox = outbox
        self._content_bytes = content_bytes

    async def run(
        self, rate: float, seconds: float, measure_from: Callable[[float], None] = lambda _moment_s: None
    ) -> Measurement:
        """Load it at that rate, first to warm up; `measure_from` is told when (monotonic) that will be over.

        Where no message comes through in the time, it is tried again. Raises StartupError.
        """
        for _ in range(TRIES):
            found = await self._run(rate, seconds, measure_from)
            if found.told["acked"] and found.told["ages_ms"]:
                return found
        raise StartupError(f"no message came through within {seconds:g} s, {TRIES} times over: take more --seconds")

    async def _run(self, rate: float, seconds: float, measure_from: Callable[[float], None]) -> Measurement:
        begin, warm_s = time.monotonic() + BEGIN_S, min(WARM_S, seconds)
        measure_from(begin + warm_s)
        plan = SendPlan(rate, seconds, 1, self._content_bytes, True, begin, warm_s, DRAIN_S)  # noqa: FBT003 - all send
        told = asyncio.create_task(self._clients.ask(do="load", **asdict(plan)))
        try:
            await _sleep_until(begin + warm_s)
            calls, cpu, busy = await self._calls(), self._cpu(), _busy()
            backlogs = await self._watch(begin + warm_s + seconds)
            used = {name: now - cpu[name] for name, now in self._cpu().items()}
            others = max(0.0, _busy() - busy - sum(used.values()))
            del used["bench"]
            called = await self._calls() - calls
            answer = await told
        finally:
            told.cancel()
        return Measurement(rate, answer, used, others, called, backlogs, judge(rate, answer, backlogs))

    async def seen(self) -> dict[str, Any]:
        """Return the acks and receipts of all clients since they connected, for the ledger."""
        return await self._clients.ask(do="seen")

    async def settled(self, timeout_s: float = SETTLE_S) -> None:
        """Wait until the outbox is empty and Job has finished the topic. Raises StartupError after the timeout."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            waiting = await self._waiting()
            if not waiting.outbox and not waiting.kafka:
                return
            await asyncio.sleep(SETTLED_LOOK_S)
        raise StartupError(f"the pipeline has not pushed everything {timeout_s:.0f} s after the last send")

    def _cpu(self) -> dict[str, float]:
        pids = {**self._pipeline.pids(), "load": self._clients.pid, "bench": os.getpid()}
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    async def _calls(self) -> float:
        return (await asyncio.to_thread(self._pipeline.jobs[0].samples)).get("grpc_calls_total", 0.0)

    async def _watch(self, until: float) -> list[BacklogSample]:
        found = []
        while time.monotonic() + LOOK_S < until:
            await asyncio.sleep(LOOK_S)
            found.append(await self._waiting())
        await _sleep_until(until)
        return found

    async def _waiting(self) -> BacklogSample:
        (length, age_s), of_job = await asyncio.gather(
            self._outbox.backlog(), asyncio.to_thread(self._pipeline.jobs[0].samples)
        )
        return BacklogSample(time.monotonic(), length, age_s, int(of_job.get("job_kafka_lag", 0)))


@asynccontextmanager
async def pipeline_load(
    bed: TestBed, pipeline: Stack, plan: ClientPlan, content_bytes: int = 100
) -> AsyncIterator[PipelineLoad]:
    """Connect the clients of the plan to all nodes. Raises Died when they can't."""
    plan = replace(plan, ports=[one.port for one in pipeline.comets])
    async with (
        redis_client.connect(pipeline.redis_url) as redis,
        aclosing(Outbox(redis, Shards(await stored(redis)), "bench")) as outbox,
        json_subprocess(bed.guard, "generator") as clients,
    ):
        await clients.ask(do="connect", **asdict(plan))
        yield PipelineLoad(pipeline, clients, outbox, content_bytes)


async def largest_costs(bed: TestBed, plan: ClientPlan, rate: float, seconds: float) -> str:
    """Return the largest costs of each service, and its CPU for a message, for a target that was missed.

    The pipeline runs once more, each service under a profiler (profiled.py), which itself costs a little CPU.
    """
    plan = replace(plan, room=f"{plan.room}-costs", timed=0, keep=False)
    async with bed.pipeline(profile=True) as pipeline:
        services = [*pipeline.comets, pipeline.logic, pipeline.jobs[0]]
        async with pipeline_load(bed, pipeline, plan) as clients:
            await clients.run(rate, seconds / 2)
            for service in services:
                service.begin_profile()
            found = await clients.run(rate, seconds)
    lines = [f"at {found.acked_per_s:,.0f} messages a second"]
    for service in services:
        lines.append(f"{service.name}, {found.us_per_message()[service.name]:,.0f} us of CPU a message")
        lines += [f"  {line}" for line in shares(service.costs())]
    return "\n".join(lines)


def _busy() -> float:
    """Return the seconds for which all cores have been busy."""
    return sum(busy_seconds(core) for core in range(os.cpu_count() or 1))


async def _sleep_until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.monotonic()))
