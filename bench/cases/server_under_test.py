"""A server and its clients, ready to be loaded: Comet, or one of the servers that it is compared with.

The server has one core for itself; the clients, Redis and the sink share the other. All servers of a benchmark run at
the same time and are loaded by turns, so that a machine that drifts does so for all of them alike.
"""

import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.load.connect import ClientPlan
from bench.load.generator import SendPlan
from bench.load.json_subprocess import JsonSubprocess, json_subprocess
from bench.measures import Cores, Unmeasured, busy_seconds, cpu_seconds, pin
from chatroom.up.ports import LOOPBACK
from testbed.bed import TestBed
from testbed.service import ServiceProgram

COMET, BARE, BROADCAST, SERVE = "Comet", "bare joined writes", "websockets.broadcast", "websockets.serve"
KINDS: Final = {BARE: "bare", BROADCAST: "broadcast", SERVE: "serve"}
# Limits that protect a node from single clients: the one sender stands for many.
SETTINGS: Final = {"COMET_RATE_MESSAGES_PER_SECOND": "1e9", "COMET_RATE_BURST_MESSAGES": "1000000000"}
SPARE_FILES: Final = 256
CONTENT_BYTES: Final = 50  # of a message, which makes frames of about 200 bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """One load: the CPU it took, and the figures of the clients."""

    server_s: float  # CPU of the server
    load_s: float  # CPU of all that shares the other core
    others_s: float  # CPU that other programs took from either core
    seconds: float
    sent: int
    messages: int
    expected: int
    reads: int
    received_bytes: int
    gone: int
    refused: dict[str, int]  # frames, by the code of the error
    ages_ms: list[float]  # at 0, 0.1, ... 100 % of the distribution
    flush: str

    @property
    def us_per_delivery(self) -> float:
        """The server's CPU for each message that a client received."""
        return self.server_s * 1e6 / self.messages

    def age_ms(self, percent: float) -> float:
        """Return the age that so many percent of the messages did not exceed."""
        return self.ages_ms[round(percent * 10)]

    def joined(self, burst: int) -> float:
        """Return the flushes in one read: more than one where the server joined them, or clients were late."""
        return self.messages / burst / max(1, self.reads)

    @property
    def others_busy(self) -> float:
        """The share of both cores that other programs used."""
        return self.others_s / self.seconds / 2

    @property
    def busy(self) -> float:
        """The share of its core that the server used."""
        return self.server_s / self.seconds

    @property
    def load_busy(self) -> float:
        """The share of the other core that the load used."""
        return self.load_s / self.seconds


@dataclass(slots=True)
class ServerUnderTest:
    """A server and its clients."""

    name: str
    pid: int
    clients: JsonSubprocess
    cores: Cores
    port: int
    beside: Sequence[int] = ()  # programs on the load's core that work for the server: Redis, the sink
    baseline: JsonSubprocess | None = None
    service: ServiceProgram | None = None  # Comet
    plan: ClientPlan | None = None

    async def connect(self, plan: ClientPlan) -> dict[str, Any]:
        """Connect the clients."""
        self.plan = plan
        return await self.clients.ask(do="connect", **asdict(plan))

    async def replay(self, flush: str) -> None:
        """Let a baseline send a flush that was recorded of Comet."""
        if self.baseline is not None:
            await self.baseline.ask(flush=flush)

    async def load(self, seconds: float, period_s: float, burst: int) -> Taken:
        """Load it with a frame of `burst` messages every `period_s`. Raises Unmeasured where nothing is delivered."""
        assert self.plan is not None  # noqa: S101 - the clients have connected
        plan = SendPlan(1 / period_s, seconds, burst, CONTENT_BYTES)
        mine = (self.pid, self.clients.pid, *self.beside)
        before = [cpu_seconds(pid) for pid in mine]
        cores = busy_seconds(self.cores.server), busy_seconds(self.cores.load)
        got = await self.clients.ask(do="load", **asdict(plan))
        server_s, *load_s = (cpu_seconds(pid) - begun for pid, begun in zip(mine, before, strict=True))
        busy_s = busy_seconds(self.cores.server) + busy_seconds(self.cores.load) - sum(cores)
        whole = got["whole"]
        expected = whole["sent"] * burst * self.plan.clients // self.plan.rooms
        if not whole["delivered"] or not got["ages_ms"]:
            raise Unmeasured(f"{self.name} delivered none of {expected} messages. Refused: {got['refused']}")
        return Taken(
            server_s,
            sum(load_s),
            max(0.0, busy_s - server_s - sum(load_s)),
            whole["seconds"],
            whole["sent"],
            whole["delivered"],
            expected,
            whole["reads"],
            whole["received_bytes"],
            whole["gone"],
            got["refused"],
            got["ages_ms"],
            got["flush"],
        )


@asynccontextmanager
async def comet_under_test(bed: TestBed, cores: Cores, *, profile: bool = False) -> AsyncIterator[ServerUnderTest]:
    """Run Comet with a Redis as promised, a sink for forwarded messages, and no client yet."""
    async with (
        json_subprocess(bed.guard, "sink", core=cores.load) as sink,
        json_subprocess(bed.guard, "generator", core=cores.load) as clients,
    ):
        port = (await sink.answer())["port"]
        own = {**SETTINGS, "COMET_FORWARD_URL": f"http://{LOOPBACK}:{port}"}
        async with bed.comet(own, cores.server, profile=profile) as comet:
            beside = [sink.pid]
            if "redis" in bed.servers:
                pin(bed.servers["redis"].pid, cores.load)
                beside.append(bed.servers["redis"].pid)
            yield ServerUnderTest(COMET, comet.pid, clients, cores, comet.port, beside, service=comet)


@asynccontextmanager
async def baseline_under_test(bed: TestBed, cores: Cores, name: str) -> AsyncIterator[ServerUnderTest]:
    """Run one of the baselines, and no client yet."""
    async with (
        json_subprocess(bed.guard, "baselines", KINDS[name], core=cores.server) as server,
        json_subprocess(bed.guard, "generator", core=cores.load) as clients,
    ):
        port = (await server.answer())["port"]
        yield ServerUnderTest(name, server.pid, clients, cores, port, baseline=server)


@asynccontextmanager
async def server_under_test(bed: TestBed, cores: Cores, name: str) -> AsyncIterator[ServerUnderTest]:
    """Run a server by its name."""
    async with comet_under_test(bed, cores) if name == COMET else baseline_under_test(bed, cores, name) as it:
        yield it


def fitting(clients: int) -> int:
    """Return how many of the clients the limit of open files allows in one program."""
    return min(clients, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)
