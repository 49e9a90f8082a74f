"""logic/service.py with a fake producer: what a batch's results say when only some of it got through."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import orjson
import pytest

from common.errors import BadRequest, ChatError, TooLarge, Unavailable
from common.positions import Log
from common.store import Appended, Entry, Read, Store
from logic.config import LogicSettings
from logic.models import Send
from logic.partition_queue import ProduceResult
from logic.producer import Producer
from logic.push_messages import ProducerRecord
from logic.push_refs import PushRefs
from logic.redis_watch import RedisWatch
from logic.service import Service
from protos.job_pb2 import PushMsg
from tests.support.rooms import message

ROOMS = {"a": 0, "b": 1, "c": 0}


class FakeProducer:
    """Acknowledges as many records of a partition as the test says."""

    def __init__(self, acknowledges: dict[int, tuple[int, ChatError]]) -> None:
        self.most_bytes = 4000
        self.submitted: dict[int, list[ProducerRecord]] = {}
        self._acknowledges = acknowledges

    def check(self, key: bytes | None = None) -> None:
        """Nothing is away."""

    def partition_of(self, key: bytes) -> int:
        """As written above."""
        return ROOMS[key.decode()]

    def submit(self, partition: int, records: Sequence[ProducerRecord]) -> asyncio.Future[ProduceResult]:
        """Answer at once."""
        self.submitted.setdefault(partition, []).extend(records)
        future: asyncio.Future[ProduceResult] = asyncio.get_running_loop().create_future()
        future.set_result(ProduceResult(*self._acknowledges.get(partition, (len(records), None))))
        return future


def _service(producer: FakeProducer, store: object = None, redis: object = None) -> Service:
    return Service(
        cast("Store", store),
        cast("PushRefs", None),
        cast("Producer", producer),
        cast("RedisWatch", redis),
        LogicSettings(),
    )


class TrimmedStore:
    """A room's log that begins at `first`, of messages at seqs 1 to 5. Each ref is known: its messages are 2 and 3."""

    def __init__(self, first: int) -> None:
        self._first = first

    async def append(self, *_: object, **_how: object) -> Appended:
        """As Store.append."""
        return Appended(7, 2, ["2-0", "3-0"], repeat=True)

    async def read(self, _room: str, from_seq: int, count: int) -> Read:
        """As Store.read."""
        begin = max(from_seq, self._first)
        entries = [Entry(seq, 7, b"%d-0" % seq, message(seq, epoch=7)) for seq in range(begin, 6)]
        return Read(Log(7, 5, self._first), [replace(one, json=_with_id(one)) for one in entries][:count])


def _with_id(entry: Entry) -> bytes:
    return orjson.dumps({**orjson.loads(entry.json), "id": entry.id.decode()})


class ThereRedis:
    """Redis is there."""

    def check(self) -> None:
        """As RedisWatch.check."""


def _seqs(records: Sequence[ProducerRecord]) -> list[int]:
    pushes = [PushMsg.FromString(record.value) for record in records]
    return [push.first_seq + i for push in pushes for i in range(push.count)]


@pytest.mark.parametrize(("first", "seqs"), [(1, [2, 3]), (3, [3]), (4, []), (6, [])])
async def test_a_repeat_brings_only_its_own_messages_into_kafka(first: int, seqs: list[int]) -> None:
    """Where its messages were trimmed, the log begins with later ones, which Kafka has from their own senders."""
    producer = FakeProducer({})
    service = _service(producer, TrimmedStore(first), ThereRedis())
    send = Send.model_validate({"roomId": "a", "userId": "u", "userName": "n", "messages": [{"content": "x"}]})
    await service.send(send, "ref")
    assert _seqs(producer.submitted.get(0, [])) == seqs


def _send(room: str, seq: int, content: str = "x", count: int = 1) -> Send:
    messages = [
        {"id": f"{one}-0", "seq": one, "epoch": 1, "timestamp": one, "content": content}
        for one in range(seq, seq + count)
    ]
    return Send.model_validate({"roomId": room, "userId": "u", "userName": "n", "messages": messages})


async def _statuses(producer: FakeProducer, *sends: Send | BadRequest) -> list[str]:
    return [one.status for one in await _service(producer).send_batch(sends)]


async def test_after_a_failure_only_the_first_of_each_room_is_failed_and_the_rest_skipped() -> None:
    """Other partitions are not touched by it."""
    producer = FakeProducer({0: (1, Unavailable("away"))})
    sends = [_send("a", 1), _send("b", 1), _send("a", 2), _send("c", 1), _send("a", 3), _send("c", 2), _send("b", 2)]
    statuses = await _statuses(producer, *sends)
    assert statuses == ["success", "success", "failed", "failed", "skipped", "skipped", "success"]


async def test_a_partitions_records_are_submitted_once_and_in_order() -> None:
    """One call for each partition, whatever the rooms."""
    producer = FakeProducer({})
    await _statuses(producer, _send("a", 1), _send("b", 1), _send("c", 1), _send("a", 2))
    assert [record.key for record in producer.submitted[0]] == [b"a", b"c", b"a"]
    assert [record.key for record in producer.submitted[1]] == [b"b"]


async def test_a_record_that_kafka_never_takes_is_rejected_and_what_is_behind_it_failed() -> None:
    """The rejected one is not sent again, so the others come through the next time."""
    producer = FakeProducer({0: (1, TooLarge("too large"))})
    statuses = await _statuses(producer, _send("a", 1), _send("a", 2), _send("a", 3), _send("c", 1))
    assert statuses == ["success", "rejected", "failed", "failed"]


async def test_bad_sends_are_rejected_with_their_reason_and_hold_up_nobody() -> None:
    """Neither their own room nor another."""
    producer = FakeProducer({})
    results = await _service(producer).send_batch(
        [_send("a", 1), BadRequest("roomId: odd", field="roomId"), _send("a", 2, content="x" * 5000), _send("a", 3)]
    )
    assert [one.status for one in results] == ["success", "rejected", "rejected", "success"]
    assert results[1].reason == "roomId: odd"
    assert "4000 bytes" in results[2].reason


async def test_a_send_of_several_records_succeeds_only_with_its_last() -> None:
    """A send whose second half is missing is failed as a whole."""
    sends = [_send("a", 1, content="x" * 1500, count=4), _send("a", 5)]
    assert await _statuses(FakeProducer({}), *sends) == ["success", "success"]
    assert await _statuses(FakeProducer({0: (1, Unavailable("away"))}), *sends) == ["failed", "skipped"]


async def test_a_single_send_raises_the_fault() -> None:
    """So that it becomes an HTTP status."""
    producer = FakeProducer({0: (0, Unavailable("away"))})
    with pytest.raises(Unavailable, match="away"):
        await _service(producer).send(_send("a", 1), "ref")


async def test_an_empty_batch_is_nothing() -> None:
    """And no fault."""
    assert await _statuses(FakeProducer({})) == []
