"""The load of a run: clients that send, come and go all the time, whatever dies meanwhile.

It is not the bench's load generator: the product's own `ChatClient` sends and receives here, because a run judges its
reconnects and resumes too. The bench's clients do as little as they can, so that the server is measured and not they.

Senders are open-loop: `rate` messages a second, without waiting for acks. Two thirds of the clients also lose their
connections, leave rooms and join others, so that joins are always in flight; one third stays where it is. Each new
connection of a client goes to the next node. What was sent and seen is in the ledger.

Bound: at OUTSTANDING unacked messages senders pause; what was not sent is not made up for.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from chatroom_client import ChatClient, ChatError, Disconnected
from tests.chaos.ledger import Ledger

OUTSTANDING: Final = 4000
ROOMS_EACH: Final = 3
TICK_S: Final = 0.02
CHURN_S: Final = 0.15  # between two clients that come or go: a drop makes 3 joins, a move makes 1
DROPS: Final = 0.3  # share of them that lose their connection
BROADCAST_S: Final = 2.0
PING_S: Final = 4.0  # finds a half-open connection within 8 s
RECONNECT_CAP_S: Final = 1.0
OPEN_TIMEOUT_S: Final = 60.0
POST_TIMEOUT_S: Final = 5.0
POST_RETRY_S: Final = 0.5
LOOK_S: Final = 0.05


class _Chat(ChatClient):
    """A client that tells the ledger of each loss of its connection: no frame says that."""

    def __init__(self, ledger: Ledger, name: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, uid=name, name=name, trace=ledger.trace(name), **options)
        self._lost = partial(ledger.lost, name)

    def on_lost(self, code: int, reason: str, wait_s: float) -> None:
        self._lost()
        super().on_lost(code, reason, wait_s)


@dataclass(slots=True, eq=False)
class _Client:
    """One client, and the rooms it sends to."""

    name: str
    chat: ChatClient
    rooms: list[str]
    stays: bool
    sent: int = 0

    async def open(self) -> None:
        await self.chat.__aenter__()
        async with asyncio.TaskGroup() as tasks:
            for room in self.rooms:
                tasks.create_task(self.chat.join(room))


class Load:
    """Clients named c0, c1, ...; `async with` connects them and starts, `quiesce` ends it."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a run chooses
        self,
        urls: Sequence[str],
        logic_url: str,
        rooms: Sequence[str],
        clients: int,
        rate: float,
        rng: random.Random,
        ledger: Ledger,
    ) -> None:
        self.faults: list[str] = []  # what must not happen: a message that can't be sent, a client sent away
        self.offered: list[float] = []  # when each message was given to a client, in seconds since the epoch
        self.held_back = 0  # messages that were due while too many were unacked
        self._urls = list(urls)
        self._logic_url = logic_url
        self._rooms = list(rooms)
        self._rate = rate
        self._rng = rng
        self._ledger = ledger
        self._clients = [self._client(f"c{i}", i) for i in range(clients)]
        self._busy: set[_Client] = set()  # coming or going at the moment
        self._outstanding = 0
        self._broadcasting = False  # one is not answered yet
        self._broadcasts = 0
        self._quiet = asyncio.Event()  # set: no more sends, nobody comes or goes
        self._closed = False
        self._tasks: asyncio.TaskGroup | None = None
        self._stack = AsyncExitStack()

    def _client(self, name: str, number: int) -> _Client:
        first = number % len(self._urls)
        chat = _Chat(
            self._ledger,
            name,
            self._urls[first:] + self._urls[:first],
            ping_s=PING_S,
            reconnect_cap_s=RECONNECT_CAP_S,
            events_limit=1,  # the ledger sees the frames themselves
            rng=random.Random(self._rng.random()),  # noqa: S311 - a seeded run
        )
        rooms = self._rng.sample(self._rooms, min(ROOMS_EACH, len(self._rooms)))
        return _Client(name, chat, rooms, stays=number % 3 == 0)

    # -- what it shows while it runs ---------------------------------------------------------------------------------

    @property
    def sent(self) -> int:
        """Messages given to clients."""
        return len(self.offered)

    @property
    def acked(self) -> int:
        """Messages acked."""
        return len(self._ledger.acked)

    @property
    def delivered(self) -> int:
        """Messages that clients were sent."""
        return self._ledger.delivered

    @property
    def outstanding(self) -> int:
        """Messages without an ack."""
        return self._outstanding

    @property
    def connected(self) -> int:
        """Clients that have a connection now."""
        return sum(client.chat.connected for client in self._clients)

    # -- its life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect all clients, join their rooms and begin to send."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(OPEN_TIMEOUT_S), asyncio.TaskGroup() as opening:
                for client in self._clients:
                    stack.push_async_callback(client.chat.close)
                    opening.create_task(client.open())
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for work in (self._send(), self._churn(), self._broadcast()):
                self._tasks.create_task(work)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End at once whatever still goes on, and close all clients."""
        self._quiet.set()
        self._closed = True
        for client in self._clients:
            await client.chat.close()
        await self._stack.__aexit__(kind, error, trace)

    async def quiesce(self, timeout_s: float) -> list[str]:
        """Send no more; wait until all is acked and all views stand at their rooms' tails; close all clients.

        Marks the views that go on as whole. Returns what was not reached in time; nothing, if all is well.
        """
        self._quiet.set()
        late: list[str] = []
        tails: dict[str, int] = {}
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: not (self._outstanding or self._busy or self._broadcasting))
                tails = await self._tails()
                await self._until(lambda: not self._behind(tails))
        except TimeoutError:
            late = [f"not quiet after {timeout_s:g} s: {self._outstanding} messages without an ack"]
            late += [f"{client.name} still comes or goes" for client in self._busy]
            late += self._behind(tails)
        self._ledger.finish()
        for client in self._clients:
            await client.chat.close()
        return self.faults + late

    async def _tails(self) -> dict[str, int]:
        """Return the seq of each room's last message, as a fresh client is told it."""
        async with ChatClient(self._urls, uid="tails", events_limit=1) as chat, asyncio.TaskGroup() as tasks:
            joins = [tasks.create_task(chat.join(room)) for room in self._rooms]
        tails = {join.result().room: join.result().position.seq for join in joins}
        for acked in self._ledger.acked:  # a join whose recent messages cross an epoch begins before the tail
            tails[acked.room] = max(tails[acked.room], acked.seq)
        return tails

    def _behind(self, tails: dict[str, int]) -> list[str]:
        """Return which views that go on have not reached their room's tail."""
        return [
            f"{view.client} stands at {last} of {view.room}, whose tail is {tails[view.room]}"
            for view in self._ledger.going_on()
            if (last := view.seen[-1].seq if view.seen else view.seq) < tails.get(view.room, 0)
        ]

    async def _until(self, true: Callable[[], object]) -> None:
        while not true():
            await asyncio.sleep(LOOK_S)

    # -- sending -----------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due, before = 0.0, loop.time()
        while not self._quiet.is_set():
            await asyncio.sleep(TICK_S)
            now = loop.time()
            due, before = min(due + (now - before) * self._rate, self._rate), now
            while due >= 1:
                due -= 1
                self._offer()

    def _offer(self) -> None:
        """Give a message to some client; what becomes of it is waited for elsewhere."""
        if self._outstanding >= OUTSTANDING:
            self.held_back += 1
            return
        client = self._rng.choice(self._clients)
        client.sent += 1
        self.offered.append(self._ledger.clock())
        self._outstanding += 1
        assert self._tasks is not None
        self._tasks.create_task(self._deliver(client, self._rng.choice(client.rooms), f"{client.name}-{client.sent}"))

    async def _deliver(self, client: _Client, room: str, key: str) -> None:
        try:
            await client.chat.send(room, key)
        except Disconnected as e:
            self._sent_away(client, e)
        except (ChatError, TimeoutError) as e:
            self.faults.append(f"{key} could not be sent to {room}: {e!r}")
        finally:
            self._outstanding -= 1

    def _sent_away(self, client: _Client, gone: Disconnected) -> None:
        if not self._quiet.is_set():
            self.faults.append(f"{client.name} was sent away: {gone}")

    # -- coming and going --------------------------------------------------------------------------------------------

    async def _churn(self) -> None:
        movers = [client for client in self._clients if not client.stays]
        while not self._quiet.is_set():
            await asyncio.sleep(CHURN_S)
            client = self._rng.choice(movers)
            if self._rng.random() < DROPS:
                client.chat.drop()
            elif client not in self._busy:
                assert self._tasks is not None
                self._busy.add(client)
                self._tasks.create_task(self._move(client))

    async def _move(self, client: _Client) -> None:
        """Join another room, then leave one."""
        others = [room for room in self._rooms if room not in client.rooms]
        try:
            if others:
                joined = self._rng.choice(others)
                await client.chat.join(joined)
                client.rooms.append(joined)
                left = client.rooms.pop(self._rng.randrange(len(client.rooms) - 1))
                await client.chat.leave(left)
                self._ledger.left(client.name, left)
        except Disconnected as e:
            self._sent_away(client, e)
        except ChatError as e:
            self.faults.append(f"{client.name} could not join or leave: {e!r}")
        finally:
            self._busy.discard(client)

    # -- broadcasts --------------------------------------------------------------------------------------------------

    async def _broadcast(self) -> None:
        """Tell everyone something through Logic, again with the same ref until it is accepted."""
        timeout = aiohttp.ClientTimeout(total=POST_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while not self._quiet.is_set():
                self._broadcasts += 1
                body = f"broadcast-{self._broadcasts}"
                self._broadcasting = True
                while not await self._posted(http, body):
                    if self._closed:
                        return
                    await asyncio.sleep(POST_RETRY_S)
                self._broadcasting = False
                self._ledger.broadcast_acked.append(body)
                with suppress(TimeoutError):
                    async with asyncio.timeout(BROADCAST_S):
                        await self._quiet.wait()

    async def _posted(self, http: aiohttp.ClientSession, body: str) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with http.post(f"{self._logic_url}/logic/broadcast", json={"body": body, "ref": body}) as answer:
                return answer.ok
        return False
