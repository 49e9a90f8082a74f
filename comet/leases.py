"""Leases: which shards' outboxes this node forwards. At most one node holds a shard's lease, and each its fair share.

A lease lives LEASE_MS in Redis and is renewed every RENEW_S. The node counts its own from the moment *before* it asked,
so it stops believing in one before Redis gives it to another, even if it was stopped in between. With what others are
to have nothing new is begun, and it is given up when the batch in flight is done, so that nobody forwards that again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from comet import metrics
from common import logs
from common.errors import reason_of
from common.outbox import LEASE_MS, Outbox
from common.redis_client import REDIS_FAULTS
from common.registry import Registry
from common.shards import Shards

RENEW_S: Final = 1.0
MARGIN_S: Final = 0.5  # before its end a lease is not begun to be used any more

log = logs.get()


class Leases:
    """The shards this node may forward."""

    def __init__(self, outbox: Outbox, registry: Registry, shards: Shards) -> None:
        self._outbox = outbox
        self._registry = registry
        self._shards = shards
        self._until: dict[int, float] = {}  # by shard, monotonic seconds
        self._leaving: set[int] = set()  # held, but others are to have them
        self._in_use: set[int] = set()  # of the batch in flight
        self._draining = False
        self._turn = asyncio.Lock()  # of who takes and gives up: a round, or drain()
        self.gained = asyncio.Event()

    def held(self) -> list[int]:
        """Return the shards that may be forwarded at this moment."""
        now = time.monotonic() + MARGIN_S
        return [shard for shard, until in self._until.items() if until > now and shard not in self._leaving]

    @contextmanager
    def using(self, shards: set[int]) -> Iterator[None]:
        """Keep these while inside, for as long as Redis lets us."""
        self._in_use = shards
        try:
            yield
        finally:
            self._in_use = set()

    def lost(self, shard: int) -> None:
        """Take note that another holds the lease."""
        self._until.pop(shard, None)

    async def run(self) -> None:
        """Renew what is held and take or give away what a fair share asks for, forever."""
        while not self._draining:
            try:
                await self._balance()
            except REDIS_FAULTS as e:
                log.warning("Leases could not be renewed", error=reason_of(e))
            metrics.LEASES.set(len(self.held()))
            await asyncio.sleep(RENEW_S)

    async def drain(self) -> None:
        """Give all leases up, so that another node needn't wait for them to run out.

        A round under way is waited for, as what it asked for may still become ours; it asks for nothing more. Each
        answer of Redis has its timeout, and the first that does not come ends this; the whole is for the caller to
        bound.
        """
        self._draining = True
        try:
            async with self._turn:
                await self._release(list(self._until))
        except REDIS_FAULTS as e:  # then they run out by themselves
            log.warning("Leases could not be given up", error=reason_of(e))

    async def _balance(self) -> None:
        nodes = await self._registry.nodes()
        share = -(-self._shards.count // max(1, sum(node.forwards for node in nodes.values())))
        async with self._turn:
            await self._balance_to(share)

    async def _balance_to(self, share: int) -> None:
        self._leaving = set(list(self._until)[share:])  # others have come
        await self._release(list(self._leaving - self._in_use))
        await self._hold(list(self._until), self._outbox.keep)
        free = [shard for shard in range(self._shards.count) if shard not in self._until]
        while free and len(self._until) < share:
            tried = free[: share - len(self._until)]
            free = free[len(tried) :]
            await self._hold(tried, self._outbox.hold)
        if self._until:
            self.gained.set()

    async def _release(self, shards: list[int]) -> None:
        for shard in shards:
            self._until.pop(shard, None)  # the forwarder may have learnt meanwhile that it is another's
        if shards:
            await self._outbox.release(*shards)

    async def _hold(self, shards: list[int], ask: Callable[..., Awaitable[list[int]]]) -> None:
        if self._draining or not shards:  # a round that drain() overtook must not take back what was given up
            return
        asked_at = time.monotonic()
        ours = await ask(*shards)
        for shard in shards:
            if shard in ours:
                self._until[shard] = asked_at + LEASE_MS / 1000
            else:
                self._until.pop(shard, None)
