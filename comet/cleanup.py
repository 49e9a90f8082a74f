"""Cleanup: removes from Redis what dead nodes left there, every field and key that carries their name.

Of the living nodes one cleans up after each dead one: all compute the same choice from the list of living nodes. Should
two clean up after the same node for a moment, or one die meanwhile, no harm is done: each step may be repeated. A step
is bounded, with a pause behind it, so that clients notice nothing.
"""

import asyncio
import hashlib
from collections.abc import Collection
from typing import Final

from comet.membership import Membership
from common import logs
from common.errors import reason_of
from common.redis_client import REDIS_FAULTS
from common.registry import Registry

LOOK_S: Final = 5.0
# fields removed in one pipeline: some 3 ms of this process and 2 ms of Redis
STEP: Final = 100
PAUSE_S: Final = 0.02

log = logs.get()


class Cleanup:
    """This node's share of the cleanup."""

    def __init__(self, registry: Registry, membership: Membership) -> None:
        self._registry = registry
        self._membership = membership

    async def run(self) -> None:
        """Look for dead nodes, forever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except REDIS_FAULTS as e:
                log.warning("What dead nodes left could not be removed", error=reason_of(e))

    async def _look(self) -> None:
        if not (dead := await self._registry.dead()):
            return
        living = await self._registry.nodes()
        for incarnation in dead:
            if living and cleaner_of(incarnation, living) == self._membership.incarnation:
                await self._clean(incarnation)

    async def _clean(self, incarnation: str) -> None:
        steps = 0
        while await self._registry.forget(incarnation, STEP):
            steps += 1
            await asyncio.sleep(PAUSE_S)
        log.info("A dead node is forgotten", dead=incarnation, steps=steps)


def cleaner_of(dead: str, living: Collection[str]) -> str:
    """Return which of the living nodes cleans up after the dead one: many dead are spread over all that live."""
    return min(living, key=lambda name: hashlib.blake2b(f"{dead} {name}".encode(), digest_size=16).digest())
