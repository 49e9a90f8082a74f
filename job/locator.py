"""Hop 8 of 9: the locator, where rooms and users are, as the registry says; for job/dispatcher.py.

The dispatcher asks once a batch: one pipeline for the batch's rooms, one for its users. A room's nodes are kept for
KEEP_S, which is about as old as the registry itself may be (Comet writes its changes a moment later, too). That nobody
serves a room is not kept. The fleet says which nodes live. A node that the fleet does not know makes the directory look
again.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from common.redis_client import REDIS_FAULTS
from common.registry import Registry
from job.directory import Directory
from job.fleet import Fleet
from job.pusher import Pusher
from job.record import BROADCAST, PUSH, ROOM, PendingRecord

KEEP_S: Final = 0.2
PIPELINE: Final = 500  # questions in one: a PUSH may name a hundred thousand users


class Found(NamedTuple):
    """The living nodes' pushers, for each room and user of a batch."""

    rooms: dict[str, list[Pusher]]
    users: dict[str, list[Pusher]]


class Locator:
    """Where rooms and users are."""

    def __init__(self, registry: Registry, directory: Directory, fleet: Fleet) -> None:
        self._registry = registry
        self._directory = directory
        self._fleet = fleet
        self._kept: dict[str, list[str]] = {}  # the incarnations that serve the rooms asked for lately
        self._kept_until = 0.0

    async def find(self, records: list[PendingRecord]) -> Found | None:
        """Return where the records' rooms and users are; None where that can't be known.

        It holds until the caller awaits the next time.
        """
        if not self._fleet.registered:  # the first may just have come
            await self._directory.refresh()
        elif any(record.type == BROADCAST for record in records):  # another may
            await self._directory.refresh_if_old()
        if self._directory.blind or not self._fleet.registered:
            return None
        free = [record for record in records if not record.server]
        servers = {record.server for record in records if record.server}
        try:
            serving = await self._serving({record.room for record in free if record.type == ROOM})
            users = {key for record in free if record.type == PUSH for key in record.keys}
            located = await _in_pipelines(self._registry.locate, list(users))
        except REDIS_FAULTS as e:
            self._directory.lose(e)
            return None
        named = servers.union(*serving.values(), *located.values())
        if any(self._fleet.get(one) is None for one in named):
            await self._directory.look_for(named)
        return Found(self._living(serving), self._living(located))

    async def _serving(self, rooms: set[str]) -> dict[str, list[str]]:
        now = time.monotonic()
        if now >= self._kept_until:
            self._kept, self._kept_until = {}, now + KEEP_S
        kept = self._kept
        known = {room: kept[room] for room in rooms if room in kept}
        asked = await _in_pipelines(self._registry.serving, [room for room in rooms if room not in known])
        kept |= {room: names for room, names in asked.items() if names}
        return known | asked

    def _living(self, found: dict[str, list[str]]) -> dict[str, list[Pusher]]:
        return {
            name: [pusher for one in incarnations if (pusher := self._fleet.get(one)) is not None]
            for name, incarnations in found.items()
        }


async def _in_pipelines(
    question: Callable[[list[str]], Awaitable[list[list[str]]]], names: list[str]
) -> dict[str, list[str]]:
    answers: list[list[str]] = []
    for start in range(0, len(names), PIPELINE):
        answers += await question(names[start : start + PIPELINE])
    return dict(zip(names, answers, strict=True))
