"""A room's log, PubSub and the registry as fakes, for unit tests of the hub and of joining: no Redis, any interleaving.

`FakeStore.on_ask` is called before the answer of a read is fixed, `on_read` after that and before it is given: there a
test lets messages race with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from comet.hub import Hub
from comet.outbound import Outbound
from comet.presence import Presences
from comet.pubsub import PubSub
from comet.room import Room
from common.envelope import Burst, User
from common.errors import Unavailable
from common.positions import Log, Position
from common.store import Entry, Read, Store
from tests.support.rooms import burst, message


class FakeStore:
    """One room's log."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.epochs: tuple[tuple[int, int], ...] = ()
        self.first = 1
        self.reads = 0
        self.away = False
        self.on_ask: Callable[[], object] = lambda: None
        self.on_read: Callable[[], object] = lambda: None
        self._clock = 0  # the last epoch opened
        self._restarted = True  # whoever looks next opens an epoch, as epoch.lua does

    # -- what a test does --------------------------------------------------------------------------------------------

    @property
    def tail(self) -> int:
        """The seq of the last message."""
        return self.entries[-1].seq if self.entries else 0

    @property
    def epoch(self) -> int:
        """The present epoch."""
        return self.epochs[-1][0] if self.epochs else 0

    @property
    def log(self) -> Log:
        """What meta and stream say."""
        return Log(self.epoch, self.tail, min(self.first, self.tail + 1), self.epochs)

    def append(self, count: int = 1, *, size: int = 0) -> Burst:
        """Append messages and return what PubSub would carry."""
        self._open()
        first = self.tail + 1
        self.entries += [
            Entry(seq, self.epoch, f"{seq}-0".encode(), message(seq, size, self.epoch))
            for seq in range(first, first + count)
        ]
        return burst(first, count, epoch=self.epoch, size=size)

    def restart(self, lost: int = 0) -> None:
        """Redis restarted, and perhaps lost its last messages, or (all of them) the room: an epoch is to be opened."""
        if lost:
            del self.entries[-lost:]
            self.first = min(self.first, self.tail + 1)
            self.epochs = tuple(pair for pair in self.epochs if pair[1] <= self.tail)
        self._restarted = True

    def trim(self, before: int) -> None:
        """Drop what lies below a seq."""
        self.first = max(self.first, before)

    def _open(self) -> None:
        if self._restarted:
            self._restarted = False
            self._clock += 1
            self.epochs = (*self.epochs, (self._clock, self.tail + 1))

    # -- what the hub asks -------------------------------------------------------------------------------------------

    async def read(self, _room: str, from_seq: int, count: int, _most_bytes: int = 0) -> Read:
        """As Store.read, but for the bytes."""
        self.reads += 1
        await self._asked()
        if self.epochs:  # a room without a log is not begun by looking at it
            self._open()
        held = [entry for entry in self.entries if entry.seq >= self.first]
        begin = max(1, self.tail - count + 1) if from_seq == 0 else from_seq
        answer = Read(self.log, [entry for entry in held if entry.seq >= begin][:count])
        await self._answer()
        return answer

    async def history(self, _room: str, before_id: str | None, limit: int) -> tuple[Read, bool]:
        """As Store.history, of the newest page."""
        assert before_id is None
        await self._asked()
        page = self.entries[-limit:]
        await self._answer()
        return Read(self.log, page), len(page) < len(self.entries)

    async def tails(self, rooms: list[str]) -> list[Position]:
        """As Store.tails."""
        await self._asked()
        found = [Position(self.epoch, self.tail)] * len(rooms)
        await self._answer()
        return found

    async def _asked(self) -> None:
        self.on_ask()

    async def _answer(self) -> None:
        self.on_read()
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionError("Redis is away")


class FakePubSub:
    """Subscriptions that are confirmed at once, or never."""

    def __init__(self) -> None:
        self.subscribed: set[str] = set()
        self.away = False
        self.on_subscribe: Callable[[], object] = lambda: None

    async def subscribe(self, room_id: str) -> None:
        """As PubSub.subscribe."""
        self.on_subscribe()
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("Redis did not confirm a subscription; try again later")
        self.subscribed.add(room_id)

    def unsubscribe(self, room_id: str) -> None:
        """As PubSub.unsubscribe."""
        self.subscribed.discard(room_id)


class FakePresences:
    """One user is in every room."""

    async def online(self, _room: Room, _joining: User) -> int:
        """As Presences.online."""
        await asyncio.sleep(0)
        return 1


class Node:
    """A hub over fakes."""

    def __init__(self, history: int = 20, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()
        self.pubsub = FakePubSub()
        self.presences = cast("Presences", FakePresences())
        self.changed: list[str] = []
        self.hub = Hub(
            {},
            cast("Store", self.store),
            cast("PubSub", self.pubsub),
            Outbound(),
            lambda room: self.changed.append(room.id),
            history,
        )

    def bring(self, one: Burst, path: str = "pubsub") -> str:
        """Let a path bring a burst to room_1."""
        return self.hub.deliver("room_1", one, path)

    async def settle(self) -> None:
        """Let the loop do all that can be done without anything new."""
        for _ in range(50):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[Node]:
    """Run the node's hub while inside."""
    task = asyncio.create_task(node.hub.run())
    await asyncio.sleep(0)
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
