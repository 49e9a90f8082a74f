"""The registry: which nodes live, which rooms and users each serves. Written by Comet, read by Job and Logic.

A node's life is a key with a TTL that it renews. Whatever names a node that no longer lives counts as absent. All of it
is a hint for routing: the room's stream stays the truth.

A node writes fields of its own into hashes of rooms and users. Its index names each such hash before the field is
written, and the list of nodes names each node with an index. So everything that a dead node left can be found and
removed (comet/cleanup.py), in small steps that may be repeated and that several nodes may take at once. A node that
was presumed dead and still writes under its old name puts itself back on the list.
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
# A node that did not renew for so long is forgotten. Until then Job may still push to a node that lost its life only
# because Redis was away.
FORGET_S = LIFE_S * 6
DEAD_AT_ONCE = 100


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
            await self._redis.zadd(keys.NODES, {node.incarnation: clock[0]})
        return bool(renewed)

    async def leave(self, incarnation: str) -> None:
        """End the node's life: it stops, and nobody shall push to it. It stays listed until it is forgotten."""
        await self._redis.delete(keys.node(incarnation))

    async def record(
        self,
        incarnation: str,
        rooms: dict[str, RoomPresence | None],
        users: dict[str, int],
        room_ttl_s: int,
    ) -> None:
        """Write which rooms the node serves (None: no longer) and how many sessions users have on it (0: none left)."""
        fields: dict[str, tuple[bytes | int | None, int]] = {}  # by the hash's key: the node's field, the hash's TTL
        for room, presence in rooms.items():
            value = None if presence is None else presence.to_json()
            fields[keys.room_keys(self._shards.of(room), room).nodes] = (value, room_ttl_s)
        for user, sessions in users.items():
            fields[keys.user(user)] = (sessions or None, USER_TTL_S)
        await self._write(incarnation, fields, max(room_ttl_s, USER_TTL_S))

    async def _write(self, incarnation: str, fields: dict[str, tuple[bytes | int | None, int]], ttl_s: int) -> None:
        """Write or remove the node's field in each hash. Index first, then list: `forget` relies on this order."""
        pipeline = self._redis.pipeline(transaction=False)
        index = keys.index(incarnation)
        if written := [key for key, (value, _) in fields.items() if value is not None]:
            pipeline.sadd(index, *written)
            pipeline.expire(index, ttl_s)
            pipeline.zadd(keys.NODES, {incarnation: 0}, nx=True)  # only a node that was forgotten already is not there
        for key, (value, key_ttl_s) in fields.items():
            if value is None:
                pipeline.hdel(key, incarnation)
            else:
                pipeline.hset(key, incarnation, value)
                pipeline.expire(key, key_ttl_s)
        if removed := [key for key, (value, _) in fields.items() if value is None]:
            pipeline.srem(index, *removed)
        await pipeline.execute()

    # -- what is done about dead nodes -------------------------------------------------------------------------------

    async def dead(self) -> list[str]:
        """Return some listed incarnations that live no more and did not renew for FORGET_S, the oldest first."""
        seconds, _ = await self._redis.time()
        found: Any = await self._redis.zrange(
            keys.NODES, "-inf", seconds - FORGET_S, byscore=True, offset=0, num=DEAD_AT_ONCE
        )
        names = [name.decode() for name in found]
        living = set(await self._living(names))
        return [name for name in names if name not in living]

    async def forget(self, incarnation: str, count: int) -> bool:
        """Remove a dead node's field from up to `count` hashes; return whether it may have left more.

        It may be repeated, and done by several at once. A node that has left nothing more is taken off the list. Should
        it write at that very moment, one of the two sees it: the index is looked at after the list, and written before.
        """
        index = keys.index(incarnation)
        found: Any = await self._redis.srandmember(index, count)
        pipeline = self._redis.pipeline(transaction=False)
        if found:
            for key in found:
                pipeline.hdel(key, incarnation)
            pipeline.srem(index, *found)
            await pipeline.execute()
            return True
        pipeline.zrem(keys.NODES, incarnation)
        pipeline.exists(index)
        _, left = await pipeline.execute()
        if left:
            await self._redis.zadd(keys.NODES, {incarnation: 0}, nx=True)
        return bool(left)

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
        living = set(await self._living(names)) - {without}
        return [merge(orjson.loads(text) for name, text in entry.items() if name.decode() in living) for entry in found]

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
