"""The directory: which nodes live. Read from the registry every second.

And at once when an unknown node is named, or when something is for all nodes.
When Redis is away: `blind`; the nodes last seen stand, and job/dispatcher.py pushes to all of them. Who is missing
right after that is kept for a while: its life may have run out only because it could not renew it.
"""

import asyncio
import time
from collections.abc import Collection
from typing import Final

from common import logs
from common.errors import reason_of
from common.health import Health
from common.redis_client import REDIS_FAULTS, TIMEOUT_S
from common.registry import RENEW_S, Registry
from job.fleet import Fleet

REFRESH_S: Final = 1.0
FRESH_S: Final = 0.1  # so young is what is for everybody told; many broadcasts at once ask once
GRACE_S: Final = 2.0 * RENEW_S + REFRESH_S
_MOST_ABSENT: Final = 10_000  # past it they are forgotten, and looked for once more

log = logs.get()


class Directory:
    """Keeps the fleet as the registry says."""

    def __init__(self, registry: Registry, fleet: Fleet, health: Health) -> None:
        self.blind = False  # Redis did not answer the last question
        self._registry = registry
        self._fleet = fleet
        self._health = health
        self._doubtful_until = 0.0
        self._asked_at = -FRESH_S
        self._absent: set[str] = set()  # looked for and not found: an incarnation that died never comes back
        self._refreshing = asyncio.Lock()

    async def run(self) -> None:
        """Refresh forever."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def refresh_if_old(self) -> None:
        """Ask the registry, unless it was asked a moment ago."""
        if time.monotonic() - self._asked_at >= FRESH_S:
            await self.refresh()

    async def refresh(self) -> None:
        """Ask the registry once."""
        self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S * 2):
                nodes = await self._registry.nodes()
        except REDIS_FAULTS as e:
            self.lose(e)
            return
        self.blind = False
        self._health.good("redis")
        self._fleet.adopt(nodes, keep_missing=time.monotonic() < self._doubtful_until)
        self._absent -= nodes.keys()

    def lose(self, error: BaseException) -> None:
        """Hear that Redis did not answer."""
        if not self.blind:
            log.warning("Redis is away: pushes go to all nodes last seen", error=reason_of(error))
        self.blind = True
        self._health.bad("redis", reason_of(error))
        self._doubtful_until = time.monotonic() + GRACE_S

    async def look_for(self, incarnations: Collection[str]) -> None:
        """Refresh now if a node is named that is neither known nor known to be gone."""
        async with self._refreshing:
            unknown = {one for one in incarnations if self._fleet.get(one) is None} - self._absent
            if unknown:
                await self.refresh()
                if len(self._absent) > _MOST_ABSENT:
                    self._absent.clear()
                self._absent |= {one for one in unknown if self._fleet.get(one) is None}
