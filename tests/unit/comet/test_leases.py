"""Leases: each shard has at most one holder, each node its fair share, and nobody believes in one that ran out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest

from comet import leases as module
from comet.leases import MARGIN_S, Leases
from common.outbox import LEASE_MS, Outbox
from common.registry import Node, Registry
from common.shards import Shards
from tests.support.eventually import eventually, until_set
from tests.support.fake_outbox import FakeNodes, FakeOutbox

SHARDS = 16


class Clock:
    """The monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """As time.monotonic."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, and leases that are renewed all the time."""
    it = Clock()
    monkeypatch.setattr(module, "time", it)
    monkeypatch.setattr(module, "RENEW_S", 0.001)
    return it


def make(outbox: FakeOutbox, nodes: FakeNodes) -> Leases:
    """Return a node's leases."""
    return Leases(cast("Outbox", outbox), cast("Registry", nodes), Shards(SHARDS))


@asynccontextmanager
async def running(leases: Leases) -> AsyncIterator[Leases]:
    """Run them while inside."""
    task = asyncio.create_task(leases.run())
    try:
        yield leases
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("clock")
async def test_a_node_alone_holds_all() -> None:
    """And says so to whoever waits for the first."""
    async with running(make(FakeOutbox(), FakeNodes(1))) as leases:
        async with asyncio.timeout(5):
            await leases.gained.wait()
        await eventually(lambda: leases.held() == list(range(SHARDS)))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("count", "shares"), [(2, [8, 8]), (3, [4, 6, 6]), (20, [0] * 4 + [1] * 16)])
async def test_shards_are_spread_evenly(count: int, shares: list[int]) -> None:
    """However many nodes come, also after one that held all: each shard has one holder, each node about as many."""
    nodes, shared = FakeNodes(1), FakeOutbox()
    async with AsyncExitStack() as stack:
        everybody = [await stack.enter_async_context(running(make(FakeOutbox("0", shared), nodes)))]
        await eventually(lambda: len(everybody[0].held()) == SHARDS)
        nodes.count = count
        for i in range(1, count):
            leases = make(FakeOutbox(str(i), shared), nodes)
            everybody.append(await stack.enter_async_context(running(leases)))
        await eventually(lambda: sorted(len(one.held()) for one in everybody) == shares)
        assert sorted(shard for one in everybody for shard in one.held()) == list(range(SHARDS))


@pytest.mark.usefixtures("clock")
async def test_what_a_leaving_node_gives_up_is_taken_over() -> None:
    """Drained, it holds none and takes none again, though a round of renewals was under way."""
    nodes, outbox = FakeNodes(2), FakeOutbox("a")
    async with running(make(outbox, nodes)) as leaving, running(make(FakeOutbox("b", outbox), nodes)) as staying:
        await eventually(lambda: len(leaving.held()) == len(staying.held()) == 8)
        await leaving.drain()
        nodes.count = 1
        await eventually(lambda: len(staying.held()) == SHARDS)
        assert (leaving.held(), set(outbox.holders.values())) == ([], {"b"})


async def test_a_lease_is_believed_in_until_shortly_before_its_end(clock: Clock) -> None:
    """Redis may give it to another at its end; a node that can't renew stops before that."""
    outbox = FakeOutbox()
    async with running(make(outbox, FakeNodes(1))) as leases:
        await eventually(lambda: len(leases.held()) == SHARDS)
        outbox.away = True
        await asyncio.sleep(0.01)
        clock.now += LEASE_MS / 1000 - MARGIN_S - 0.01
        assert len(leases.held()) == SHARDS
        clock.now += 0.02
        assert leases.held() == []
        outbox.away = False
        await eventually(lambda: len(leases.held()) == SHARDS)


async def test_a_lease_counts_from_before_it_was_asked_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was stopped while it asked does not believe that the lease began when it woke."""

    class Slow(FakeOutbox):
        async def hold(self, *shards: int) -> list[int]:
            clock.now += LEASE_MS / 1000
            return await super().hold(*shards)

    monkeypatch.setattr(module, "RENEW_S", 60)
    async with running(make(outbox := Slow(), FakeNodes(1))) as leases:
        async with asyncio.timeout(5):
            await leases.gained.wait()
        assert (len(outbox.holders), leases.held()) == (SHARDS, [])


async def test_a_lease_that_another_took_is_given_up(clock: Clock) -> None:
    """The next renewal is refused, and the forwarder may learn it even sooner."""
    outbox = FakeOutbox("a")
    async with running(make(outbox, FakeNodes(2))) as leases:
        await eventually(lambda: len(leases.held()) == 8)
        stolen, fenced = leases.held()[:2]
        outbox.holders[stolen] = "b"
        await eventually(lambda: stolen not in leases.held())
    leases.lost(fenced)
    leases.lost(fenced)
    assert fenced not in leases.held()
    assert clock.now == 1000.0


async def test_what_is_in_use_is_given_away_only_when_the_batch_is_done(clock: Clock) -> None:
    """Others have come: nothing new is begun with it at once, and it stays ours until what was begun has ended."""
    nodes, outbox = FakeNodes(1), FakeOutbox("a")
    async with running(make(outbox, nodes)) as leases:
        async with asyncio.timeout(5):
            await leases.gained.wait()
        with leases.using({15}):
            nodes.count = 2
            await eventually(lambda: len(outbox.holders) == 9)
            assert 15 in outbox.holders
            assert sorted(leases.held()) == list(range(8))
            clock.now += LEASE_MS / 1000 - MARGIN_S
            await eventually(lambda: len(leases.held()) == 8)  # renewed
            assert 15 in outbox.holders
        await eventually(lambda: len(outbox.holders) == 8)


class Gated(FakeOutbox):
    """Waits in `release` or in `hold` while its gate is closed; `reached` tells that somebody does."""

    def __init__(self) -> None:
        super().__init__("a")
        self.releases, self.holds = asyncio.Event(), asyncio.Event()
        self.releases.set()
        self.holds.set()
        self.reached = asyncio.Event()

    async def _through(self, gate: asyncio.Event) -> None:
        if not gate.is_set():
            self.reached.set()
        await gate.wait()

    async def release(self, *shards: int) -> None:
        """As FakeOutbox.release, through the gate."""
        await self._through(self.releases)
        await super().release(*shards)

    async def keep(self, *shards: int) -> list[int]:
        """As FakeOutbox.keep, through the gate of `hold`."""
        await self._through(self.holds)
        return await super().keep(*shards)

    async def hold(self, *shards: int) -> list[int]:
        """As FakeOutbox.hold, through the gate."""
        await self._through(self.holds)
        return await super().hold(*shards)

    async def until_reached(self) -> None:
        """Return when somebody waits at a gate."""
        async with asyncio.timeout(5):
            await self.reached.wait()


async def drained_through(leases: Leases, gate: asyncio.Event) -> None:
    """Drain, and open the gate when that has got as far as it can."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(leases.drain())
        for _ in range(100):
            await asyncio.sleep(0)
        gate.set()
        await draining


@pytest.mark.usefixtures("clock")
async def test_a_drain_while_a_round_gives_away_gives_up_the_rest() -> None:
    """Others have come and what is theirs is being released when the node is stopped: neither trips over the other."""
    nodes, outbox = FakeNodes(1), Gated()
    leases = make(outbox, nodes)
    task = asyncio.create_task(leases.run())
    await eventually(lambda: len(leases.held()) == SHARDS)
    outbox.releases.clear()
    nodes.count = 2
    await outbox.until_reached()
    await drained_through(leases, outbox.releases)
    async with asyncio.timeout(5):
        await task  # ends by itself, without an error
    assert (leases.held(), outbox.holders) == ([], {})


@pytest.mark.usefixtures("clock")
async def test_a_lease_that_was_asked_for_before_a_drain_is_given_up_as_well() -> None:
    """The answer comes while the rest is given up: nobody has to wait until that lease runs out."""
    outbox = Gated()
    leases = make(outbox, FakeNodes(1))
    task = asyncio.create_task(leases.run())
    await eventually(lambda: len(leases.held()) == SHARDS)
    outbox.holds.clear()
    await outbox.until_reached()
    await drained_through(leases, outbox.holds)
    async with asyncio.timeout(5):
        await task
    assert (leases.held(), outbox.holders) == ([], {})


class GatedNodes(FakeNodes):
    """A registry that answers while its gate is open; `reached` tells that somebody waits."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate, self.reached = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def nodes(self) -> dict[str, Node]:
        """As FakeNodes.nodes, through the gate."""
        if not self.gate.is_set():
            self.reached.set()
        await self.gate.wait()
        return await super().nodes()


@pytest.mark.usefixtures("clock")
async def test_a_round_that_a_drain_overtook_takes_nothing_back() -> None:
    """It asked who lives, and is answered when all has been given up."""
    nodes, outbox = GatedNodes(), FakeOutbox("a")
    async with running(make(outbox, nodes)) as leases:
        await eventually(lambda: len(leases.held()) == SHARDS)
        nodes.gate.clear()
        await until_set(nodes.reached, "a round asks who lives")
        async with asyncio.timeout(5):
            await leases.drain()
        assert outbox.holders == {}
        nodes.gate.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert (leases.held(), outbox.holders) == ([], {})


@pytest.mark.usefixtures("clock")
async def test_a_lease_lost_during_a_drain_ends_nothing() -> None:
    """The forwarder's last batch is refused as another's while the leases are given up."""
    outbox = Gated()
    async with running(make(outbox, FakeNodes(1))) as leases:
        await eventually(lambda: len(leases.held()) == SHARDS)
        outbox.releases.clear()
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            tasks.create_task(leases.drain())
            await outbox.until_reached()
            leases.lost(SHARDS - 1)
            outbox.releases.set()
        assert (leases.held(), outbox.holders) == ([], {})


@pytest.mark.usefixtures("clock")
async def test_a_drain_can_be_ended_while_redis_does_not_answer() -> None:
    """Whoever stops the node bounds it; a round that waits for Redis is no reason to wait longer."""
    outbox = Gated()
    async with running(make(outbox, FakeNodes(1))) as leases:
        await eventually(lambda: len(leases.held()) == SHARDS)
        outbox.holds.clear()
        await outbox.until_reached()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await leases.drain()
