"""The push service without gRPC: what a push brings to rooms and users, once for each id, and what it refuses."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import grpc
import pytest

from comet import push_service as module
from comet.join import Join
from comet.membership import Membership
from comet.push_service import PushService
from protos import comet_pb2
from protos.protocol_pb2 import Proto
from tests import conformance
from tests.support.comet_settings import comet_settings
from tests.support.fake_log import Node, running
from tests.support.joining import after
from tests.support.rooms import Recorder, message

FORGED: Final = json.loads((Path(conformance.__path__[0]) / "forged.json").read_text())


class Aborted(Exception):
    """What a call ends with where it is refused."""


class Context:
    """A call's context."""

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        """As gRPC's."""
        raise Aborted(code, text)


class Rig:
    """A push service over a hub with fakes, and Alice in room_1 and room_2."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.alice = Recorder("alice")
        self.sessions = {"alice": [self.alice]}
        self.service = PushService(node.hub, cast("Membership", SimpleNamespace(sessions=self.sessions)))

    async def join(self, *rooms: str) -> None:
        """Let Alice into rooms."""
        for room in rooms:
            await Join(self.node.hub, self.node.presences, self.alice, room, comet_settings()).fresh()

    async def broadcast(self, *requests: comet_pb2.BroadcastRoomReq) -> comet_pb2.BroadcastRoomReply:
        """Call BroadcastRoom, the requests merged into one."""
        first, *more = requests
        first.more.extend(more)
        reply = await self.service.BroadcastRoom(first, cast("Any", Context()))
        await self.node.settle()
        return reply

    async def push(self, text: str, push_id: str, *users: str) -> None:
        """Call PushMsg."""
        request = comet_pb2.PushMsgReq(keys=users, proto=Proto(body=text, id=push_id))
        await self.service.PushMsg(request, cast("Any", Context()))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Alice in two rooms."""
    async with running(Node()) as node:
        it = Rig(node)
        await it.join("room_1", "room_2")
        it.alice.writes.clear()
        yield it


def raw(room: str, text: str, push_id: str) -> comet_pb2.BroadcastRoomReq:
    """Return a push without a position."""
    return comet_pb2.BroadcastRoomReq(room_id=room, proto=Proto(body=text, id=push_id))


def positioned(room: str, seq: int, epoch: int = 1) -> comet_pb2.BroadcastRoomReq:
    """Return a push of one message."""
    payload = {"roomId": room, "epoch": epoch, "messages": [json.loads(message(seq, epoch=epoch))]}
    body = json.dumps({"type": "serverMessages", "payload": payload})
    return comet_pb2.BroadcastRoomReq(room_id=room, proto=Proto(body=body, epoch=epoch, first_seq=seq, count=1))


async def test_a_push_without_a_position_is_delivered_once_for_each_id_and_room(rig: Rig) -> None:
    """The same id in another room is another push."""
    for _ in range(2):
        await rig.broadcast(raw("room_1", "one", "x"), raw("room_2", "two", "x"))
    await rig.broadcast(raw("room_1", "three", "y"))
    assert sorted(rig.alice.texts) == ["one", "three", "two"]


async def test_the_ids_that_are_remembered_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    monkeypatch.setattr(module, "SEEN_IDS", 3)
    for push_id in ("a", "b", "c", "d", "b", "a"):
        await rig.broadcast(raw("room_1", push_id, push_id))
    assert rig.alice.texts == ["a", "b", "c", "d", "a"]


async def test_a_user_gets_a_push_once_for_each_id(rig: Rig) -> None:
    """On each session, however often the user is named."""
    rig.sessions["alice"].append(other := Recorder("alice"))
    for _ in range(2):
        await rig.push("hello", "x", "alice", "alice", "nobody")
    assert (rig.alice.texts, other.texts) == (["hello"], ["hello"])


async def test_a_push_above_the_log_is_refused_and_the_others_are_delivered(rig: Rig) -> None:
    """The log is the truth: nobody's messages reach nobody."""
    rig.node.store.append(2)
    reply = await rig.broadcast(positioned("room_1", 3), positioned("room_2", 1))
    assert (list(reply.refused_rooms), list(reply.retry_rooms)) == (["room_1"], [])
    assert rig.alice.seqs == [1]
    with pytest.raises(Aborted, match="FAILED_PRECONDITION"):
        await rig.broadcast(positioned("room_1", 1, epoch=9))


async def test_a_push_behind_a_hole_is_delivered_with_what_lies_in_it(rig: Rig) -> None:
    """OK means that it is done; its repeat changes nothing."""
    rig.node.store.append(3)
    for _ in range(2):
        reply = await rig.broadcast(positioned("room_1", 3))
        assert (list(reply.refused_rooms), list(reply.retry_rooms)) == ([], [])
    assert rig.alice.seqs == [1, 2, 3]


async def test_a_push_behind_a_hole_that_can_not_be_read_comes_again(rig: Rig) -> None:
    """Redis told where the log ends, and then was away."""
    rig.node.store.append(3)
    rig.node.store.on_ask = after(2, lambda: setattr(rig.node.store, "away", True))
    reply = await rig.broadcast(positioned("room_1", 3), positioned("room_2", 1))
    assert list(reply.retry_rooms) == ["room_1"]


async def test_without_redis_a_new_push_comes_again_and_a_repeat_does_not(rig: Rig) -> None:
    """Where the log ends is not known."""
    rig.node.bring(rig.node.store.append())
    rig.node.store.append()
    rig.node.store.away = True
    reply = await rig.broadcast(positioned("room_1", 1), positioned("room_2", 1))
    assert list(reply.retry_rooms) == ["room_2"]


async def test_what_names_nothing_to_deliver_is_refused(rig: Rig) -> None:
    """With the code of a bad request."""
    for call in (
        rig.service.BroadcastRoom(comet_pb2.BroadcastRoomReq(room_id="r"), cast("Any", Context())),
        rig.service.PushMsg(comet_pb2.PushMsgReq(keys=["alice"]), cast("Any", Context())),
        rig.service.PushMsg(comet_pb2.PushMsgReq(proto=Proto(body="x")), cast("Any", Context())),
        rig.service.Broadcast(comet_pb2.BroadcastReq(proto=Proto(body="x"), speed=-1), cast("Any", Context())),
    ):
        with pytest.raises(Aborted, match="INVALID_ARGUMENT"):
            await call


@pytest.mark.parametrize("row", FORGED, ids=[row["name"] for row in FORGED])
async def test_a_forged_frame_is_refused_by_each_call(rig: Rig, row: dict[str, str]) -> None:
    """As invalid, with its type. Nobody gets it. An `epoch` without `first_seq` is no position."""
    body = Proto(body=row["text"].replace("<room>", "room_1"), epoch=1)
    for call in (
        rig.service.BroadcastRoom(comet_pb2.BroadcastRoomReq(room_id="room_1", proto=body), cast("Any", Context())),
        rig.service.PushMsg(comet_pb2.PushMsgReq(keys=["alice"], proto=body), cast("Any", Context())),
        rig.service.Broadcast(comet_pb2.BroadcastReq(proto=body), cast("Any", Context())),
    ):
        with pytest.raises(Aborted, match=f"INVALID_ARGUMENT.*of type {row['type']}.*push text, a JSON object"):
            await call
    assert rig.alice.texts == []


async def test_of_a_room_with_a_forged_frame_nothing_is_delivered_and_other_rooms_are(rig: Rig) -> None:
    """So a caller that repeats the rest of the room's pushes brings none of them twice."""
    forged = raw("room_1", "before", "")
    forged.batch.append(Proto(body=FORGED[0]["text"]))
    reply = await rig.broadcast(forged, raw("room_2", "two", ""))
    assert (list(reply.refused_rooms), list(reply.retry_rooms)) == (["room_1"], [])
    assert rig.alice.texts == ["two"]


async def test_a_push_whose_messages_have_other_seqs_is_refused(rig: Rig) -> None:
    """Clients would take the seq of the body as their position."""
    rig.node.store.append(1)
    request = positioned("room_1", 1)
    request.proto.body = request.proto.body.replace('"seq": 1', '"seq": 9007199254740991')
    with pytest.raises(Aborted, match="FAILED_PRECONDITION"):
        await rig.broadcast(request)
    assert rig.alice.texts == []
    await rig.broadcast(positioned("room_1", 1))
    assert rig.alice.seqs == [1]
