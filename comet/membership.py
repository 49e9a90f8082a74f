"""Membership: what this node tells the registry of itself: that it lives, whom and which rooms it serves.

It writes the state of the moment, never steps: what changed since the last write is looked up again when it is written,
so a write that is lost, late or repeated does no harm. One write is in flight, and what changes meanwhile is the next.
When Redis is away the changes stay in two sets, each name once, and are written when it is back. Past CHANGES names
beyond those that are here the node forgets them and goes on under a fresh incarnation: what it wrote before is a dead
node's then, and counts no more.

A node whose life in Redis ran out was presumed dead by others; it goes on under a fresh incarnation and records all
anew.
"""

import asyncio
from itertools import islice
from typing import Final

from comet import metrics
from comet.room import Member, Room
from common import ids, logs
from common.backoff import Backoff
from common.errors import reason_of
from common.health import Health
from common.redis_client import REDIS_FAULTS
from common.registry import LISTED_USERS, RENEW_S, USER_TTL_S, Node, Registry, RoomPresence

AGAIN_S: Final = 0.5  # after a write that failed, at first
AGAIN_MOST_S: Final = 3.0  # and at most: well within LIFE_S
CHANGES: Final = 300_000  # names in a set, beyond those that are here
WRITE_ENTRIES: Final = 1000  # in one pipeline

log = logs.get()


class Membership:
    """This node's side of the registry, and its sessions by user."""

    def __init__(
        self, registry: Registry, rooms: dict[str, Room], address: str, room_ttl_s: int, health: Health
    ) -> None:
        self.incarnation = ids.new_incarnation()
        self.sessions: dict[str, list[Member]] = {}  # by user id
        self._registry = registry
        self._rooms = rooms  # the hub's
        self._address = address
        self._room_ttl_s = room_ttl_s
        self._health = health
        self._connections = 0
        self._known = ""  # the incarnation that Redis knows
        self._changed_rooms: set[str] = set()
        self._changed_users: set[str] = set()
        self._changed = asyncio.Event()
        self._left = False

    # -- what happens on the node ------------------------------------------------------------------------------------

    def came(self, session: Member) -> None:
        """Take note of a session."""
        self.sessions.setdefault(session.user.id, []).append(session)
        self._count(session.user.id, 1)

    def gone(self, session: Member) -> None:
        """Forget a session."""
        sessions = self.sessions[session.user.id]
        sessions.remove(session)
        if not sessions:
            del self.sessions[session.user.id]
        self._count(session.user.id, -1)

    def room_changed(self, room: Room) -> None:
        """Take note that somebody came to a room or left it."""
        self._changed_rooms.add(room.id)
        self._changed.set()
        self._keep_bound()

    def _keep_bound(self) -> None:
        gone_rooms = len(self._changed_rooms) - len(self._rooms)
        if gone_rooms > CHANGES or len(self._changed_users) - len(self.sessions) > CHANGES:
            self._start_over()

    def _count(self, user_id: str, by: int) -> None:
        self._connections += by
        metrics.CONNECTIONS.set(self._connections)
        self._changed_users.add(user_id)
        self._changed.set()
        self._keep_bound()

    # -- telling the registry ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the node's life and record what changed, forever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew())
            tasks.create_task(self._write())
            tasks.create_task(self._write_everything())

    async def join(self) -> None:
        """Enter the registry, before anybody can be here: what a stranger to it writes is a dead node's to others."""
        try:
            await self._registry.renew(self._node, first=True)
            self._known = self.incarnation
        except REDIS_FAULTS as e:  # then as soon as Redis is back
            log.warning("The node could not enter the registry", error=reason_of(e))

    @property
    def _node(self) -> Node:
        return Node(self.incarnation, self._address, self._connections, len(self._rooms))

    async def leave(self) -> None:
        """Take the node out of the registry: nobody shall push to it any more."""
        self._left = True
        try:
            await self._registry.leave(self.incarnation)
        except REDIS_FAULTS as e:  # then its life there runs out by itself
            log.warning("The node could not leave the registry", error=reason_of(e))

    async def _renew(self) -> None:
        backoff = Backoff(AGAIN_S, AGAIN_MOST_S)  # jittered: many nodes lost the same Redis
        while not self._left:
            node = self._node
            metrics.ROOMS.set(len(self._rooms))
            try:
                alive = await self._registry.renew(node, first=self._known != node.incarnation)
                self._health.good("redis")
                backoff.reset()
                self._known = node.incarnation if alive else ""
                self._changed.set()
                if not alive and not self._left:
                    self._start_over()
                    continue
                await asyncio.sleep(RENEW_S)
            except REDIS_FAULTS as e:
                self._health.bad("redis", f"Redis is away: {reason_of(e)}")
                await backoff.wait()

    def _start_over(self) -> None:
        log.warning("What Redis knows of the node is out of date; it goes on under a new name", node=self.incarnation)
        self.incarnation = ids.new_incarnation()
        self._changed_rooms.clear()
        self._changed_users.clear()
        self._mark_everything()

    async def _write(self) -> None:
        backoff = Backoff(AGAIN_S, AGAIN_MOST_S)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._known != self.incarnation:  # it would be taken for a dead node's, and removed
                continue
            if not self._changed_rooms and not self._changed_users:
                continue
            rooms = [self._changed_rooms.pop() for _ in range(min(WRITE_ENTRIES, len(self._changed_rooms)))]
            users = [self._changed_users.pop() for _ in range(min(WRITE_ENTRIES, len(self._changed_users)))]
            try:
                await self._registry.record(
                    self.incarnation,
                    {room_id: self._presence(room_id) for room_id in rooms},
                    {user_id: len(self.sessions.get(user_id, ())) for user_id in users},
                    self._room_ttl_s,
                )
                backoff.reset()
            except REDIS_FAULTS as e:
                log.warning("Membership could not be recorded", error=reason_of(e))
                self._changed_rooms.update(rooms)
                self._changed_users.update(users)
                await backoff.wait()
            if self._changed_rooms or self._changed_users:
                self._changed.set()

    async def _write_everything(self) -> None:
        """Renew what expires, and mend what another's mistake may have removed."""
        while True:
            await asyncio.sleep(min(USER_TTL_S, self._room_ttl_s) / 3)
            self._mark_everything()

    def _mark_everything(self) -> None:
        self._changed_rooms.update(self._rooms)
        self._changed_users.update(self.sessions)
        self._changed.set()

    def _presence(self, room_id: str) -> RoomPresence | None:
        room = self._rooms.get(room_id)
        return local_presence(room) if room is not None else None


def local_presence(room: Room) -> RoomPresence:
    """Return who is in a room on this node."""
    listed = [(user_id, sessions[0].user.username) for user_id, sessions in islice(room.users.items(), LISTED_USERS)]
    return RoomPresence(len(room.users), listed)
