"""The ledger of a load: every acked message must be in the history, in Kafka, and once with every client.

`books` reads the histories as a client does, and the records of the topic; `audit` is pure. Positions of a room count
from 1 without holes, since the bench's rooms are new and nobody else writes to them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from chatroom.up.ports import LOOPBACK
from chatroom_client import ChatClient
from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS
from testbed.stack import Stack

SHOWN: Final = 3  # examples of each kind of fault


class AckedMessage(NamedTuple):
    """A message by its ack; its sender gave it the number."""

    number: int
    seq: int
    message_id: str


class ReceivedMessage(NamedTuple):
    """A message as a room's witness got it."""

    number: int
    seq: int


class StoredMessage(NamedTuple):
    """A message in the history or in Kafka."""

    message_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """All records of a room."""

    acked: Sequence[AckedMessage]
    received: Sequence[ReceivedMessage]  # in the order in which they came
    history: Sequence[StoredMessage]
    produced: Sequence[StoredMessage]  # Kafka's records in their order


@dataclass(frozen=True, slots=True)
class Books:
    """The result of an audit; no faults means that nothing was lost, doubled or out of order."""

    acked: int
    repeats_in_kafka: int
    faults: Sequence[str]


def audit(rooms: Mapping[str, RoomRecord], different: Sequence[str]) -> Books:
    """Compare the records of all rooms. `different` names the clients that got other than their room's witness."""
    faults = [f"{len(different)} clients got something else, such as: {different[0]}"] if different else []
    for name, room in rooms.items():
        faults += [f"{name}: {fault}" for fault in _faults(room)]
    repeats = sum(len(room.produced) - len({one.message_id for one in room.produced}) for room in rooms.values())
    return Books(sum(len(room.acked) for room in rooms.values()), repeats, faults)


def _faults(room: RoomRecord) -> list[str]:
    found = []
    seqs = [one.seq for one in room.received]
    if seqs != list(range(1, len(seqs) + 1)):
        found.append("what the clients got has holes, repeats or another order than the log")
    received = {one.number: one.seq for one in room.received}
    found += _missing(
        "not received where it was acked", [one for one in room.acked if received.get(one.number) != one.seq]
    )
    history, produced = set(room.history), set(room.produced)
    acked = [StoredMessage(one.message_id, one.seq) for one in room.acked]
    found += _missing("acked and not in the history", [one for one in acked if one not in history])
    found += _missing("acked and not in Kafka", [one for one in acked if one not in produced])
    firsts = list(dict.fromkeys(room.produced))
    if [one.seq for one in firsts] != sorted(one.seq for one in firsts):
        found.append("the first occurrences in Kafka are out of order")
    return found


def _missing(what: str, missing: Sequence[object]) -> list[str]:
    return [f"{len(missing)} messages {what}, such as {[*missing[:SHOWN]]}"] if missing else []


# -- the records -------------------------------------------------------------------------------------------------------


async def books(pipeline: Stack, seen: Mapping[str, Any], begin: Mapping[int, int]) -> Books:
    """Audit what the clients received. `begin` has the topic's ends before the load, by partition."""
    names = list(seen["received"])
    async with ChatClient(f"ws://{LOOPBACK}:{pipeline.comets[0].port}/", name="ledger") as chat:
        histories = {name: await _history(chat, name) for name in names}
    produced = await _produced(pipeline, begin)
    rooms = {
        name: RoomRecord(
            [AckedMessage(*one) for one in seen["acked"][name]],
            [ReceivedMessage(*one) for one in seen["received"][name]],
            histories[name],
            produced.get(name, ()),
        )
        for name in names
    }
    return audit(rooms, seen["different"])


async def topic_ends(pipeline: Stack) -> dict[int, int]:
    """Return where each partition of the topic ends now."""
    async with _reader(pipeline) as (consumer, partitions):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return {one.partition: end for one, end in ends.items()}


async def _history(chat: ChatClient, room: str) -> list[StoredMessage]:
    found: list[StoredMessage] = []
    before, more = None, True
    while more:
        page = await chat.history(room, before)
        found = [StoredMessage(one.id, one.seq) for one in page.messages] + found
        before, more = (found[0].message_id if found else None), page.more
    return found


async def _produced(pipeline: Stack, begin: Mapping[int, int]) -> dict[str, list[StoredMessage]]:
    """Return the messages of the topic from there on, by room."""
    found: dict[str, list[StoredMessage]] = {}
    async with _reader(pipeline) as (consumer, partitions):
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for one in partitions:
            consumer.seek(one, begin[one.partition])
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    message = PushMsg.FromString(record.value)
                    stored = found.setdefault(message.room, [])
                    stored += [
                        StoredMessage(one["id"], one["seq"]) for one in orjson.loads(message.msg)["payload"]["messages"]
                    ]
    return found


@asynccontextmanager
async def _reader(pipeline: Stack) -> AsyncIterator[tuple[AIOKafkaConsumer, Sequence[TopicPartition]]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=pipeline.brokers, auto_offset_reset="earliest")
    try:
        await consumer.start()
        yield consumer, [TopicPartition(pipeline.topic, one) for one in range(PARTITIONS)]
    finally:
        await consumer.stop()
