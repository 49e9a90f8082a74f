"""Hop 6 of 9: what a send, a push and a broadcast do; from logic/api.py, to logic/producer.py.

A send from Comet stands in its room's log already: it is produced. A backend's is appended first, exactly as Comet does
it, but for the outbox: a forwarder would bring each of them here a second time, within milliseconds and long before
Logic knows whether Kafka took it, which doubles the traffic. So what Logic had stored when it died comes to Kafka when
its caller, who never got an answer, repeats it with its ref. Nothing is stored while Kafka is known to be away.

A backend's messages enter Kafka in the order of its calls: the store answers appends in the order of the calls, whoever
awaits an answer goes on in the order of the answers (asyncio's ready queue is first in, first out) and submits to the
partition queue without another await in between, and that queue keeps the order of the calls of `submit`. A repeat has
to be read from the log first: what comes behind it in its room meanwhile waits for it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from common.envelope import User
from common.errors import BadRequest, ChatError, Overloaded, TooLarge
from common.store import Appended, Store
from logic import push_messages
from logic.config import LogicSettings
from logic.metrics import PUSHES, SENDS
from logic.models import Broadcast, Push, Send
from logic.partition_queue import ProduceResult
from logic.producer import Producer
from logic.push_messages import ProducerRecord
from logic.push_refs import PushRefs
from logic.redis_watch import RedisWatch, ask


@dataclass(slots=True, frozen=True)
class Result:
    """What became of one send of a batch."""

    status: str  # success, rejected, failed or skipped, as replies.SendResult has them
    reason: str = ""


SUCCESS = Result("success")
SKIPPED = Result("skipped", "an earlier send of the room failed")


@dataclass(slots=True)
class _Group:
    """The sends of a batch that go to one partition."""

    sends: list[int] = field(default_factory=list)  # their places in the batch
    ends: list[int] = field(default_factory=list)  # for each, how many records there are up to its last
    records: list[ProducerRecord] = field(default_factory=list)


class Service:
    """Everything that Logic does to messages."""

    def __init__(
        self, store: Store, push_refs: PushRefs, producer: Producer, redis: RedisWatch, settings: LogicSettings
    ) -> None:
        self._store = store
        self._push_refs = push_refs
        self._producer = producer
        self._redis = redis
        self._settings = settings
        # Of rooms where a repeat is read from the log; what is appended behind it must not overtake it into Kafka.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # -- one send ----------------------------------------------------------------------------------------------------

    async def send(self, send: Send, ref: str) -> Appended:
        """Produce a send, a backend's after it was appended under `ref`; return where its messages stand.

        Raises BadRequest, Overloaded or Unavailable. After Unavailable it may be stored: the same ref finds it.
        """
        source = "comet" if send.from_comet else "backend"
        try:
            appended = await (self._produce_stored(send) if send.from_comet else self._append_and_produce(send, ref))
        except ChatError as e:
            SENDS[source, _status_of(e)].inc()
            raise
        SENDS[source, "success"].inc()
        return appended

    async def _produce_stored(self, send: Send) -> Appended:
        self._producer.check(send.room_id.encode())
        await self._produce(push_messages.of_comet(send, self._producer.most_bytes))
        first = send.messages[0]
        return Appended(first.epoch or 0, first.seq or 0, [one.id or "" for one in send.messages])

    async def _append_and_produce(self, send: Send, ref: str) -> Appended:
        self._check_limits(send)
        self._redis.check()
        self._producer.check(send.room_id.encode())
        contents = [one.content for one in send.messages]
        user = User(send.user_id, send.user_name)
        appended = await self._store.append(send.room_id, user, contents, ref, forward=False)
        turn = self._turns.get(send.room_id)
        if turn is None and not appended.repeat:  # no await between here and the partition queue: see above
            await self._produce(push_messages.of_backend(send, appended, self._producer.most_bytes))
        else:
            await self._produce_in_turn(send, appended, turn or asyncio.Lock())
        return appended

    async def _produce_in_turn(self, send: Send, appended: Appended, turn: asyncio.Lock) -> None:
        """Produce what must be read first, or stands behind such; the room's lock (first in, first out) keeps order."""
        self._turns[send.room_id] = turn
        async with turn:
            if appended.repeat:
                records = await self._records_of_repeat(send.room_id, appended)
            else:
                records = push_messages.of_backend(send, appended, self._producer.most_bytes)
            produced = self._submit(records) if records else None
        if produced is not None:
            await _acknowledged(produced)

    async def _records_of_repeat(self, room: str, appended: Appended) -> list[ProducerRecord]:
        """Return what the room's log holds of a repeat, whatever the repeat says, so that Kafka agrees with history.

        Perhaps Kafka has it already, which nobody knows. What the log no longer holds is in nobody's history.
        """
        page = await ask(self._store.read(room, appended.first_seq, len(appended.ids)))
        held = [entry.json for entry in page.entries if entry.id.decode() in appended.ids]
        return push_messages.of_log(room, appended.epoch, held, self._producer.most_bytes) if held else []

    async def _produce(self, records: Sequence[ProducerRecord]) -> None:
        """Produce records of one key. Raises ChatError."""
        await _acknowledged(self._submit(records))

    def _submit(self, records: Sequence[ProducerRecord]) -> asyncio.Future[ProduceResult]:
        return self._producer.submit(self._producer.partition_of(records[0].key), records)

    def _check_limits(self, send: Send) -> None:
        """What Comet took stays taken; a backend's messages have limits here. Raises TooLarge."""
        limits = self._settings
        if len(send.messages) > limits.max_messages_per_send:
            raise TooLarge(f"messages must hold at most {limits.max_messages_per_send} messages", field="messages")
        for index, one in enumerate(send.messages):
            if len(one.content.encode()) > limits.max_content_bytes:
                name = f"messages[{index}].content"
                raise TooLarge(f"{name} must hold at most {limits.max_content_bytes} bytes of UTF-8", field=name)

    # -- many sends --------------------------------------------------------------------------------------------------

    async def send_batch(self, sends: Sequence[Send | BadRequest]) -> list[Result]:
        """Produce many sends, each room's in order; return what became of each. Raises Unavailable, Overloaded."""
        try:
            self._producer.check()
        except ChatError as e:
            _count(sends, [Result("failed", e.message)] * len(sends))
            raise
        results: list[Result | None] = [None] * len(sends)
        groups = self._group(sends, results)
        backend = [i for i, send in enumerate(sends) if isinstance(send, Send) and not send.from_comet]
        outcomes = [self._producer.submit(partition, group.records) for partition, group in groups.items()]
        stored = asyncio.gather(*(self._try_backend(sends[i]) for i in backend))
        for group, outcome in zip(groups.values(), outcomes, strict=True):
            _note(results, group, await outcome)
        for i, result in zip(backend, await stored, strict=True):
            results[i] = result
        return _count(sends, _skip(sends, results))

    def _group(self, sends: Sequence[Send | BadRequest], results: list[Result | None]) -> dict[int, _Group]:
        groups: dict[int, _Group] = {}
        for index, send in enumerate(sends):
            if isinstance(send, BadRequest):
                results[index] = Result("rejected", send.message)
            elif send.from_comet:
                try:
                    records = push_messages.of_comet(send, self._producer.most_bytes)
                except TooLarge as e:
                    results[index] = Result("rejected", e.message)
                    continue
                partition = self._producer.partition_of(records[0].key)
                group = groups.get(partition) or groups.setdefault(partition, _Group())
                group.records += records
                group.sends.append(index)
                group.ends.append(len(group.records))
        return groups

    async def _try_backend(self, send: Send | BadRequest) -> Result:
        if isinstance(send, BadRequest) or send.ref is None:
            return Result("rejected", "ref: a send without ids needs one in a batch, or a retry would store it twice")
        try:
            await self._append_and_produce(send, send.ref)
        except ChatError as e:
            return Result(_status_of(e), e.message)
        return SUCCESS

    # -- pushes ------------------------------------------------------------------------------------------------------

    async def push(self, push: Push, ref: str, *, given: bool) -> str:
        """Produce a push to users under a ref, its caller's or a new one; return its id.

        Raises BadRequest, RefReused, Overloaded or Unavailable.
        """
        if len(push.user_ids) > self._settings.max_users_per_push:
            most = self._settings.max_users_per_push
            raise BadRequest(f"userIds must hold at most {most} user ids", field="userIds")
        self._producer.check()
        push_id = push_messages.push_id_of("push", ref)
        producer = self._producer
        records = push_messages.of_push(push, push_id, producer.partition_of, producer.most_bytes)
        if given:
            await self._push_refs.claim(push_id, push_messages.contents_of(push))
        await asyncio.gather(*(self._produce([record]) for record in records))
        PUSHES.labels("push").inc()
        return push_id

    async def broadcast(self, broadcast: Broadcast, ref: str, *, given: bool) -> str:
        """Produce a push to everyone under a ref, its caller's or a new one; return its id. Raises as `push` does."""
        self._producer.check()
        push_id = push_messages.push_id_of("broadcast", ref)
        record = push_messages.of_broadcast(broadcast, push_id, self._producer.most_bytes)
        if given:
            await self._push_refs.claim(push_id, push_messages.contents_of(broadcast))
        await self._produce([record])
        PUSHES.labels("broadcast").inc()
        return push_id


async def _acknowledged(produced: asyncio.Future[ProduceResult]) -> None:
    outcome = await produced
    if outcome.fault is not None:
        raise outcome.fault


def _status_of(fault: ChatError) -> str:
    return "failed" if fault.retriable or not isinstance(fault, BadRequest) else "rejected"


def _note(results: list[Result | None], group: _Group, outcome: ProduceResult) -> None:
    """Give each send of a partition its result: those before the first missing record succeeded."""
    fault = outcome.fault
    for index, end in zip(group.sends, group.ends, strict=True):
        if end <= outcome.acknowledged:
            results[index] = SUCCESS
        elif fault is not None:
            results[index] = Result(_status_of(fault), fault.message)
            if not fault.retriable:
                fault = Overloaded("not tried, as a record before it was refused; send it again")


def _skip(sends: Sequence[Send | BadRequest], results: Iterable[Result | None]) -> list[Result]:
    """Mark as skipped what failed behind another failed send of its room."""
    failed: set[str] = set()
    final: list[Result] = []
    for send, result in zip(sends, results, strict=True):
        if result is None:
            raise RuntimeError("a send has no result")
        if result.status == "failed" and isinstance(send, Send):
            final.append(SKIPPED if send.room_id in failed else result)
            failed.add(send.room_id)
        else:
            final.append(result)
    return final


def _count(sends: Sequence[Send | BadRequest], results: list[Result]) -> list[Result]:
    counts: dict[tuple[str, str], int] = {}
    for send, result in zip(sends, results, strict=True):
        source = "backend" if isinstance(send, Send) and not send.from_comet else "comet"
        counts[source, result.status] = counts.get((source, result.status), 0) + 1
    for key, count in counts.items():
        SENDS[key].inc(count)
    return results
