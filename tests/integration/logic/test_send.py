"""POST /logic/send: what is stored, published and produced, and what is refused."""

import asyncio
import json
from typing import Any

import pytest
import redis.asyncio

from comet import frames
from common import envelope, keys
from logic.kafka import partition_of
from logic.replies import Error, Sent
from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS
from tests.support.kafka_reader import Topic
from tests.support.logic_node import Logic, backend_send, comet_send
from tests.support.shards import SHARDS

POSITIONED = {"content": "a", "id": "1-0", "seq": 1, "epoch": 1, "timestamp": 1}


async def test_the_documented_body_is_stored_published_and_produced(
    logic: Logic, records: Topic, redis_url: str
) -> None:
    """A backend's message is in the room's stream and on its channel, and in Kafka as a PushMsg at that position."""
    async with redis.asyncio.Redis.from_url(redis_url) as client, client.pubsub() as listener:
        room_keys = keys.room_keys(SHARDS.of("room_123"), "room_123")
        await listener.subscribe(room_keys.channel)
        await listener.get_message(timeout=5)
        answer = await logic.post("/logic/send", backend_send("room_123", "Hello World"))
        published = await listener.get_message(ignore_subscribe_messages=True, timeout=5)
        stream: Any = await client.xrange(room_keys.stream)
        outbox = await client.xlen(room_keys.outbox)

    assert answer.status == 200
    sent = Sent.model_validate(answer.json)
    (entry_id, fields), (stored,) = stream[0], sent.messages
    assert (sent.status, sent.room_id, stored.seq) == ("success", "room_123", 1)
    assert stored.id == entry_id.decode()
    assert stored.timestamp == int(stored.id.split("-")[0])
    assert int(fields[b"epoch"]) == sent.epoch
    assert outbox == 0
    (message,) = await records.messages(1)
    assert (message.type, message.operation, message.room) == (PushMsg.ROOM, 4, "room_123")
    assert (message.epoch, message.first_seq, message.count) == (sent.epoch, 1, 1)
    frame = json.loads(message.msg)
    assert frame == {
        "type": "serverMessages",
        "payload": {
            "roomId": "room_123",
            "epoch": sent.epoch,
            "messages": [
                {
                    "id": stored.id,
                    "seq": 1,
                    "timestamp": stored.timestamp,
                    "content": "Hello World",
                    "user": {"id": "1001", "username": "Alice"},
                }
            ],
        },
    }
    assert published is not None
    burst = envelope.parse_burst(published["data"])
    # Both paths carry the very same frame.
    assert frames.server_messages(b'"room_123"', burst.epoch, burst.messages) == message.msg


async def test_records_are_keyed_by_the_room_in_the_partition_of_any_kafka_client(logic: Logic, records: Topic) -> None:
    """Rooms spread over the partitions by murmur2 of the room, which is the key."""
    rooms = [f"room_{number}" for number in range(12)]
    for room in rooms:
        assert (await logic.post("/logic/send", backend_send(room, "x"))).status == 200
    found = await records.records(len(rooms))
    assert {record.key.decode() for record in found} == set(rooms)
    assert all(record.partition == partition_of(record.key, PARTITIONS) for record in found)
    assert len({record.partition for record in found}) > 1


async def test_the_same_ref_gets_the_first_ids_and_stores_nothing(logic: Logic, records: Topic) -> None:
    """A retry with the same ref is answered as the first; it is produced again, as nobody knows whether it was."""
    first = await logic.post("/logic/send", backend_send("room", "a", "b", ref="once"))
    again = await logic.post("/logic/send", backend_send("room", "a", "b", ref="once"))
    other = await logic.post("/logic/send", backend_send("room", "c", ref="twice"))
    assert first.json == again.json
    assert [one["seq"] for one in other.json["messages"]] == [3]
    assert [(one.first_seq, one.count) for one in await records.messages(3)] == [(1, 2), (1, 2), (3, 1)]


@pytest.mark.parametrize("contents", [["other", "words"], ["fewer"], ["m", "o", "r", "e"]])
async def test_the_same_ref_with_other_contents_is_422_and_changes_nothing(
    logic: Logic, records: Topic, contents: list[str]
) -> None:
    """In the body or as the header. The error names `ref` and asks for no retry."""
    await logic.post("/logic/send", backend_send("room", "a", "b", ref="once"))
    again = await logic.post("/logic/send", backend_send("room", *contents, ref="once"))
    header = await logic.post("/logic/send", backend_send("room", *contents), headers={"Idempotency-Key": "once"})
    for answer in (again, header):
        assert (answer.status, answer.json["code"], answer.json["field"]) == (422, "bad_request", "ref")
        assert (answer.json["ref"], "Retry-After" in answer.headers) == ("", False)
    assert again.json["message"].startswith("ref ")
    await logic.post("/logic/send", backend_send("room", "c"))
    assert [(one.first_seq, one.count) for one in await records.messages(2)] == [(1, 2), (3, 1)]
    history = (await logic.get("/logic/rooms/room/messages")).json["messages"]
    assert [one["content"] for one in history] == ["a", "b", "c"]


@pytest.mark.parametrize("contents", [["other", "words"], ["fewer"], ["m", "o", "r", "e"]])
async def test_an_earlier_versions_ref_with_another_body_changes_neither_history_nor_kafka(
    logic: Logic, records: Topic, redis_url: str, contents: list[str]
) -> None:
    """Its record has no digest: it is answered as the first, and Kafka gets what the log holds."""
    first = await logic.post("/logic/send", backend_send("room", "a", "b", ref="once"))
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        key = keys.ref(SHARDS.of("room"), "room", "1001", "once")
        record: Any = await client.get(key)
        await client.set(key, record.partition(b"#")[0], keepttl=True)
    again = await logic.post("/logic/send", backend_send("room", *contents, ref="once"))
    assert again.status == 200
    assert again.json == first.json
    produced, repeated = await records.messages(2)
    assert repeated == produced
    history = (await logic.get("/logic/rooms/room/messages")).json["messages"]
    assert json.loads(repeated.msg)["payload"]["messages"] == history


async def test_what_comes_behind_a_repeat_does_not_overtake_it(logic: Logic, records: Topic) -> None:
    """Repeats are read from the log, which takes a while; Kafka has them in the order of the calls all the same."""
    stored = [backend_send("room", str(number), ref=str(number)) for number in range(20)]
    fresh = [backend_send("room", str(number), ref=f"new {number}") for number in range(20)]
    await logic.post("/logic/send/batch", {"sends": stored})
    mixed = [one for pair in zip(stored, fresh, strict=True) for one in pair]
    answer = await logic.post("/logic/send/batch", {"sends": mixed})
    assert answer.json["status"] == "success"
    seqs = [one.first_seq for one in (await records.messages(60))[20:]]
    assert seqs == [seq for number in range(1, 21) for seq in (number, number + 20)]


async def test_a_repeat_of_what_the_log_no_longer_holds_is_answered_and_not_produced(
    logic: Logic, records: Topic, redis_url: str
) -> None:
    """Kafka agrees with history, which lacks it."""
    first = await logic.post("/logic/send", backend_send("room", "a", ref="once"))
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.xtrim(keys.room_keys(SHARDS.of("room"), "room").stream, maxlen=0, approximate=False)
    again = await logic.post("/logic/send", backend_send("room", "a", ref="once"))
    assert (again.status, again.json) == (200, first.json)
    assert (await logic.post("/logic/send", backend_send("room", "b"))).status == 200
    assert [one.first_seq for one in await records.messages(2)] == [1, 2]


async def test_the_header_idempotency_key_is_a_ref(logic: Logic) -> None:
    """With the header the body needs no ref; a ref in the body goes before it."""
    headers = {"Idempotency-Key": "from-header"}
    first = await logic.post("/logic/send", backend_send("room", "a"), headers=headers)
    again = await logic.post("/logic/send", backend_send("room", "a"), headers=headers)
    other = await logic.post("/logic/send", backend_send("room", "a", ref="own"), headers=headers)
    assert first.json == again.json
    assert other.json["messages"][0]["seq"] == 2


async def test_what_comes_from_comet_is_produced_at_its_position_and_not_stored_again(
    logic: Logic, records: Topic, redis_url: str
) -> None:
    """A send with ids, seqs and an epoch goes to Kafka as it is."""
    answer = await logic.post("/logic/send", comet_send("room", 7, count=3))
    assert answer.status == 200
    assert [one["seq"] for one in answer.json["messages"]] == [7, 8, 9]
    assert answer.json["epoch"] == 1_700_000_000_000
    (message,) = await records.messages(1)
    assert (message.epoch, message.first_seq, message.count) == (1_700_000_000_000, 7, 3)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.keys("chat:{*") == []


async def test_concurrent_sends_of_a_room_enter_kafka_in_the_order_of_their_seqs(logic: Logic, records: Topic) -> None:
    """However many calls are under way at once, a room's records follow its log."""
    rooms = ["a", "b", "c"]
    await asyncio.gather(
        *(logic.post("/logic/send", backend_send(rooms[number % 3], str(number))) for number in range(150))
    )
    seqs: dict[str, list[int]] = {}
    for message in await records.messages(150):
        seqs.setdefault(message.room, []).append(message.first_seq)
    assert seqs == {room: list(range(1, 51)) for room in rooms}


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"roomId": "with space"}, "roomId", "U+0020 SPACE at position 5"),
        ({"roomId": "r" * 129}, "roomId", "128"),
        ({"roomId": None}, "roomId", "roomId"),
        ({"userId": "x" * 129}, "userId", "128"),
        ({"userId": 1.5}, "userId", "string or an integer"),
        ({"userName": ""}, "userName", "64"),
        ({"ref": "r" * 129}, "ref", "128"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"content": "a"}, {}]}, "messages[1].content", "required"),
        ({"messages": [{"content": 5}]}, "messages[0].content", "string"),
        ({"messages": [{"content": ""}]}, "messages[0].content", "at least 1"),
        ({"messages": [{"content": "a", "id": "1-0"}]}, "messages[0].seq", "none does"),
        ({"messages": [POSITIONED | {"id": "x"}]}, "messages[0].id", "1635724800123-0"),
        ({"messages": [POSITIONED | {"seq": "1"}]}, "messages[0].seq", "integer"),
    ],
)
async def test_bad_input_is_400_and_names_the_field_and_the_limit(
    logic: Logic, changes: dict[str, object], field: str, told: str
) -> None:
    """Each rule has an answer that says which field broke it."""
    answer = await logic.post("/logic/send", backend_send("room", "a", **changes))
    error = Error.model_validate(answer.json)
    assert answer.status == 400
    assert (error.code, error.field) == ("bad_request", field)
    assert told in error.message
    assert field in error.message


async def test_a_body_that_is_no_json_is_400(logic: Logic) -> None:
    """The message says so, and where."""
    for body in (b"{not json", b"", b"\xff\xfe", b'{"roomId": "\\ud800"}'):
        answer = await logic.post("/logic/send", body)
        assert answer.status == 400
        assert answer.json["code"] == "bad_request"
        assert "not JSON" in answer.json["message"]


async def test_too_large_is_413_and_stores_nothing(logic: Logic, redis_url: str) -> None:
    """A content, a count and a body past their limits."""
    large = await logic.post("/logic/send", backend_send("room", "x" * 16_385))
    many = await logic.post("/logic/send", backend_send("room", *["x"] * 101))
    body = await logic.post("/logic/send", b" " * (logic.settings.max_body_bytes + 1))
    assert [one.status for one in (large, many, body)] == [413, 413, 413]
    assert [one.json["code"] for one in (large, many, body)] == ["too_large"] * 3
    assert (large.json["field"], many.json["field"]) == ("messages[0].content", "messages")
    assert "16384" in large.json["message"]
    assert "100" in many.json["message"]
    assert str(logic.settings.max_body_bytes) in body.json["message"]
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.keys("chat:{*") == []


async def test_unknown_fields_are_ignored(logic: Logic) -> None:
    """A newer client may say more than Logic knows."""
    body = backend_send("room", "a", colour="red")
    body["messages"][0]["mood"] = "good"
    assert (await logic.post("/logic/send", body)).status == 200
