"""Load on a pipeline, and all that is measured meanwhile: CPU by process, what waits, gRPC calls, what the clients saw.

The clients are a process of their own (traffic.py); this is the bench's side of it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.load.backlogs import Backlog, Verdict, judge
from bench.load.cores import busy_seconds
from bench.load.json_subprocess import JsonSubprocess, json_subprocess
from bench.load.traffic import Order, TrafficPlan
from bench.report.measures import cpu_seconds
from common import redis_client
from common.errors import StartupError
from common.outbox import Outbox
from testbed.bed import Pipeline, TestBed

BEGIN_S: Final = 0.3  # until the order is with the load
LOOK_S: Final = 0.5
DRAIN_S: Final = 10.0
TRIES: Final = 3
SHARDS: Final = 16
PROCESSES: Final = ("comet", "logic", "job", "redis", "kafka", "load")  # those of one node, as columns


@dataclass(frozen=True, slots=True)
class Outcome:
    """One measurement. `cpu_s` is by process, the load's own among them."""

    rate: float
    told: Mapping[str, Any]  # what traffic.py answered
    cpu_s: Mapping[str, float]
    others_s: float  # CPU that programs used which are none of ours
    calls: float  # gRPC calls of Job
    backlogs: Sequence[Backlog]
    verdict: Verdict

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
        """Cores that somebody else's programs used, and that were not there for what is measured."""
        return float(self.others_s / self.told["seconds"])

    def cores(self) -> dict[str, float]:
        """Return how many cores each process used."""
        return {name: cpu / self.told["seconds"] for name, cpu in self.cpu_s.items()}

    def age_ms(self, percent: float) -> float:
        """Return what so many percent of the messages did not exceed, from send to receive."""
        return float(self.told["ages_ms"][round(percent * 10)])

    def late_ms(self, percent: float) -> float:
        """Return how late the load itself sent."""
        return float(self.told["late_ms"][round(percent * 10)])


class Load:
    """Clients that are connected, and the pipeline that they load."""

    def __init__(self, pipeline: Pipeline, clients: JsonSubprocess) -> None:
        self._pipeline = pipeline
        self._clients = clients
        redis = redis_client.connect(pipeline.redis_url)
        self._redis = redis
        self._outbox = Outbox(redis, SHARDS, "bench")

    async def run(
        self, rate: float, seconds: float, warm_s: float, measure_from: Callable[[float], None] = lambda _moment_s: None
    ) -> Outcome:
        """Load it at that rate, first to warm up; `measure_from` is told when (monotonic) that will be over.

        Where no message came through in the time there is no measurement; it is tried again. Raises StartupError.
        """
        for _ in range(TRIES):
            outcome = await self._run(rate, seconds, warm_s, measure_from)
            if outcome.told["acked"] and outcome.told["ages_ms"]:
                return outcome
        raise StartupError(f"no message came through within {seconds:g} s, {TRIES} times over: take more --seconds")

    async def _run(self, rate: float, seconds: float, warm_s: float, measure_from: Callable[[float], None]) -> Outcome:
        begin = time.monotonic() + BEGIN_S
        measure_from(begin + warm_s)
        order = Order(rate, begin, warm_s, seconds, DRAIN_S)
        told = asyncio.create_task(self._clients.ask(**asdict(order)))
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
        return Outcome(rate, answer, used, others, called, backlogs, judge(rate, answer, backlogs))

    async def seen(self) -> dict[str, Any]:
        """Return what all clients saw since they came, for the ledger."""
        return await self._clients.ask()

    async def close(self) -> None:
        """Let Redis go."""
        await self._redis.aclose()

    def _cpu(self) -> dict[str, float]:
        pids = {**self._pipeline.pids(), "load": self._clients.pid, "bench": os.getpid()}
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    async def _calls(self) -> float:
        return (await asyncio.to_thread(self._pipeline.job.samples)).get("grpc_calls_total", 0.0)

    async def _watch(self, until: float) -> list[Backlog]:
        found = []
        while time.monotonic() + LOOK_S < until:
            await asyncio.sleep(LOOK_S)
            (length, age_s), of_job = await asyncio.gather(
                self._outbox.backlog(), asyncio.to_thread(self._pipeline.job.samples)
            )
            found.append(Backlog(time.monotonic(), length, age_s, int(of_job.get("job_kafka_lag", 0))))
        await _sleep_until(until)
        return found


@asynccontextmanager
async def load(bed: TestBed, pipeline: Pipeline, plan: TrafficPlan) -> AsyncIterator[Load]:
    """Connect the clients. Raises Died when they can't."""
    async with json_subprocess(bed.guard, "traffic") as clients:
        await clients.ask(**asdict(plan))
        found = Load(pipeline, clients)
        try:
            yield found
        finally:
            await found.close()


def _busy() -> float:
    """Return the seconds that all cores were busy so far."""
    return sum(busy_seconds(core) for core in range(os.cpu_count() or 1))


async def _sleep_until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.monotonic()))
