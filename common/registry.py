"""The registry: which nodes live, which rooms and users each serves. Written by Comet, read by Job and Logic.

A node's life is a key with a TTL that it renews; whatever names a node that no longer lives counts as absent, so a
node that died needs no clean-up to be forgotten. All of it is a hint for routing: the room's stream stays the truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from common import keys
from common.shards import Shards

LIFE_S = 10  # a node that did not renew for so long is presumed dead
RENEW_S = 2
USER_TTL_S = 3600  # renewed in thirds of it for whoever stays connected
LISTED_USERS = 100


@dataclass(slots=True, frozen=True)
class Node:
    """A living node."""

    incarnation: str
    grpc: str  # host:port where it answers Job
    connections: int = 0
    rooms: int = 0
    forwards: bool = True  # it takes its share of the outboxes; one that only takes pushes does not


@dataclass(slots=True, frozen=True)
class RoomPresence:
    """Who is in a room: on one node, or over all of them."""

    online: int
    users: list[tuple[str, str]]  # (id, username), at most LISTED_USERS

    def to_json(self) -> bytes:
        """Return what the room's `:nodes` hash keeps for a node."""
        return orjson.dumps({"online": self.online, "users": self.users})


class Registry:
    """All nodes' entries in Redis."""

    def __init__(self, redis: Redis, shards: Shards) -> None:
        self._redis = redis
        self._shards = shards

    # -- what a node says of itself ----------------------------------------------------------------------------------

    async def renew(self, node: Node, *, first: bool) -> bool:
        """Say that the node lives, for LIFE_S from now on; False if its life had run out: it was presumed dead.

        A full Redis keeps a known node alive, but takes no new one: then OutOfMemoryError is raised.
        """
        entry = {
            "grpc": node.grpc,
            "connections": node.connections,
            "rooms": node.rooms,
            "forwards": node.forwards,
        }
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.expire(keys.node(node.incarnation), LIFE_S)  # which is not refused when there is no memory
        pipeline.set(keys.node(node.incarnation), orjson.dumps(entry), ex=LIFE_S, xx=not first)
        clock, known, renewed = await pipeline.execute(raise_on_error=False)
        if isinstance(renewed, OutOfMemoryError) and known is True:
            return True
        for answer in (clock, known, renewed):
            if isinstance(answer, Exception):
                raise answer
        if renewed:
            await self._list(node.incarnation, clock[0])
        return bool(renewed)

    async def _list(self, incarnation: str, seconds: int) -> None:
        """Keep the node in the list, and who left without a word out of it."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zadd(keys.NODES, {incarnation: seconds})
        pipeline.zremrangebyscore(keys.NODES, "-inf", seconds - LIFE_S * 6)
        await pipeline.execute()

    async def leave(self, incarnation: str) -> None:
        """Take the node out: it stops, and nobody shall push to it any more."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(keys.node(incarnation))
        pipeline.zrem(keys.NODES, incarnation)
        await pipeline.execute()

    async def record(
        self,
        incarnation: str,
        rooms: dict[str, RoomPresence | None],
        users: dict[str, int],
        room_ttl_s: int,
    ) -> None:
        """Write which rooms the node serves (None: no longer) and how many sessions users have on it (0: none left)."""
        pipeline = self._redis.pipeline(transaction=False)
        for room, presence in rooms.items():
            key = keys.room_keys(self._shards.of(room), room).nodes
            if presence is None:
                pipeline.hdel(key, incarnation)
            else:
                pipeline.hset(key, incarnation, presence.to_json())
                pipeline.expire(key, room_ttl_s)
        for user, sessions in users.items():
            if sessions:
                pipeline.hset(keys.user(user), incarnation, sessions)
                pipeline.expire(keys.user(user), USER_TTL_S)
            else:
                pipeline.hdel(keys.user(user), incarnation)
        await pipeline.execute()

    # -- what others ask ---------------------------------------------------------------------------------------------

    async def nodes(self) -> dict[str, Node]:
        """Return the living nodes by incarnation."""
        found: Any = await self._redis.zrange(keys.NODES, 0, -1)
        names = [name.decode() for name in found]
        if not names:
            return {}
        entries = await self._redis.mget([keys.node(name) for name in names])
        return {
            name: _node(name, orjson.loads(entry))
            for name, entry in zip(names, entries, strict=True)
            if entry is not None
        }

    async def serving(self, rooms: list[str]) -> list[list[str]]:
        """Return for each room the incarnations that said to serve it; some may no longer live."""
        pipeline = self._redis.pipeline(transaction=False)
        for room in rooms:
            pipeline.hkeys(keys.room_keys(self._shards.of(room), room).nodes)
        return [[name.decode() for name in names] for names in await pipeline.execute()]

    async def locate(self, users: list[str]) -> list[list[str]]:
        """Return for each user the incarnations where sessions of theirs are; some may no longer live."""
        pipeline = self._redis.pipeline(transaction=False)
        for user in users:
            pipeline.hkeys(keys.user(user))
        return [[name.decode() for name in names] for names in await pipeline.execute()]

    async def presence(self, rooms: list[str], *, without: str = "") -> list[RoomPresence]:
        """Return who is in each room over all living nodes, but for the node `without` (which knows its own better)."""
        pipeline = self._redis.pipeline(transaction=False)
        for room in rooms:
            pipeline.hgetall(keys.room_keys(self._shards.of(room), room).nodes)
        found: list[dict[bytes, bytes]] = await pipeline.execute()
        names = sorted({name.decode() for entry in found for name in entry})
        living = set(await self._living(names))
        await self._forget_dead(rooms, found, living | {without})
        living -= {without}
        return [merge(orjson.loads(text) for name, text in entry.items() if name.decode() in living) for entry in found]

    async def _forget_dead(self, rooms: list[str], found: list[dict[bytes, bytes]], living: set[str]) -> None:
        """Remove what nodes left behind that died long ago: appends would keep it alive as long as the room."""
        dead = sorted({name.decode() for entry in found for name in entry} - living)
        if not dead:
            return
        seen: Any = await self._redis.zmscore(keys.NODES, dead)
        gone = [name for name, score in zip(dead, seen, strict=True) if score is None]
        pipeline = self._redis.pipeline(transaction=False)
        for room, entry in zip(rooms, found, strict=True):
            if left := [name for name in gone if name.encode() in entry]:
                pipeline.hdel(keys.room_keys(self._shards.of(room), room).nodes, *left)
        await pipeline.execute()

    async def rooms(self, cursor: int, count: int) -> tuple[int, list[str]]:
        """Return some rooms that have a log and the cursor to go on from (0: that was all), as SCAN does."""
        answer: Any = await self._redis.scan(cursor, match="chat:{*}:room:*:meta", count=count)
        following, found = answer
        return int(following), [keys.room_of_channel(key.decode().removesuffix(":meta")) for key in found]

    async def _living(self, names: list[str]) -> list[str]:
        if not names:
            return []
        entries = await self._redis.mget([keys.node(name) for name in names])
        return [name for name, entry in zip(names, entries, strict=True) if entry is not None]


def merge(parts: Iterable[dict[str, Any]]) -> RoomPresence:
    """Join what several nodes say of one room; a user listed by two counts once."""
    online, users = 0, {}
    for part in parts:
        online += part["online"]
        for user_id, username in part["users"]:
            if user_id in users:
                online -= 1
            users[user_id] = username
    return RoomPresence(online, list(users.items())[:LISTED_USERS])


def _node(incarnation: str, entry: dict[str, Any]) -> Node:
    """Read a node's entry; one of a later version may say more."""
    return Node(
        incarnation, entry["grpc"], entry.get("connections", 0), entry.get("rooms", 0), entry.get("forwards", True)
    )
