"""Hop 3 of 9: the store, each room's log in Redis; from comet/session.py (or Logic, for a backend), to Redis.

Owns the append lane and all reads of a log. It promises that messages of a room are stored in the order of the calls,
each once, however often a lost connection made it ask again: every append carries a ref that Redis remembers.

The lane has one pipeline in flight; what arrives meanwhile is the next, so that an idle lane costs no wait and a busy
one shares a round trip and an fsync among many.

When full (`append_queue` messages or `append_queue_bytes`): the newest is refused with Overloaded, counted. When Redis
dies: unanswered appends are asked again in order until their deadline, then Unavailable. When the same ref comes
twice: the first answer.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import orjson
from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError

from common import envelope, ids, keys, shards
from common.backoff import Backoff
from common.envelope import Burst, User
from common.errors import Overloaded, Unavailable
from common.positions import Log, Position, parse_epochs
from common.redis_client import AWAY, TIMEOUT_S

APPEND_SECONDS = Histogram(
    "chat_append_seconds",
    "From the call of append to Redis's answer",
    buckets=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
APPENDS = Counter("chat_appends_total", "Appends by outcome", ["result"])
STORED, REPEATED, OVERLOADED, UNAVAILABLE = (
    APPENDS.labels(r) for r in ("stored", "repeat", "overloaded", "unavailable")
)
WAITING = Gauge("chat_appends_waiting", "Appends that wait for the pipeline in flight")
WAITING_BYTES = Gauge("chat_appends_waiting_bytes", "Bytes of the appends that wait or are in flight")
UNPUBLISHED = Counter(
    "chat_unpublished_total", "Appends stored but refused by PUBLISH, so that only Kafka carries them"
)

PIPELINE_APPENDS = 256  # more than this in one pipeline gains nothing and makes the first wait for the last
PIPELINE_BYTES = 1_048_576  # about the most in one pipeline: it is written at once, and its copies cost memory too
APPEND_BYTES = 512  # about what an append takes besides its messages
OWN_REF_SECONDS = 30  # at least: our own refs guard our own retries, which end with the append's deadline
PAGE_BYTES = 262_144  # about the most in one frame of history or recovery: a client must be able to take it


@dataclass(slots=True, frozen=True)
class Limits:
    """How much of a log is kept, and for how long an append is tried."""

    shards: int = 16
    max_messages: int = 10_000
    max_age_s: int = 604_800
    room_ttl_s: int = 604_800
    ref_window_s: int = 300
    append_timeout_s: float = 5.0
    append_queue: int = 10_000
    append_queue_bytes: int = 67_108_864


@dataclass(slots=True, frozen=True)
class Appended:
    """Where the messages of one append stand: consecutive from `first_seq`, an id each."""

    epoch: int
    first_seq: int
    ids: list[str]
    repeat: bool = field(default=False, compare=False)  # the ref was known: this is the first answer

    def to_json(self, ref: str | None, room: str) -> bytes:
        """Return the ack frame."""
        messages = [
            {"id": one, "seq": seq, "timestamp": int(one.partition("-")[0])}
            for seq, one in enumerate(self.ids, self.first_seq)
        ]
        payload = {"ref": ref, "roomId": room, "epoch": self.epoch, "messages": messages}
        return orjson.dumps({"type": "ack", "payload": payload})


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


class _Append:
    """An append on its way: the script's arguments and who waits for the answer."""

    __slots__ = ("arguments", "asked_at", "future", "size_bytes")

    def __init__(self, arguments: tuple[Any, ...], size_bytes: int, future: asyncio.Future[Appended]) -> None:
        self.arguments = arguments
        self.size_bytes = size_bytes
        self.future = future
        self.asked_at = time.monotonic()  # for its latency and its deadline


class Store:
    """The rooms' logs."""

    def __init__(self, redis: Redis, lane_redis: Redis, limits: Limits) -> None:
        self._redis = redis  # reads
        self._lane_redis = lane_redis  # appends, without retries of its own: the lane has them
        self._limits = limits
        self._refs = ids.Refs()
        self._own_ref_s = max(OWN_REF_SECONDS, int(limits.append_timeout_s * 2))
        self._waiting: deque[_Append] = deque()
        self._in_flight: list[_Append] = []
        self._bytes = 0  # of what waits and of what is in flight
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()  # nothing waits and nothing is in flight
        self._idle.set()
        self._append_script = _script("append.lua")
        self._append_sha = lane_redis.register_script(self._append_script).sha
        self._read = redis.register_script(_script("read.lua"))
        WAITING.set_function(lambda: len(self._waiting))
        WAITING_BYTES.set_function(lambda: self._bytes)

    def shard_of(self, room: str) -> int:
        """Return the shard that holds the room."""
        return ids.shard_of(room, self._limits.shards)

    def keys_of(self, room: str) -> keys.RoomKeys:
        """Return the room's keys."""
        return keys.room_keys(self.shard_of(room), room)

    async def check_shards(self) -> None:
        """Settle how many shards this Redis has; raise StartupError if it was set up with another number."""
        await shards.check(self._redis, self._limits.shards)

    # -- append ------------------------------------------------------------------------------------------------------

    def append(
        self, room: str, user: User, contents: list[str], ref: str | None = None, *, forward: bool = True
    ) -> asyncio.Future[Appended]:
        """Store messages in a room, in the order of the calls, and publish them; `forward` puts them into the outbox.

        The future raises Overloaded (nothing stored) or Unavailable (perhaps stored: ask again with the same ref).
        Raises Overloaded at once when too many wait, or too many bytes; one that finds none waiting is always taken.
        """
        if len(self._waiting) >= self._limits.append_queue or self._bytes >= self._limits.append_queue_bytes:
            OVERLOADED.inc()
            raise Overloaded("too many messages wait for Redis; try again later")
        shard = self.shard_of(room)
        room_keys = keys.room_keys(shard, room)
        limits = self._limits
        key_ref = ref if ref is not None else self._refs.new()
        user_json = user.to_json()
        arguments: list[Any] = [
            room_keys.stream,
            room_keys.meta,
            room_keys.nodes,
            room_keys.outbox,
            keys.ref(shard, room, user.id, key_ref),
            room_keys.channel,
            room,
            user.id,
            user.username,
            key_ref,
            limits.ref_window_s if ref is not None else self._own_ref_s,
            1 if forward else 0,
            limits.max_messages,
            limits.max_age_s * 1000,
            limits.room_ttl_s,
        ]
        size = APPEND_BYTES
        for content in contents:
            content_json = orjson.dumps(content)
            body = envelope.body(content_json, user_json)
            arguments += (content_json, body)
            size += len(content_json) + len(body)
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Append(tuple(arguments), size, future))
        self._bytes += size
        self._idle.clear()
        self._arrived.set()
        return future

    async def run(self) -> None:
        """Carry out the appends, one pipeline at a time, forever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                self._give_up_late([], "is too slow")
                await self._settle(self._next_batch())
                self._in_flight = []
            self._idle.set()

    async def drain(self) -> None:
        """Return once every append called so far is answered."""
        await self._idle.wait()

    async def answered(self) -> None:
        """Return once every append called before this is answered, whatever is called meanwhile."""
        if last := self._waiting or self._in_flight:
            await asyncio.wait([last[-1].future])

    def give_up(self) -> None:
        """Refuse all that is not answered yet with Unavailable: there is no more time to wait for Redis."""
        fault = Unavailable("the server is restarting; reconnect and send again with the same ref")
        for append in (*self._in_flight, *self._waiting):
            if not append.future.done():
                _refuse(append, fault)

    def _next_batch(self) -> list[_Append]:
        batch, size = self._in_flight, 0
        while self._waiting and len(batch) < PIPELINE_APPENDS and size < PIPELINE_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1].size_bytes
        return batch

    async def _settle(self, batch: list[_Append]) -> None:
        backoff = Backoff(first_s=0.02, cap_s=0.5)
        while batch:
            try:
                async with asyncio.timeout(TIMEOUT_S * 2):
                    answers = await self._ask(batch)
            except AWAY as e:
                batch = self._give_up_late(batch, f"is away ({type(e).__name__})")
                if batch:  # else what came meanwhile is not to wait for what was given up
                    await backoff.wait()
            else:
                for append, answer in zip(batch, answers, strict=True):
                    self._bytes -= append.size_bytes
                    _answer(append, answer)
                return

    async def _ask(self, batch: list[_Append]) -> list[Any]:
        """Ask for all of them in one pipeline.

        The first carries the script's text, so that those behind it find it whatever Redis forgot. Were some refused
        for want of it and later ones not, as another node loaded it meanwhile, later messages would overtake earlier.
        """
        pipeline = self._lane_redis.pipeline(transaction=False)
        first, *others = batch
        pipeline.eval(self._append_script, 5, *first.arguments)
        for append in others:
            pipeline.evalsha(self._append_sha, 5, *append.arguments)
        answers = await pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, NoScriptError) for answer in answers):  # flushed in between
            return await self._ask(batch)  # the refs make asking for all again harmless
        return answers

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


def _script(name: str) -> str:
    """Return a script's text, with the epochs' part that it needs in front."""
    folder = resources.files("common")
    return folder.joinpath("epoch.lua").read_text() + folder.joinpath(name).read_text()


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


def _answer(append: _Append, answer: Any) -> None:  # noqa: ANN401 - whatever the script returned or raised
    if isinstance(answer, OutOfMemoryError) or "-OOM " in str(answer):  # the latter is how Redis 6.2 tells of a script
        _refuse(append, Overloaded("Redis is full; nothing was stored"))
        return
    if isinstance(answer, RedisError):
        _refuse(append, Unavailable(f"Redis refused the message ({answer})"))
        return
    repeat, ack, published = answer
    (REPEATED if repeat else STORED).inc()
    if not published:
        UNPUBLISHED.inc()
    APPEND_SECONDS.observe(time.monotonic() - append.asked_at)
    if not append.future.done():  # who asked may have gone away meanwhile
        epoch, first_seq, *found = ack.decode().split(" ")
        append.future.set_result(Appended(int(epoch), int(first_seq), found, repeat=bool(repeat)))


def _refuse(append: _Append, fault: Overloaded | Unavailable) -> None:
    (OVERLOADED if isinstance(fault, Overloaded) else UNAVAILABLE).inc()
    if not append.future.done():
        append.future.set_exception(fault)
