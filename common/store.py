"""Hop 3 of 9: the store, each room's log in Redis; from comet/session.py (or Logic, for a backend), to append_lane.py.

Owns all reads of a log, and is the door to it: what is appended goes through the append lane (common/append_lane.py),
which keeps the order of the calls, stores each message once, and tells what happens when it is full or Redis dies.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from common import envelope, keys
from common.append_lane import AppendLane
from common.append_script import Appended, StoreLimits
from common.envelope import Burst, User
from common.positions import Log, Position, parse_epochs
from common.scripts import room_script
from common.shards import Shards

__all__ = ["PAGE_BYTES", "Appended", "Entry", "Read", "Store", "StoreLimits", "newest"]

PAGE_BYTES: Final = 262_144  # about the most in one frame of history or recovery: a client must be able to take it


@dataclass(slots=True, frozen=True)
class Entry:
    """One message as its log holds it."""

    seq: int
    epoch: int
    id: bytes
    json: bytes


@dataclass(slots=True, frozen=True)
class Read:
    """Part of a log, oldest first, and what its meta said in the same instant."""

    log: Log
    entries: list[Entry]

    @property
    def messages(self) -> bytes:
        """The entries' JSON joined by commas."""
        return b",".join(entry.json for entry in self.entries)

    def bursts(self) -> list[Burst]:
        """Return the entries as bursts, one for each run of the same epoch."""
        runs: list[list[Entry]] = []
        for entry in self.entries:
            if runs and runs[-1][0].epoch == entry.epoch:
                runs[-1].append(entry)
            else:
                runs.append([entry])
        return [Burst(run[0].epoch, run[0].seq, len(run), b",".join(e.json for e in run)) for run in runs]


class Store:
    """The rooms' logs."""

    def __init__(self, redis: Redis, shards: Shards, limits: StoreLimits) -> None:
        self._redis = redis
        self._shards = shards
        self._lane = AppendLane(redis, shards, limits)
        self._read = redis.register_script(room_script("read.lua"))

    def shard_of(self, room: str) -> int:
        """Return the shard that holds the room."""
        return self._shards.of(room)

    def keys_of(self, room: str) -> keys.RoomKeys:
        """Return the room's keys."""
        return keys.room_keys(self.shard_of(room), room)

    # -- append ------------------------------------------------------------------------------------------------------

    def append(
        self, room: str, user: User, contents: list[str], ref: str | None = None, *, forward: bool = True
    ) -> asyncio.Future[Appended]:
        """Store messages in a room, in the order of the calls, and publish them; `forward` puts them into the outbox.

        The future raises Overloaded (nothing stored), Unavailable (perhaps stored: ask again with the same ref), or
        RefReused (nothing stored now: the ref is known with other contents).
        Raises Overloaded at once when too many wait, or too many bytes; one that finds none waiting is always taken.
        """
        return self._lane.append(room, user, contents, ref, forward=forward)

    async def run(self) -> None:
        """Carry out the appends, forever."""
        await self._lane.run()

    async def drain(self) -> None:
        """Return once every append called so far is answered."""
        await self._lane.drain()

    async def answered(self) -> None:
        """Return once every append called before this is answered, whatever is called meanwhile."""
        await self._lane.answered()

    def give_up(self) -> None:
        """Refuse all that is not answered yet with Unavailable: there is no more time to wait for Redis."""
        self._lane.give_up()

    # -- reads -------------------------------------------------------------------------------------------------------

    async def read(self, room: str, from_seq: int, count: int, most_bytes: int = 0) -> Read:
        """Return up to `count` messages and about `most_bytes` (0: any) from `from_seq` on (0: the last `count`).

        Raises what redis raises.
        """
        room_keys = self.keys_of(room)
        tail, epoch, epochs, first, entries = await self._read(
            keys=[room_keys.stream, room_keys.meta], args=[from_seq, count, most_bytes]
        )
        log = Log(int(epoch), tail, first, parse_epochs(epochs))
        return Read(log, [_entry(*found) for found in entries])

    async def history(self, room: str, before_id: str | None, limit: int) -> tuple[Read, bool]:
        """Return up to `limit` messages older than `before_id` (None: the newest) and whether there are more.

        A page holds messages of one epoch, which is that of the read's log: those before it are on the next page.
        """
        room_keys = self.keys_of(room)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrevrange(room_keys.stream, _end(before_id), "-", limit + 1)
        pipeline.hmget(room_keys.meta, "seq", "epoch")
        entries, (tail, epoch) = await pipeline.execute()
        page = newest([_entry_of(entry_id, fields) for entry_id, fields in reversed(entries[:limit])], PAGE_BYTES)
        if page:
            epoch = page[-1].epoch
            page = [entry for entry in page if entry.epoch == epoch]
        return Read(Log(int(epoch or 0), int(tail or 0)), page), len(entries) > len(page)

    async def tails(self, rooms: list[str]) -> list[Position]:
        """Return where each room's log ends, in one pipeline."""
        pipeline = self._redis.pipeline(transaction=False)
        for room in rooms:
            pipeline.hmget(self.keys_of(room).meta, "epoch", "seq")
        return [Position(int(epoch or 0), int(seq or 0)) for epoch, seq in await pipeline.execute()]


def newest(entries: list[Entry], most_bytes: int) -> list[Entry]:
    """Return the newest of the entries that fit into so many bytes, at least one."""
    size = 0
    for i in range(len(entries) - 1, -1, -1):
        size += len(entries[i].json)
        if size > most_bytes and i + 1 < len(entries):
            return entries[i + 1 :]
    return entries


def _end(before_id: str | None) -> str:
    """Return where a page of history ends, for XREVRANGE, to which nothing can lie before 0-0."""
    if before_id is None:
        return "+"
    return f"({before_id}" if before_id.strip("0-") else "0-0"


def _entry(entry_id: bytes, fields: list[bytes]) -> Entry:
    """Make an Entry of what a script returns: names and values in the order in which append.lua wrote them."""
    seq = int(fields[1])
    return Entry(seq, int(fields[3]), entry_id, envelope.message(entry_id, seq, fields[5]))


def _entry_of(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    seq = int(fields[b"seq"])
    return Entry(seq, int(fields[b"epoch"]), entry_id, envelope.message(entry_id, seq, fields[b"body"]))
