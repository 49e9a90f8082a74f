"""logic/push_messages.py: what a record says, and how it keeps to Kafka's size."""

import json

import pytest

from common.errors import TooLarge
from common.store import Appended
from logic import push_messages
from logic.kafka import partition_of
from logic.models import Broadcast, Push, Send
from protos.job_pb2 import PushMsg


def _send(*contents: str) -> Send:
    body = {"roomId": "ä", "userId": 7, "userName": "Ü", "messages": [{"content": one} for one in contents]}
    return Send.model_validate(body)


APPENDED = Appended(epoch=5, first_seq=11, ids=["100-0", "100-1", "101-0"])


def test_a_records_frame_names_every_message_and_its_position_is_the_first_ones() -> None:
    """The frame is what PubSub's receivers get, letter by letter."""
    (record,) = push_messages.of_backend(_send("a", "b", 'c"\n'), APPENDED, 10_000)
    message = PushMsg.FromString(record.value)
    assert record.key == "ä".encode()
    assert (message.type, message.operation, message.room) == (PushMsg.ROOM, 4, "ä")
    assert (message.epoch, message.first_seq, message.count) == (5, 11, 3)
    user = {"id": "7", "username": "Ü"}
    frame = json.loads(message.msg)
    assert list(frame["payload"]["messages"][0]) == ["id", "seq", "timestamp", "content", "user"]
    assert frame["payload"] == {
        "roomId": "ä",
        "epoch": 5,
        "messages": [
            {"id": "100-0", "seq": 11, "timestamp": 100, "content": "a", "user": user},
            {"id": "100-1", "seq": 12, "timestamp": 100, "content": "b", "user": user},
            {"id": "101-0", "seq": 13, "timestamp": 101, "content": 'c"\n', "user": user},
        ],
    }


def test_a_send_too_large_for_a_record_is_cut_between_messages() -> None:
    """Each record fits and stands at its own position; a single message that does not fit is an error."""
    records = push_messages.of_backend(_send("x" * 300, "y" * 300, "z" * 300), APPENDED, 600)
    messages = [PushMsg.FromString(record.value) for record in records]
    assert [(one.first_seq, one.count) for one in messages] == [(11, 1), (12, 1), (13, 1)]
    assert all(len(record.value) <= 600 for record in records)
    with pytest.raises(TooLarge, match="600 bytes"):
        push_messages.of_backend(_send("x" * 600, "y", "z"), APPENDED, 600)


def test_a_push_is_split_by_partition_and_each_part_has_an_id() -> None:
    """Comet forgets a push whose id it knows, so parts must differ; repeats must not."""
    push = Push.model_validate({"userIds": ["u1", "u2", "u3", "u1"], "body": "x"})
    places = {b"u1": 0, b"u2": 1, b"u3": 0}
    first = push_messages.of_push(push, "id", places.__getitem__, 10_000)
    again = push_messages.of_push(push, "id", places.__getitem__, 10_000)
    messages = [PushMsg.FromString(record.value) for record in first]
    assert [(record.key, list(one.keys)) for record, one in zip(first, messages, strict=True)] == [
        (b"u1", ["u1", "u3"]),
        (b"u2", ["u2"]),
    ]
    assert messages[0].id != messages[1].id
    assert first == again


def test_a_broadcast_has_a_fixed_key_and_the_given_id() -> None:
    """So that broadcasts stay in order."""
    record = push_messages.of_broadcast(Broadcast.model_validate({"body": {"a": 1}, "speed": 9}), "id", 10_000)
    message = PushMsg.FromString(record.value)
    assert record.key == push_messages.BROADCAST_KEY
    assert (message.type, message.speed, message.id, message.msg) == (PushMsg.BROADCAST, 9, "id", b'{"a":1}')


def test_push_ids_depend_on_the_kind_and_the_ref_alone() -> None:
    """A broadcast is never taken for a push of the same ref."""
    assert push_messages.push_id_of("push", "r") == push_messages.push_id_of("push", "r")
    assert len({push_messages.push_id_of(kind, ref) for kind in ("push", "broadcast") for ref in ("r", "s")}) == 4


def test_partitions_are_those_of_javas_murmur2() -> None:
    """Known answers, computed by Kafka's own client."""
    assert [partition_of(key, 2**31 - 1) for key in (b"21", b"foobar", b"a-little-bit-long-string")] == [
        (value & 0x7FFFFFFF) % (2**31 - 1) for value in (-973932308, -790332482, -985981536)
    ]
