"""Hop 5 of 9: the outbox, entries that are not yet in Kafka; from common/append.lua, to comet/forwarder.py.

A shard's outbox is one durable stream. append.lua adds to it together with the room's stream. The one node that holds
the shard's lease reads it from the head and removes each entry after Logic's answer. Removal is fenced: a node that
lost its lease while it was stopped removes nothing, whatever it still believes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common import keys
from common.redis_client import TIMEOUT_S, Connection, connection_of

LEASE_MS = 5000
# A removal that is given up is mostly carried out all the same, and its batch posted again; so a disk that stalls for a
# moment is waited for.
REMOVE_TIMEOUT_S = 5.0
# What Logic refused is kept for an operator to look at: the newest so many of a shard.
DEAD_LETTERS = 10_000

# Takes the lease, or keeps it. KEYS lease; ARGV token, ms. Returns 1 if it is ours now.
# A full Redis refuses a script's first write if it takes memory, and nothing would empty the outbox any more; DEL is
# never refused, and what follows it neither.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# Gives the lease up, if it is ours. KEYS lease; ARGV token.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

# Removes forwarded entries, parking the refused ones, only while the lease is ours. XDEL comes first for a full Redis.
# KEYS lease, outbox, dead letters; ARGV token, most dead letters, then for each entry: id, reason ('' where forwarded).
# Returns how many were removed, or -1 when the lease is another's.
_REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local removed = 0
for i = 3, #ARGV, 2 do
  local entry = ARGV[i + 1] ~= '' and redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1]
  removed = removed + redis.call('XDEL', KEYS[2], ARGV[i])
  if entry then
    local fields = entry[2]
    fields[#fields + 1] = 'reason'
    fields[#fields + 1] = ARGV[i + 1]
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', unpack(fields))
  end
end
return removed
"""


@dataclass(slots=True, frozen=True)
class Waiting:
    """One entry of the outbox: the messages of one append."""

    shard: int
    entry_id: bytes
    room: bytes
    user: bytes
    name: bytes
    ref: bytes
    count: int
    messages: bytes  # JSON of {"id", "seq", "timestamp", "epoch", "content"}, joined by commas


class Outbox:
    """The outboxes of all shards, as one node sees them."""

    def __init__(self, redis: Redis, shards: int, token: str) -> None:
        self._redis = redis
        self._shards = shards
        self._token = token  # made for this life of the node: nobody else's lease carries it
        self._connection: Connection | None = None  # of `read_heads` and `remove`, while neither uses it
        self._release = redis.register_script(_RELEASE)

    async def hold(self, *shards: int) -> list[int]:
        """Take or keep the shards' leases for LEASE_MS, in one round trip and one fsync; return those that are ours."""
        pipeline = self._redis.pipeline(transaction=False)
        for shard in shards:
            pipeline.eval(_HOLD, 1, keys.lease(shard), self._token, LEASE_MS)
        return [shard for shard, ours in zip(shards, await pipeline.execute(), strict=True) if ours]

    async def release(self, shard: int) -> None:
        """Give the shard's lease up, if it is ours."""
        await self._release(keys=[keys.lease(shard)], args=[self._token])

    async def read_heads(self, shards: list[int], count: int, block_ms: int) -> list[Waiting]:
        """Return up to `count` oldest entries of each shard; where all are empty, wait `block_ms` for the first."""
        shard_of = {keys.outbox(shard).encode(): shard for shard in shards}
        read = ("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", *shard_of, *(["0-0"] * len(shards)))
        [found] = await self._ask([read], TIMEOUT_S + block_ms / 1000)
        return [_waiting(shard_of[key], *entry) for key, entries in found or () for entry in entries]

    async def remove(self, outcomes: Mapping[int, Sequence[tuple[bytes, str]]]) -> list[int]:
        """Remove entries by shard, each with '' or why it is a dead letter; return shards whose lease is another's now.

        All shards share one round trip, and so one fsync.
        """
        commands: list[tuple[Any, ...]] = []
        for shard, entries in outcomes.items():
            shard_keys = (keys.lease(shard), keys.outbox(shard), keys.outbox_dead(shard))
            arguments = (value for entry in entries for value in entry)
            commands.append(("EVAL", _REMOVE, len(shard_keys), *shard_keys, self._token, DEAD_LETTERS, *arguments))
        answers = await self._ask(commands, REMOVE_TIMEOUT_S)
        return [shard for shard, removed in zip(outcomes, answers, strict=True) if removed < 0]

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _ask(self, commands: list[tuple[Any, ...]], timeout_s: float) -> list[Any]:
        """Ask over a connection that is kept for it: a round of the forwarder takes Redis less time than redis-py."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.lost:
            await connection.disconnect(nowait=True)
            connection = None
        connection = connection or await connection_of(self._redis)
        try:
            async with asyncio.timeout(timeout_s):
                await connection.write_commands(commands)
                answers = await connection.read_answers(len(commands))
        except BaseException:
            await connection.disconnect(nowait=True)  # or what is still to come is taken for the next answer
            raise
        await self.close()  # of another that was asked at the same time
        self._connection = connection
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        return answers

    async def backlog(self) -> tuple[int, float]:
        """Return how many entries wait over all shards and the age of the oldest in seconds."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        for shard in range(self._shards):
            pipeline.xlen(keys.outbox(shard))
            pipeline.xrange(keys.outbox(shard), count=1)
        (seconds, micros), *rest = await pipeline.execute()
        heads = [int(head[0][0].partition(b"-")[0]) for head in rest[1::2] if head]
        oldest_ms = min(heads, default=None)
        return sum(rest[::2]), max(0.0, seconds + micros / 1e6 - oldest_ms / 1000) if oldest_ms is not None else 0.0


def _waiting(shard: int, entry_id: bytes, fields: list[bytes]) -> Waiting:
    """Read an entry. Garbage is handed on all the same: whoever forwards it parks it, as nobody can take it."""
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    room, user, name, ref, messages = (found.get(one, b"") for one in (b"room", b"user", b"name", b"ref", b"messages"))
    count = found.get(b"count", b"")
    return Waiting(shard, entry_id, room, user, name, ref, int(count) if count.isdigit() else 0, messages)
