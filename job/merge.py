"""Hop 8 of 9: merging, many records into one BroadcastRoom call; from job/node_queue.py, to job/comet_client.py. Pure.

A room's records stay in their order: the first is its request's `proto`, the others its `batch`. Further rooms are
`more` of the first room's request.
"""

from job.record import PendingRecord
from protos.comet_pb2 import BroadcastRoomReq


def merge(records: list[PendingRecord]) -> BroadcastRoomReq:
    """Return the call that pushes all of them (one at least)."""
    first = BroadcastRoomReq(room_id=records[0].room, proto=records[0].proto)
    requests = {records[0].room: first}
    for record in records[1:]:
        request = requests.get(record.room)
        if request is None:
            requests[record.room] = first.more.add(room_id=record.room, proto=record.proto)
        elif record.proto is not None:
            request.batch.append(record.proto)
    return first
