"""Kafka's records decoded: PushMsgs of every type, dead letters, and what is neither."""

import json
from dataclasses import dataclass, field

import pytest

from chatroom.commands.records import DecodedRecord
from protos.job_pb2 import PushMsg

FRAME = {
    "type": "serverMessages",
    "payload": {"roomId": "r", "epoch": 9, "messages": [
        {"id": "1-0", "seq": 4, "timestamp": 1, "content": "hi", "user": {"id": "u1", "username": "Alice"}},
        {"id": "1-1", "seq": 5, "timestamp": 1, "content": "you\x1b", "user": {"id": "u2", "username": ""}},
    ]},
}  # fmt: skip
ROOM = PushMsg(type=PushMsg.ROOM, operation=4, room="r", epoch=9, first_seq=4, count=2, msg=json.dumps(FRAME).encode())


@dataclass
class Source:
    """A record as the consumer gives it."""

    value: bytes | None
    key: bytes | None = b"r"
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    topic: str = "my-topic"
    partition: int = 2
    offset: int = 17
    timestamp: int = 1_700_000_000_000


def test_a_room_push_says_where_to_from_whom_and_what() -> None:
    """With the position of its messages, and nothing that a terminal would obey."""
    line = DecodedRecord.read(Source(ROOM.SerializeToString())).line()
    assert line.endswith("my-topic[2]@17  ROOM to r seq 4 to 5  Alice: hi | u2: you␛")


@pytest.mark.parametrize(
    ("push", "said"),
    [
        (PushMsg(type=PushMsg.PUSH, keys=["u1", "u2"], msg=b"raw"), "PUSH to u1,u2  raw"),
        (PushMsg(type=PushMsg.BROADCAST, msg=b'{"a": 1}'), 'BROADCAST to everyone  {"a": 1}'),
        (PushMsg(type=7, msg=b"new"), "type 7 to everyone  new"),  # type: ignore[arg-type]  # of a later version
    ],
)
def test_each_type_names_its_target(push: PushMsg, said: str) -> None:
    """A frame that is none of messages is shown as it is."""
    assert DecodedRecord.read(Source(push.SerializeToString())).line().endswith(f"@17  {said}")


def test_all_fields_stand_in_the_json() -> None:
    """The frame inside as JSON itself."""
    shown = json.loads(DecodedRecord.read(Source(ROOM.SerializeToString())).as_json())
    assert shown == {
        "topic": "my-topic",
        "partition": 2,
        "offset": 17,
        "timestamp": 1_700_000_000_000,
        "key": "r",
        "headers": {},
        "pushMsg": {
            "type": "ROOM",
            "operation": 4,
            "speed": 0,
            "room": "r",
            "keys": [],
            "server": "",
            "epoch": 9,
            "firstSeq": 4,
            "count": 2,
            "id": "",
            "msg": FRAME,
        },
    }


@pytest.mark.parametrize(("value", "head"), [(b"\xff\xffgarbage", r"\xff\xffgarbage"), (b"", "empty"), (None, "empty")])
def test_a_dead_letter_says_why_and_shows_what_nobody_could_read(value: bytes | None, head: str) -> None:
    """As bytes in the line, as hex digits in the JSON."""
    source = Source(value, headers=[("reason", b"not a PushMsg"), ("source-topic", b"my-topic")], topic="my-topic.dlq")
    record = DecodedRecord.read(source)
    assert record.line().endswith(f"my-topic.dlq[2]@17  dead letter (not a PushMsg)  not a PushMsg: {head}")
    shown = json.loads(record.as_json())
    assert shown["headers"] == {"reason": "not a PushMsg", "source-topic": "my-topic"}
    assert (shown["pushMsg"], shown["value"]) == (None, (value or b"").hex())


def test_a_long_value_is_cut() -> None:
    """And its length told."""
    line = DecodedRecord.read(Source(b"\xff" + b"x" * 5000)).line()
    assert line.endswith("x... (5001 bytes)")
    assert len(line) < 400
