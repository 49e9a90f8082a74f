"""Hop 3 of 9: the append lane, what is on its way into the rooms' logs; from common/store.py, to append_script.py.

Owns the appends until they are answered. It promises that messages of a room are stored in the order of the calls,
each once, however often a lost connection made it ask again: every append carries a ref that Redis remembers.

The lane has one batch in flight; what arrives meanwhile is the next, so that an idle lane costs no wait and a busy one
shares a round trip and an fsync among many.

When full (`append_queue` messages or `append_queue_bytes`): the newest is refused with Overloaded, counted. When Redis
dies: unanswered appends are asked again in order until their deadline, then Unavailable. When the same ref comes
twice: the first answer; RefReused where the contents differ.
"""

import asyncio
import time
from collections import deque
from itertools import chain
from typing import Any

from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from common.append_script import KEYS, Appended, AppendScript, StoreLimits, fault_in
from common.backoff import Backoff
from common.envelope import User
from common.errors import Overloaded, RefReused, Unavailable
from common.metrics import Counts, Histograms
from common.redis_client import AWAY, TIMEOUT_S, RedisConnection, connection_of
from common.scripts import calls
from common.shards import Shards

APPEND_SECONDS = Histograms(
    "chat_append_seconds",
    "From the call of append to Redis's answer",
    bounds=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
).labels()
APPENDS = Counts("chat_appends_total", "Appends by outcome", ["result"])
STORED, REPEATED, REUSED, OVERLOADED, UNAVAILABLE = (
    APPENDS.labels(r) for r in ("stored", "repeat", "ref_reused", "overloaded", "unavailable")
)
REFUSED = {RefReused: REUSED, Overloaded: OVERLOADED, Unavailable: UNAVAILABLE}
MESSAGES = Counts("chat_messages_stored_total", "Messages stored; an append may hold several").labels()
WAITING = Gauge("chat_appends_waiting", "Appends that wait for the batch in flight")
WAITING_BYTES = Gauge("chat_appends_waiting_bytes", "Bytes of the appends that wait or are in flight")
UNPUBLISHED = Counter(
    "chat_unpublished_total", "Appends stored but refused by PUBLISH, so that only Kafka carries them"
)

BATCH_APPENDS = 256  # more than this at once gains nothing and makes the first wait for the last
BATCH_BYTES = 1_048_576  # about the most at once: it is written at once, and its copies cost memory too
# Redis reads 16 KiB of a connection, then flushes its log to disk, then reads on: some twenty appends an fsync. What is
# more goes over several connections, which Redis reads all before it flushes.
STRIP_BYTES = 16_384
STRIPS = 4


class _Append:
    """An append on its way: the script's arguments and who waits for the answer."""

    __slots__ = ("arguments", "asked_at", "future", "size_bytes", "stream")

    def __init__(self, arguments: tuple[Any, ...], size_bytes: int, future: asyncio.Future[Appended]) -> None:
        self.arguments = arguments
        self.stream: str = arguments[0]  # its room's
        self.size_bytes = size_bytes
        self.future = future
        self.asked_at = time.monotonic()  # for its latency and its deadline


class AppendLane:
    """The appends of one store, in the order of the calls."""

    def __init__(self, redis: Redis, shards: Shards, limits: StoreLimits) -> None:
        self._redis = redis  # only makes the connection
        self._connections: list[RedisConnection] = []  # made on demand, and again after a missing answer
        self._limits = limits
        self._script = AppendScript(shards, limits)
        self._waiting: deque[_Append] = deque()
        self._in_flight: list[_Append] = []
        self._bytes = 0  # of what waits and of what is in flight
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()  # nothing waits and nothing is in flight
        self._idle.set()
        WAITING.set_function(lambda: len(self._waiting))
        WAITING_BYTES.set_function(lambda: self._bytes)

    def append(
        self, room: str, user: User, contents: list[str], ref: str | None, *, forward: bool
    ) -> asyncio.Future[Appended]:
        """Take messages in, as Store.append says. Raises Overloaded when too many wait, or too many bytes."""
        if len(self._waiting) >= self._limits.append_queue or self._bytes >= self._limits.append_queue_bytes:
            OVERLOADED.inc()
            raise Overloaded("too many messages wait for Redis; try again later")
        arguments, size_bytes = self._script.arguments(room, user, contents, ref, forward=forward)
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Append(arguments, size_bytes, future))
        self._bytes += size_bytes
        self._idle.clear()
        self._arrived.set()
        return future

    async def run(self) -> None:
        """Carry out the appends, one batch at a time, forever."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    self._give_up_late([], "is too slow")
                    await self._settle(self._next_batch())
                    self._in_flight = []
                self._idle.set()
        finally:
            await self._disconnect()

    async def drain(self) -> None:
        """Return once every append called so far is answered."""
        await self._idle.wait()

    async def answered(self) -> None:
        """Return once every append called before this is answered, whatever is called meanwhile."""
        if last := self._waiting or self._in_flight:
            await asyncio.wait([last[-1].future])
        else:
            await asyncio.sleep(0)  # who was answered just now hears of it in a callback, which runs before us

    def give_up(self) -> None:
        """Refuse all that is not answered yet with Unavailable: there is no more time to wait for Redis."""
        fault = Unavailable("the server is restarting; reconnect and send again with the same ref")
        for append in (*self._in_flight, *self._waiting):
            if not append.future.done():
                _refuse(append, fault)

    def _next_batch(self) -> list[_Append]:
        batch, size = self._in_flight, 0
        while self._waiting and len(batch) < BATCH_APPENDS and size < BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1].size_bytes
        return batch

    async def _settle(self, batch: list[_Append]) -> None:
        backoff = Backoff(first_s=0.02, cap_s=0.5)
        asked_before = False
        while batch:
            try:
                async with asyncio.timeout(TIMEOUT_S * 2):
                    answers = await self._ask(batch)
            except AWAY as e:
                asked_before = True
                batch = self._give_up_late(batch, f"is away ({type(e).__name__})")
                if batch:  # else what came meanwhile is not to wait for what was given up
                    await backoff.wait()
            else:
                for append, answer in zip(batch, answers, strict=True):
                    self._bytes -= append.size_bytes
                    _answer(append, answer, asked_before=asked_before)
                return

    async def _ask(self, batch: list[_Append]) -> list[Any]:
        """Ask for all of them at once, in a pipeline, or in several where that is too long for one.

        A room's appends stand in one pipeline, in their order. The first of each carries the script's text, so that
        those behind it find it whatever Redis forgot. Were some refused for want of it and later ones not, as somebody
        loaded it meanwhile, later messages would overtake earlier; only who flushes Redis's scripts while a batch is
        being carried out can bring that about.
        """
        strips = _strips(batch)
        found = await self._converse([self._commands([batch[i] for i in strip]) for strip in strips])
        answers = [None] * len(batch)
        for i, answer in zip(chain(*strips), chain(*found), strict=True):
            answers[i] = answer
        if any(isinstance(answer, NoScriptError) for answer in answers):  # flushed in between
            return await self._ask(batch)  # the refs make asking for all again harmless
        return answers

    def _commands(self, strip: list[_Append]) -> list[tuple[Any, ...]]:
        return calls(self._script.text, KEYS, (append.arguments for append in strip))

    async def _converse(self, pipelines: list[list[tuple[Any, ...]]]) -> list[list[Any]]:
        """Send each pipeline over a connection of its own, and return their answers."""
        connections = self._connections
        try:
            while len(connections) < len(pipelines):
                connections.append(await connection_of(self._redis))
            asked = list(zip(connections, pipelines, strict=False))
            async with asyncio.timeout(TIMEOUT_S):
                for connection, commands in asked:
                    await connection.write_commands(commands)
                return [await connection.read_answers(len(commands)) for connection, commands in asked]
        except BaseException:  # cancelled as well: what is still to come must not be taken for the next answers
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.disconnect(nowait=True)

    def _give_up_late(self, batch: list[_Append], why: str) -> list[_Append]:
        """Refuse what waited too long, of the batch and behind it; return the rest of the batch."""
        late = time.monotonic() - self._limits.append_timeout_s
        fault = Unavailable(f"Redis {why}; try again with the same ref")
        for append in batch:
            if append.asked_at < late:
                _refuse(append, fault)
        gone = [append for append in batch if append.future.done()]
        while self._waiting and self._waiting[0].asked_at < late:
            gone.append(self._waiting.popleft())
            _refuse(gone[-1], fault)
        self._bytes -= sum(append.size_bytes for append in gone)
        return [append for append in batch if not append.future.done()]


def _strips(batch: list[_Append]) -> list[list[int]]:
    """Deal a batch out by room; return where in the batch those of each strip stand."""
    count = min(STRIPS, 1 + sum(append.size_bytes for append in batch) // STRIP_BYTES)
    strips: list[list[int]] = [[] for _ in range(count)]
    for i, append in enumerate(batch):
        strips[hash(append.stream) % count].append(i)
    return [strip for strip in strips if strip]


def _answer(append: _Append, answer: Any, *, asked_before: bool) -> None:  # noqa: ANN401 - whatever the script returned or raised
    fault = fault_in(answer)
    if fault is not None:
        _refuse(append, fault)
        return
    repeat, ack, published = answer
    appended = Appended.parse(ack, repeat=bool(repeat))
    (REPEATED if repeat else STORED).inc()
    if not repeat or asked_before:  # then it was mostly we who repeated it, as an answer was lost
        MESSAGES.inc(len(appended.ids))
    if not published:
        UNPUBLISHED.inc()
    APPEND_SECONDS.observe(time.monotonic() - append.asked_at)
    if not append.future.done():  # who asked may have gone away meanwhile
        append.future.set_result(appended)


def _refuse(append: _Append, fault: Overloaded | Unavailable | RefReused) -> None:
    REFUSED[type(fault)].inc()
    if not append.future.done():
        append.future.set_exception(fault)
