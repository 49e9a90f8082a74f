"""An entry of the outbox that nobody can take: parked with its reason, and what is behind it goes on to Kafka."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from chatroom.up.guard import Guard
from common import keys
from protos.job_pb2 import PushMsg
from testbed.kafka_server import KafkaServer
from testbed.service import ServiceProgram, shared_settings
from tests.support.comet_node import running
from tests.support.eventually import eventually
from tests.support.kafka_reader import push_msgs
from tests.support.metrics import asample
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
SHARD = SHARDS.of(ROOM)
OUTBOX, DEAD = keys.outbox(SHARD), keys.outbox_dead(SHARD)
MESSAGE = '{"id":"1-0","seq":%d,"timestamp":1,"epoch":9,"content":"%s"}'
GOOD = {"room": ROOM, "user": "7", "name": "Al", "epoch": 9, "first_seq": 1, "count": 1, "ref": "r"}
POISON: list[tuple[dict[Any, Any], str]] = [
    ({"junk": b"\x00\xff"}, "no messages"),
    ({**GOOD, "messages": "{not json"}, "can't be read"),
    ({**GOOD, "messages": b'{"content":"\xff"}'}, "can't be read"),
    ({**GOOD, "messages": MESSAGE % (5, "x") + ']},{"roomId":"other","messages":['}, "can't be read"),
    ({**GOOD, "messages": "7"}, "no messages"),
    ({**GOOD, "room": b"\xff", "messages": MESSAGE % (5, "x")}, "can't be read"),
    # From here on it is Logic that refuses.
    ({**GOOD, "room": "no room", "messages": MESSAGE % (5, "x")}, "roomId"),
    ({**GOOD, "messages": '{"content":5}'}, "content"),
    ({**GOOD, "messages": MESSAGE % (5, "x") + "," + MESSAGE % (7, "x")}, "seq"),
    ({**GOOD, "messages": MESSAGE % (5, "x" * 30_000)}, "fit into"),  # for a record of Kafka
    ({**GOOD, "messages": MESSAGE % (5, "x" * 300_000)}, "HTTP 413"),  # for a body
]


@pytest_asyncio.fixture(loop_scope="package")
async def logic(
    guard: Guard, tmp_path: Path, redis_url: str, kafka: KafkaServer, topic: str
) -> AsyncIterator[ServiceProgram]:
    """A real Logic, not started, that takes no more than it must."""
    settings = {
        **kafka.settings,
        **shared_settings(redis_url, kafka.brokers, topic),
        "LOGIC_MAX_BODY_BYTES": "200000",
        "LOGIC_MAX_CONTENT_BYTES": "1000",
        "LOGIC_PRODUCE_BATCH_BYTES": "20000",
    }
    it = ServiceProgram(guard, "logic", tmp_path, settings)
    yield it
    await asyncio.to_thread(it.kill)


async def test_poison_of_every_kind_is_parked_and_what_is_behind_it_reaches_kafka(
    redis_url: str, logic: ServiceProgram, kafka: KafkaServer, topic: str
) -> None:
    """All lie in one shard, between messages of one room. Length and age rise while Logic is away, and fall to 0."""
    nodes = running(redis_url, forward_url=logic.http_url)
    async with Redis.from_url(redis_url, protocol=2) as redis, nodes as node:
        before = await asample(node.metrics_url, "comet_forward_dead_letters_total")
        for number, (fields, _) in enumerate(POISON, 1):
            good: dict[Any, Any] = {**GOOD, "first_seq": number, "messages": MESSAGE % (number, "good")}
            await redis.xadd(OUTBOX, good)
            await redis.xadd(OUTBOX, fields)
        last = len(POISON) + 1
        odd: dict[Any, Any] = {**GOOD, "count": "many", "messages": MESSAGE % (last, "good")}
        await redis.xadd(OUTBOX, odd)  # what only counts does no harm

        async def piled_up() -> bool:
            length = await asample(node.metrics_url, "comet_outbox_length")
            return length > 0 and await asample(node.metrics_url, "comet_outbox_oldest_age_seconds") > 1

        await eventually(piled_up)
        await asyncio.to_thread(logic.start)
        found = await push_msgs(kafka.brokers, topic, lambda found: _has(found, last))
        assert list(dict.fromkeys(one.first_seq for one in found)) == list(range(1, last + 1))

        async def empty() -> bool:
            values = [
                await asample(node.metrics_url, f"comet_outbox_{name}") for name in ("length", "oldest_age_seconds")
            ]
            return values == [0, 0]

        await eventually(empty)
        letters: Any = await redis.xrange(DEAD)
        parked = {_key(letter): letter[b"reason"].decode() for _, letter in letters}
        for fields, told in POISON:
            assert told in parked[_key({_bytes(name): _bytes(value) for name, value in fields.items()})], fields
        assert len(letters) == len(POISON)
        assert await asample(node.metrics_url, "comet_forward_dead_letters_total") - before == len(POISON)


def _has(found: list[PushMsg], last: int) -> bool:
    return {one.first_seq for one in found} == set(range(1, last + 1))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _key(fields: dict[bytes, bytes]) -> frozenset[tuple[bytes, bytes]]:
    return frozenset((name, value) for name, value in fields.items() if name != b"reason")
