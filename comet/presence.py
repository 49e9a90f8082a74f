"""Presence: who is in a room, over all nodes; asked for by a session, or told to those who watch.

Each node keeps its own part in the registry (comet/membership.py); here the parts are put together. Watched rooms are
looked at once a second in one pipeline, and who watches is told only of a change.
"""

import asyncio
from typing import Final

from comet import frames
from comet.membership import Membership, local_presence
from comet.room import Room
from common import logs
from common.envelope import User
from common.errors import reason_of
from common.redis_client import REDIS_FAULTS
from common.registry import LISTED_USERS, Registry, RoomPresence

WATCH_S: Final = 1.0
COUNT_FRESH_S: Final = 1.0  # many who join at once share one look at the other nodes

NOBODY: Final = RoomPresence(0, [])

log = logs.get()


class Presences:
    """Who is where."""

    def __init__(self, registry: Registry, membership: Membership, rooms: dict[str, Room]) -> None:
        self._registry = registry
        self._membership = membership
        self._rooms = rooms  # the hub's
        self._told: dict[str, bytes] = {}  # the last frame told to a room's watchers
        self._elsewhere: dict[str, tuple[float, RoomPresence]] = {}  # on other nodes, by room, with when it was read
        self._looks: dict[str, asyncio.Future[RoomPresence]] = {}  # under way, by room

    async def frame(self, room_id: str) -> bytes:
        """Return the presence frame of a room. Raises what redis raises."""
        [elsewhere] = await self._registry.presence([room_id], without=self._membership.incarnation)
        return self._frame(room_id, elsewhere)

    async def online(self, room: Room, joining: User) -> int:
        """Return how many are in a room once this user is; a count, so one second old is fresh enough."""
        now = asyncio.get_running_loop().time()
        read_at, elsewhere = self._elsewhere.get(room.id, (0.0, NOBODY))
        if now - read_at > COUNT_FRESH_S:
            elsewhere = await self._look_elsewhere(room.id)
        here = len(room.users) + (joining.id not in room.users)
        on_both = sum(user_id == joining.id or user_id in room.users for user_id, _ in elsewhere.users)
        return here + elsewhere.online - on_both

    async def _look_elsewhere(self, room_id: str) -> RoomPresence:
        """Return who is in a room on other nodes; all who ask at the same time share one look."""
        look = self._looks.get(room_id)
        if look is None:
            look = self._looks[room_id] = asyncio.ensure_future(self._read_elsewhere(room_id))
            look.add_done_callback(lambda look: self._looked(room_id, look))
        return await asyncio.shield(look)  # who asked first may be gone by then

    def _looked(self, room_id: str, look: asyncio.Future[RoomPresence]) -> None:
        del self._looks[room_id]
        if not look.cancelled():
            look.exception()  # asked for here, as whoever would be told may be gone

    async def _read_elsewhere(self, room_id: str) -> RoomPresence:
        [elsewhere] = await self._registry.presence([room_id], without=self._membership.incarnation)
        self._elsewhere[room_id] = (asyncio.get_running_loop().time(), elsewhere)
        return elsewhere

    async def run(self) -> None:
        """Tell watchers of changes, forever."""
        while True:
            await asyncio.sleep(WATCH_S)
            watched = [room for room in self._rooms.values() if room.watchers]
            self._told = {room.id: self._told[room.id] for room in watched if room.id in self._told}
            self._forget_counts()
            if watched:
                try:
                    await self._tell(watched)
                except REDIS_FAULTS as e:
                    log.warning("Presence could not be read", error=reason_of(e))

    async def _tell(self, rooms: list[Room]) -> None:
        found = await self._registry.presence([room.id for room in rooms], without=self._membership.incarnation)
        for room, elsewhere in zip(rooms, found, strict=True):
            text = self._frame(room.id, elsewhere)
            if self._told.get(room.id) == text:
                continue
            self._told[room.id] = text
            data = frames.websocket(text)
            for watcher in list(room.watchers):
                watcher.write(data)

    def _frame(self, room_id: str, elsewhere: RoomPresence) -> bytes:
        room = self._rooms.get(room_id)
        here = local_presence(room) if room is not None else NOBODY
        users = dict(here.users)
        repeated = sum(user_id in users for user_id, _ in elsewhere.users)
        users |= dict(elsewhere.users)
        online = here.online + elsewhere.online - repeated
        return frames.presence(frames.json_text(room_id), online, list(users.items())[:LISTED_USERS])

    def _forget_counts(self) -> None:
        before = asyncio.get_running_loop().time() - COUNT_FRESH_S
        self._elsewhere = {room: found for room, found in self._elsewhere.items() if found[0] >= before}
