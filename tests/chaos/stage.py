"""A stage: the cluster, the load on it and the taps at it, while faults strike; in the end, the verdict."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chatroom.up.guard import Guard
from tests.chaos.checker import check
from tests.chaos.cluster import TOPIC, Cluster
from tests.chaos.evidence import Evidence, Struck
from tests.chaos.gather import read_kafka, wait_drained
from tests.chaos.histories import read_history
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.parts import NotReady
from tests.chaos.taps import PubSubTap, PushTap
from tests.chaos.verdict import Verdict

WARM_UP_S: Final = 2.0  # of load before the first fault
TAP_KNOWN_S: Final = 1.5  # Jobs look each second who is registered: what comes before may be pushed without the tap
QUIESCE_S: Final = 60.0
DRAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Demand:
    """How much load there is."""

    rate: float = 250.0  # messages a second that are sent, acked or not
    clients: int = 60
    rooms: int = 20

    @property
    def room_ids(self) -> list[str]:
        """The rooms."""
        return [f"room-{number}" for number in range(self.rooms)]

    def __str__(self) -> str:
        """For people."""
        return f"{self.rate:g} messages a second offered by {self.clients} clients in {self.rooms} rooms"


@dataclass
class Stage:
    """Everything that is on while faults strike."""

    cluster: Cluster
    pubsub_tap: PubSubTap
    push_tap: PushTap
    load: Load
    ledger: Ledger
    evidence: Evidence
    demand: Demand
    striking: str = field(default="")  # the fault in force, for the progress line

    async def strike(self, number: int, kind: str, fault: Awaitable[str]) -> None:
        """Let a fault strike and note it; a part that does not come back is noted too."""
        self.striking, began = kind, time.time()
        try:
            what = await fault
        except NotReady as e:
            what = f"did not come back: {e}"
            self.evidence.unexpected.append(f"fault {number}, {kind}: {e}")
        self.striking = ""
        self.evidence.faults.append(Struck(number, kind, began, time.time(), what))

    async def finish(self, quiesce_s: float = QUIESCE_S, drain_s: float = DRAIN_S) -> Verdict:
        """End the load, wait until everything has arrived, read what is stored, and judge."""
        run, port, brokers = self.evidence, self.cluster.redis_server.port, self.cluster.kafka_server.brokers
        run.ended = time.time()
        run.unexpected += await self.load.quiesce(quiesce_s)
        await wait_drained(port, brokers, run, group=TOPIC, topic=TOPIC, timeout_s=drain_s)
        await self.pubsub_tap.settle()
        await read_history(port, self.cluster.comets[0].url, self.demand.room_ids, run)
        await read_kafka(brokers, TOPIC, run)
        run.unexpected += self.cluster.unexpected()
        ledger = self.ledger
        run.acked, run.views, run.broadcast_acked = ledger.acked, ledger.views, ledger.broadcast_acked
        run.refused, run.reconnects, run.joins = dict(ledger.refused), ledger.reconnects, ledger.joins
        run.protocol, run.joining = ledger.protocol, ledger.joining
        run.offered, run.held_back = self.load.offered, self.load.held_back
        return await asyncio.to_thread(check, run)


@asynccontextmanager
async def staged(  # noqa: PLR0913 - what a run chooses
    guard: Guard,
    directory: Path,
    demand: Demand,
    seed: int,
    *,
    mutant: str = "",
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Start the cluster, the taps and the load. Raises NotReady."""
    now = time.time()
    run, ledger = Evidence(began=now, ended=now), Ledger()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(guard, directory, mutant=mutant, environ=environ))
        port = cluster.redis_server.port
        pubsub_tap = await stack.enter_async_context(PubSubTap(port, run))
        push_tap = await stack.enter_async_context(PushTap(port, demand.room_ids, run))
        await asyncio.sleep(TAP_KNOWN_S)
        urls = [comet.url for comet in cluster.comets]
        rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
        load = Load(urls, cluster.logic.url, demand.room_ids, demand.clients, demand.rate, rng, ledger)
        await stack.enter_async_context(load)
        run.began = time.time()
        await asyncio.sleep(WARM_UP_S)
        yield Stage(cluster, pubsub_tap, push_tap, load, ledger, run, demand)
