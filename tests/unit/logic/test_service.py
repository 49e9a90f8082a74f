"""logic/service.py with a fake producer: what a batch's results say when only some of it got through."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from common.errors import BadRequest, ChatError, TooLarge, Unavailable
from common.store import Store
from logic.config import LogicSettings
from logic.models import Send
from logic.partition_queue import ProduceResult
from logic.producer import Producer
from logic.push_messages import ProducerRecord
from logic.push_refs import PushRefs
from logic.redis_watch import RedisWatch
from logic.service import Service

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


def _service(producer: FakeProducer) -> Service:
    nobody = cast("Any", None)
    return Service(
        cast("Store", nobody),
        cast("PushRefs", nobody),
        cast("Producer", producer),
        cast("RedisWatch", nobody),
        LogicSettings(),
    )


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
