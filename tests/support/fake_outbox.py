"""Outboxes, leases and Logic as fakes, for unit tests of the forwarder and of the leases: no Redis, no HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, cast

import orjson
from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

from common.outbox import Waiting
from common.registry import Node

Answer = tuple[int, bytes]


def waiting(number: int, room: str = "room_1", shard: int = 1, messages: bytes = b'{"content":"x"}') -> Waiting:
    """Return an entry of an outbox; its ref tells its number."""
    return Waiting(shard, f"{number}-0".encode(), room.encode(), b"alice", b"Alice", f"r{number}".encode(), 2, messages)


class FakeOutbox:
    """The outboxes of all shards, shared by nodes; each node has its own object over the same lists."""

    def __init__(self, node: str = "node-1", shared: "FakeOutbox | None" = None) -> None:
        self.node = node
        self.entries: list[Waiting] = shared.entries if shared else []
        self.dead: list[tuple[Waiting, str]] = shared.dead if shared else []
        self.holders: dict[int, str] = shared.holders if shared else {}
        self.away = False

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("Redis is away")

    async def hold(self, *shards: int) -> list[int]:
        """As Outbox.hold, but that nothing runs out."""
        await self._answer()
        return [shard for shard in shards if self.holders.setdefault(shard, self.node) == self.node]

    async def keep(self, *shards: int) -> list[int]:
        """As Outbox.keep, but that nothing runs out."""
        await self._answer()
        return [shard for shard in shards if self.holders.get(shard) == self.node]

    async def release(self, *shards: int) -> None:
        """As Outbox.release."""
        await self._answer()
        for shard in shards:
            if self.holders.get(shard) == self.node:
                del self.holders[shard]

    async def read_heads(self, shards: list[int], count: int, _block_ms: int) -> list[Waiting]:
        """As Outbox.read_heads, but that it does not wait."""
        await self._answer()
        return [one for shard in shards for one in [e for e in self.entries if e.shard == shard][:count]]

    async def remove(self, outcomes: Mapping[int, Sequence[tuple[bytes, str]]]) -> list[int]:
        """As Outbox.remove."""
        await self._answer()
        lost = [shard for shard in outcomes if self.holders.get(shard) != self.node]
        settled = {
            (shard, entry_id): reason
            for shard, entries in outcomes.items()
            if shard not in lost
            for entry_id, reason in entries
        }
        for one in [entry for entry in self.entries if (entry.shard, entry.entry_id) in settled]:
            self.entries.remove(one)
            if reason := settled[one.shard, one.entry_id]:
                self.dead.append((one, reason))
        return lost


class FakeLeases:
    """The shards that a node holds, as long as it is not told otherwise."""

    def __init__(self, *shards: int) -> None:
        self.shards = list(shards)
        self.gained = asyncio.Event()
        self.in_use: set[int] = set()

    def held(self) -> list[int]:
        """As Leases.held."""
        return list(self.shards)

    @contextmanager
    def using(self, shards: set[int]) -> Iterator[None]:
        """As Leases.using."""
        self.in_use = shards
        try:
            yield
        finally:
            self.in_use = set()

    def lost(self, shard: int) -> None:
        """As Leases.lost."""
        self.shards.remove(shard)


class FakeNodes:
    """A registry that knows so many nodes, and one that only takes pushes."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def nodes(self) -> dict[str, Node]:
        """As Registry.nodes."""
        await asyncio.sleep(0)
        forwarding = {str(i): Node(str(i), "") for i in range(self.count)}
        return {**forwarding, "tap": Node("tap", "", forwards=False)}


class FakeLogic:
    """An aiohttp session to a Logic that answers as `answer` says, and remembers what it was sent."""

    def __init__(self) -> None:
        self.posts: list[list[dict[str, Any]]] = []
        self.answer: Callable[[list[dict[str, Any]]], Answer] = succeed
        self.connecting: Callable[[], None] = lambda: None  # called when connected, before the body is written

    @asynccontextmanager
    async def post(self, _url: str, *, data: Payload, headers: dict[str, str]) -> AsyncIterator["_Response"]:
        """As ClientSession.post."""
        assert headers == {"Content-Type": "application/json"}
        await asyncio.sleep(0)
        self.connecting()
        wire = _Wire()
        await data.write_with_length(cast("AbstractStreamWriter", wire), data.size)
        sends = orjson.loads(wire.written)["sends"]
        self.posts.append(sends)
        yield _Response(*self.answer(sends))

    async def __aenter__(self) -> Self:
        """Open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""


class _Wire:
    written = b""

    async def write(self, chunk: bytes) -> None:
        """As StreamWriter.write."""
        self.written += chunk


class _Response:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    async def read(self) -> bytes:
        """As ClientResponse.read."""
        await asyncio.sleep(0)
        return self._body


def succeed(sends: list[dict[str, Any]]) -> Answer:
    """Answer that all went well."""
    return results(["success"] * len(sends))


def results(statuses: list[str], reason: str | None = None) -> Answer:
    """Answer with a status each."""
    return 200, orjson.dumps({"status": "partial", "results": [{"status": one, "reason": reason} for one in statuses]})
