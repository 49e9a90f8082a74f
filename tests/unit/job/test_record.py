"""A record: what can be read, what it becomes on its way to Comet, and when it is finished."""

import pytest

from common.errors import BadRequest
from job.record import ABANDONED, OFFLINE, PUSHED, REFUSED, PendingRecord
from protos.job_pb2 import PushMsg
from tests.unit.job.fakes import FakeRecord, Finished, source

ROOM, PUSH, BROADCAST = PushMsg.ROOM, PushMsg.PUSH, PushMsg.BROADCAST


def _record(finished: Finished | None = None) -> PendingRecord:
    return PendingRecord(0, 0, 0, Finished() if finished is None else finished)


def test_a_room_record_becomes_the_proto_that_comet_gets() -> None:
    """Version 1, the operation, the text and the position; no id, as the position tells it from its repeats."""
    record = _record()
    text = record.decode(
        source(type=ROOM, operation=4, room="r", msg="grüß".encode(), epoch=1 << 41, first_seq=1 << 33, count=3)
    )
    assert (text, record.room, record.operation) == ("grüß", "r", 4)
    assert record.proto is not None
    assert (record.proto.ver, record.proto.op, record.proto.seq, record.proto.body) == (1, 4, 0, "grüß")
    assert (record.proto.epoch, record.proto.first_seq, record.proto.count) == (1 << 41, 1 << 33, 3)
    assert record.proto.id == ""


def test_an_id_is_kept_and_without_any_the_place_in_kafka_is_the_id() -> None:
    """Repeats of a record without position are told by its id."""
    with_id, without = _record(), _record()
    with_id.decode(source(type=BROADCAST, id="mine", msg=b"x"))
    without.decode(source(offset=7, partition=3, type=PUSH, keys=["1"], msg=b"x"))
    assert with_id.proto is not None
    assert with_id.proto.id == "mine"
    assert without.proto is not None
    assert without.proto.id == "t/3/7@0"


def test_additions_may_all_be_absent() -> None:
    """The fields of the existing system are enough, written here byte by byte as its encoder does."""
    value = b"\x08\x01\x10\x04\x2a\x01r\x3a\x05hello"
    record = _record()
    assert record.decode(FakeRecord(value, offset=2)) == "hello"
    assert (record.type, record.room) == (ROOM, "r")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff\xff", "not a PushMsg"),
        (b"\x2a\x01\xff", "not a PushMsg"),  # room is not UTF-8
        (PushMsg(type=ROOM, room="r", msg=b"\xff").SerializeToString(), "not UTF-8"),
        (PushMsg(type=ROOM, msg=b"x").SerializeToString(), "without room"),
        (PushMsg(type=PUSH, msg=b"x").SerializeToString(), "without keys"),
        (b"\x08\x07", "unknown type 7"),
    ],
)
def test_what_cant_be_read_says_why(value: bytes | None, reason: str) -> None:
    """The reason is the dead letter's."""
    with pytest.raises(BadRequest, match=reason):
        _record().decode(FakeRecord(value))


def test_it_is_finished_once_when_the_last_node_settled_it_and_the_worst_counts() -> None:
    """Pushed to one, refused by another, abandoned at a third: abandoned."""
    finished = Finished()
    record = _record(finished)
    record.give_to(3)
    record.settle(PUSHED)
    record.settle(ABANDONED)
    assert finished == []
    record.settle(REFUSED)
    assert finished == [record]
    assert record.result == ABANDONED


def test_given_to_nobody_it_is_finished_at_once() -> None:
    """It was for nobody who is online."""
    finished = Finished()
    record = _record(finished)
    record.give_to(0)
    assert finished == [record]
    assert record.result == OFFLINE
