"""POST /logic/push and /logic/broadcast: frames for users and for everyone."""

import json
from typing import Any

import pytest
import redis.asyncio

from logic import push_messages
from logic.kafka import partition_of
from logic.replies import Pushed
from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS
from tests.support.kafka_reader import Topic
from tests.support.logic_node import Logic


async def test_a_push_reaches_kafka_for_each_user_once(logic: Logic, records: Topic) -> None:
    """Users are strings, named once, in the partition of their id; each record has an id of its own."""
    users = [*range(1000, 1020), "alice", 1000]
    answer = await logic.post("/logic/push", {"userIds": users, "body": "maintenance at noon"})
    assert answer.status == 200
    Pushed.model_validate(answer.json)
    places = {partition_of(str(user).encode(), PARTITIONS) for user in users}
    found = await records.records(len(places))
    messages = [PushMsg.FromString(record.value) for record in found]
    assert {record.partition for record in found} == places
    assert all((one.type, one.operation, one.msg) == (PushMsg.PUSH, 4, b"maintenance at noon") for one in messages)
    assert sorted(key for one in messages for key in one.keys) == sorted({str(user) for user in users})
    assert len({one.id for one in messages}) == len(messages)
    assert all(one.epoch == one.first_seq == one.count == 0 for one in messages)


async def test_the_same_ref_makes_the_same_push(logic: Logic, records: Topic) -> None:
    """A retry is told from a second push by its id, wherever it arrives."""
    body = {"userIds": ["alice"], "body": {"type": "notice", "payload": {"text": "hi"}}, "ref": "n1"}
    first, again = await logic.post("/logic/push", body), await logic.post("/logic/push", body)
    other = await logic.post("/logic/push", {**body, "ref": "n2"})
    assert first.json["id"] == again.json["id"] != other.json["id"]
    one, two, three = await records.messages(3)
    assert one.id == two.id != three.id
    assert json.loads(one.msg) == body["body"]


@pytest.mark.parametrize(
    ("path", "body", "others"),
    [
        ("push", {"userIds": ["a"], "body": "x"}, [{"userIds": ["b"], "body": "x"}, {"userIds": ["a"], "body": "y"}]),
        ("broadcast", {"body": {"b": 1, "a": 2}}, [{"body": "x"}, {"body": {"b": 1, "a": 2}, "speed": 5}]),
    ],
)
async def test_the_same_ref_with_other_contents_is_422(
    logic: Logic, records: Topic, path: str, body: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    """Nodes would drop it as a repeat. The same contents pass, whatever the order of a body's keys."""
    url, headers = f"/logic/{path}", {"Idempotency-Key": "once"}
    first = await logic.post(url, body, headers=headers)
    for other in others:
        answer = await logic.post(url, {**other, "ref": "once"})
        assert (answer.status, answer.json["code"], answer.json["field"]) == (422, "bad_request", "ref")
    again = await logic.post(url, dict(reversed(body.items())), headers=headers)
    assert (again.status, again.json) == (200, first.json)
    assert (await logic.post(url, {**body, "ref": "other"})).status == 200
    assert {one.msg for one in await records.messages(3)} == {push_messages.text(body["body"])}


async def test_only_a_callers_ref_is_kept_and_not_for_ever(logic: Logic, redis_url: str) -> None:
    """As long as the ref of a send."""
    for ref in ({}, {"ref": "mine"}):
        await logic.post("/logic/push", {"userIds": ["a"], "body": "x", **ref})
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        [key] = await client.keys("chat:push:*")
        assert 290 < await client.ttl(key) <= 300


async def test_broadcasts_keep_their_order_and_carry_the_speed(logic: Logic, records: Topic) -> None:
    """All broadcasts go to one partition."""
    for number in range(5):
        headers = {"Idempotency-Key": f"b{number}"}
        body = {"body": f"news {number}", "speed": number}
        assert (await logic.post("/logic/broadcast", body, headers=headers)).status == 200
    found = await records.records(5)
    messages = [PushMsg.FromString(record.value) for record in found]
    assert [(one.type, one.msg.decode(), one.speed) for one in messages] == [
        (PushMsg.BROADCAST, f"news {number}", number) for number in range(5)
    ]
    assert len({record.partition for record in found}) == 1
    assert len({one.id for one in messages}) == 5


async def test_bad_pushes_are_refused(logic: Logic) -> None:
    """With the field's name."""
    for path, body, field in (
        ("/logic/push", {"body": "x"}, "userIds"),
        ("/logic/push", {"userIds": [], "body": "x"}, "userIds"),
        ("/logic/push", {"userIds": ["a", ""], "body": "x"}, "userIds[1]"),
        ("/logic/push", {"userIds": ["a"], "body": ""}, "body"),
        ("/logic/push", {"userIds": [str(n) for n in range(1001)], "body": "x"}, "userIds"),
        ("/logic/push", {"userIds": ["a"], "body": '{"type":"joined","payload":{}}'}, "body"),
        ("/logic/broadcast", {"body": {"type": "ack", "payload": {}}}, "body"),
        ("/logic/broadcast", {"body": 5}, "body"),
        ("/logic/broadcast", {"body": "x", "speed": -1}, "speed"),
        ("/logic/broadcast", {"body": "x", "speed": 2**31}, "speed"),
    ):
        answer = await logic.post(path, body)
        assert (answer.status, answer.json["field"]) == (400, field), body
    large = await logic.post("/logic/broadcast", {"body": "x" * 1_000_000})
    assert (large.status, large.json["field"]) == (413, "body")
    key = await logic.post("/logic/broadcast", {"body": "x"}, headers={"Idempotency-Key": "k" * 129})
    assert (key.status, key.json["field"]) == (400, "Idempotency-Key")
