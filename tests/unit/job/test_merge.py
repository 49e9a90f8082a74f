"""Merging: one call, each room once, its records in order."""

from job.merge import merge
from protos.comet_pb2 import BroadcastRoomReq
from tests.unit.job.fakes import Finished, bodies, room_record


def test_one_record_is_the_call_that_anybody_would_make() -> None:
    """As the reference document types it by hand: no additions."""
    request = merge([room_record(Finished(), "r", 3)])
    assert (request.room_id, request.proto.body) == ("r", "3")
    assert (len(request.batch), len(request.more)) == (0, 0)


def test_a_rooms_further_records_are_its_batch_and_further_rooms_are_more() -> None:
    """Whatever order they come in."""
    finished = Finished()
    rooms = ["a", "b", "a", "c", "b", "a"]
    request = merge([room_record(finished, room, offset) for offset, room in enumerate(rooms)])
    assert bodies(request) == ["a:0", "a:2", "a:5", "b:1", "b:4", "c:3"]
    assert [one.room_id for one in request.more] == ["b", "c"]
    assert all(not one.more for one in request.more)
    assert BroadcastRoomReq.FromString(request.SerializeToString()) == request
