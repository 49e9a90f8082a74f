"""The four gRPC calls as Job and grpcurl make them, with reflection and health, and what clients get of them."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc
import orjson
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from comet import frames
from common import redis_client
from common.store import Store, StoreLimits
from protos.comet_pb2 import BroadcastReq, BroadcastRoomReply, BroadcastRoomReq, PushMsgReq, RoomsReq
from protos.protocol_pb2 import Proto
from testbed.redis_server import RedisServer
from tests.support.comet_node import Client, CometNode, running
from tests.support.eventually import eventually
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


def total(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def deliveries(result: str) -> float:
    """Return how many pushed messages became of that."""
    return total("comet_deliveries_total", path="push", result=result)


async def say(client: Client, *contents: str) -> dict[str, Any]:
    """Send messages in one frame, wait until they came back and return the ack."""
    messages = [{"content": content} for content in contents]
    ack = await client.answer("clientMessages", {"roomId": ROOM, "messages": messages}, "ack")
    await client.until(lambda: ack["messages"][-1]["seq"] in [one["seq"] for one in client.messages(ROOM)])
    return ack


async def stored(redis_url: str, first_seq: int, count: int, room: str = ROOM) -> Proto:
    """Return what Job pushes for some messages of the log."""
    redis = redis_client.connect(redis_url)
    read = await Store(redis, SHARDS, StoreLimits()).read(room, first_seq, count)
    await redis.aclose()
    body = frames.server_messages(orjson.dumps(room), read.log.epoch, read.messages).decode()
    return Proto(ver=1, op=4, body=body, epoch=read.log.epoch, first_seq=first_seq, count=count)


def invented(room: str, epoch: int, *seqs: int) -> Proto:
    """Return a push of messages that nobody stored."""
    messages = b",".join(
        orjson.dumps(
            {"id": f"{1_700_000_000_000 + seq}-0", "seq": seq, "timestamp": 1, "content": "invented", "user": {}}
        )
        for seq in seqs
    )
    body = frames.server_messages(orjson.dumps(room), epoch, messages).decode()
    return Proto(ver=1, op=4, body=body, epoch=epoch, first_seq=seqs[0], count=len(seqs))


async def push(node: CometNode, *protos: Proto, room: str = ROOM) -> BroadcastRoomReply:
    """Push to a room."""
    return await node.stub.BroadcastRoom(BroadcastRoomReq(room_id=room, proto=protos[0], batch=protos[1:]))


async def fails(call: Any) -> grpc.StatusCode:
    """Await a call and return the status it fails with."""
    with pytest.raises(aio.AioRpcError) as failed:
        await call
    return failed.value.code()


# -- what grpcurl needs --------------------------------------------------------------------------------------------


async def test_reflection_lists_the_services_and_describes_them(node: CometNode) -> None:
    """So that grpcurl needs no .proto."""
    async with aio.insecure_channel(node.grpc_address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]  # typed for the other API
        request = reflection_pb2.ServerReflectionRequest
        asked = [request(list_services=""), request(file_containing_symbol="ChatRoom.Comet.Comet")]
        answers = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    names = {service.name for service in answers[0].list_services_response.service}
    assert names == {"ChatRoom.Comet.Comet", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    file = FileDescriptorProto.FromString(answers[1].file_descriptor_response.file_descriptor_proto[0])
    [call] = [message for message in file.message_type if message.name == "BroadcastRoomReq"]
    assert [(field.number, field.name) for field in call.field][:2] == [(1, "room_id"), (2, "proto")]


async def test_health_says_serving(node: CometNode) -> None:
    """For the server and for the service."""
    async with aio.insecure_channel(node.grpc_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "ChatRoom.Comet.Comet"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_rooms_are_those_with_a_session_here(node: CometNode) -> None:
    """And no longer once the last has left."""
    async with node.client(rooms="a,b"):
        assert dict((await node.stub.Rooms(RoomsReq())).rooms) == {"a": True, "b": True}

    async def none() -> bool:
        return not (await node.stub.Rooms(RoomsReq())).rooms

    await eventually(none)


# -- what has no position ------------------------------------------------------------------------------------------


async def test_a_plain_text_reaches_everybody_in_the_room_as_it_is(node: CometNode) -> None:
    """The README's grpcurl line; it is no part of the room's log."""
    async with node.client(rooms=ROOM) as one, node.client(rooms=f"{ROOM},b") as two, node.client(rooms="b") as other:
        await push(node, Proto(ver=1, op=4, seq=0, body="test message"))
        for client in (one, two):
            await client.until(lambda: client.texts[-1] == "test message")  # noqa: B023 - asked at once
        await other.settle()
        assert "test message" not in other.texts
        history = await one.answer("requestRoomHistory", {"roomId": ROOM}, "roomHistory")
        assert history["messages"] == []


async def test_a_text_with_an_id_comes_once(node: CometNode, alice: Client) -> None:
    """Job's retries are known by it, and counted; without an id every call is a text of its own."""
    await alice.answer("joinRoom", {"roomId": ROOM}, "joined")
    before = total("comet_repeated_pushes_total")
    for _ in range(3):
        await push(node, Proto(body="once", id="id-1"), Proto(body="another", id="id-2"))
        await push(node, Proto(body="each time"))
    await alice.settle()
    assert [alice.texts.count(text) for text in ("once", "another", "each time")] == [1, 1, 3]
    assert total("comet_repeated_pushes_total") - before == 4


async def test_of_ids_the_last_ones_are_remembered(
    node: CometNode, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window is bounded: with so many behind it an id is forgotten, the oldest first."""
    monkeypatch.setattr("comet.push_service.SEEN_IDS", 3)
    await alice.answer("joinRoom", {"roomId": ROOM}, "joined")
    for push_id in ("a", "b", "c", "a", "d", "b", "a"):
        await push(node, Proto(body=push_id, id=push_id))
    await alice.settle()
    assert [text for text in alice.texts if text in "abcd"] == ["a", "b", "c", "d", "a"]


async def test_a_push_for_a_room_nobody_is_in_is_fine(node: CometNode) -> None:
    """The last member left while it was on its way."""
    assert await push(node, Proto(body="x"), room="empty") == BroadcastRoomReply()
    assert await push(node, invented("empty", 5, 1), room="empty") == BroadcastRoomReply()


async def test_what_is_stored_under_an_id_that_is_illegal_now_passes(node: CometNode) -> None:
    """Job pushes what Kafka still holds of it. Nobody is in the room, so it is done; a raw push is no such record."""
    for room in ("a\u200bb", "cafe\u0301"):
        assert await push(node, invented(room, 5, 1), room=room) == BroadcastRoomReply()
        assert await fails(push(node, Proto(body="x"), room=room)) == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("room", ["", "a b", "x" * 129, "a\u202eb"])
async def test_a_room_that_is_none_is_refused(node: CometNode, room: str) -> None:
    """As invalid; within a merged push it is named, and the others are delivered."""
    assert await fails(push(node, Proto(body="x"), room=room)) == grpc.StatusCode.INVALID_ARGUMENT
    async with node.client(rooms=ROOM) as client:
        good = BroadcastRoomReq(room_id=ROOM, proto=Proto(body="good"))
        reply = await node.stub.BroadcastRoom(BroadcastRoomReq(room_id=room, proto=Proto(body="x"), more=[good]))
        assert list(reply.refused_rooms) == [room]
        await client.until(lambda: client.texts[-1] == "good")


# -- what has a position -------------------------------------------------------------------------------------------


async def test_what_pubsub_brought_is_a_repeat(redis_url: str, node: CometNode, alice: Client) -> None:
    """Counted as duplicates by message, and no client sees it again."""
    await say(alice, "one", "two")
    before = deliveries("duplicate"), deliveries("delivered")
    assert await push(node, await stored(redis_url, 1, 2)) == BroadcastRoomReply()
    await alice.settle()
    assert [message["content"] for message in alice.messages(ROOM)] == ["one", "two"]
    assert (deliveries("duplicate") - before[0], deliveries("delivered") - before[1]) == (2, 0)


async def test_without_pubsub_a_push_delivers(own_redis: RedisServer) -> None:
    """At once, in order, each message once, whatever overlaps; the check of the tails finds nothing left."""
    with own_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-publish")
    async with running(own_redis.url) as node, node.client(rooms=ROOM) as alice:
        begun = time.monotonic()
        await alice.send(ROOM, "1")
        await alice.until(lambda: alice.frames("ack"))
        await push(node, await stored(own_redis.url, 1, 1))
        await alice.until_contents(ROOM, ["1"])
        for content in ("2", "3", "4"):
            await alice.send(ROOM, content)
        await alice.until(lambda: len(alice.frames("ack")) == 4)
        await push(node, await stored(own_redis.url, 1, 3), await stored(own_redis.url, 3, 2))
        await alice.until_contents(ROOM, ["1", "2", "3", "4"])
        assert time.monotonic() - begun < 1.9, "the check may have been first"


async def test_a_push_above_a_hole_has_it_read(own_redis: RedisServer) -> None:
    """OK once the hole is filled; nothing is out of order."""
    with own_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-publish")
    async with running(own_redis.url) as node, node.client(rooms=ROOM) as alice:
        for content in ("1", "2", "3"):
            await alice.send(ROOM, content)
        await alice.until(lambda: len(alice.frames("ack")) == 3)
        assert await push(node, await stored(own_redis.url, 3, 1)) == BroadcastRoomReply()
        await alice.until_contents(ROOM, ["1", "2", "3"])


@pytest.mark.parametrize("above", [1, 2, 1000])
async def test_a_position_above_the_log_is_refused(node: CometNode, alice: Client, above: int) -> None:
    """Also right above it. Nobody sees it, it is counted, and the message that gets this seq is delivered."""
    epoch = (await say(alice, "one", "two"))["epoch"]
    before = total("comet_refused_pushes_total")
    code = await fails(push(node, invented(ROOM, epoch, 2 + above)))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert total("comet_refused_pushes_total") - before == 1
    for content in ("three", "four", "five"):
        await say(alice, content)
    assert [message["content"] for message in alice.messages(ROOM)] == ["one", "two", "three", "four", "five"]


async def test_a_burst_that_ends_above_the_log_is_refused(node: CometNode, alice: Client) -> None:
    """Though it begins within: its end is nobody's message."""
    epoch = (await say(alice, "one", "two"))["epoch"]
    assert await fails(push(node, invented(ROOM, epoch, 2, 3, 4))) == grpc.StatusCode.FAILED_PRECONDITION
    await say(alice, "three")
    assert [message["content"] for message in alice.messages(ROOM)] == ["one", "two", "three"]


async def test_an_epoch_above_the_log_is_refused(node: CometNode, alice: Client) -> None:
    """Whatever its seq."""
    epoch = (await say(alice, "one", "two"))["epoch"]
    for seq in (1, 3):
        assert await fails(push(node, invented(ROOM, epoch + 1, seq))) == grpc.StatusCode.FAILED_PRECONDITION
    await say(alice, "three")
    assert [message["content"] for message in alice.messages(ROOM)] == ["one", "two", "three"]


async def test_a_room_without_a_log_takes_no_invented_first_message(node: CometNode, alice: Client) -> None:
    """Seq 1 of an epoch that nobody opened."""
    await alice.answer("joinRoom", {"roomId": ROOM}, "joined")
    assert await fails(push(node, invented(ROOM, 5, 1))) == grpc.StatusCode.FAILED_PRECONDITION
    await say(alice, "one")
    assert [message["content"] for message in alice.messages(ROOM)] == ["one"]


@pytest.mark.parametrize("body", ["", "text", "{}", '{"payload":{"messages":1}}', "[]", '{"payload":{"messages":[1]}}'])
async def test_a_position_with_a_body_that_is_no_frame_is_refused(node: CometNode, alice: Client, body: str) -> None:
    """Never send it again; the room goes on."""
    epoch = (await say(alice, "one"))["epoch"]
    code = await fails(push(node, Proto(body=body, epoch=epoch, first_seq=2, count=1)))
    assert code in {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT}
    await say(alice, "two")
    assert [message["content"] for message in alice.messages(ROOM)] == ["one", "two"]


async def test_a_merged_push_delivers_to_every_room(node: CometNode) -> None:
    """One call, several rooms; a refused one is named and hinders none."""
    async with node.client(rooms="a,b,c") as client:
        epoch = (await client.answer("clientMessages", {"roomId": "b", "content": "x"}, "ack"))["epoch"]
        rooms = {"a": Proto(body="for a"), "b": invented("b", epoch, 50), "c": Proto(body="for c")}
        requests = [BroadcastRoomReq(room_id=room, proto=proto) for room, proto in rooms.items()]
        reply = await node.stub.BroadcastRoom(BroadcastRoomReq(room_id="a", proto=rooms["a"], more=requests[1:]))
        assert (list(reply.refused_rooms), list(reply.retry_rooms)) == (["b"], [])
        await client.until(lambda: {"for a", "for c"} <= set(client.texts))


async def test_without_redis_a_push_that_needs_it_is_to_be_sent_again(own_redis: RedisServer) -> None:
    """It is neither refused nor lost: the reply names the room; repeats and raw texts need no Redis."""
    async with running(own_redis.url) as node, node.client(rooms=ROOM) as alice:
        epoch = (await say(alice, "one"))["epoch"]
        repeat = await stored(own_redis.url, 1, 1)
        await asyncio.to_thread(own_redis.stop)
        assert await push(node, repeat, Proto(body="raw")) == BroadcastRoomReply()
        reply = await push(node, invented(ROOM, epoch, 3))
        assert (list(reply.retry_rooms), list(reply.refused_rooms)) == ([ROOM], [])


# -- to users, to everyone -----------------------------------------------------------------------------------------


async def test_a_push_to_users_reaches_all_their_sessions(node: CometNode) -> None:
    """Once each, however often a user is named, whatever rooms they are in; made without our additions."""
    async with node.client(uid="1", rooms="") as one, node.client(uid="1") as same, node.client(uid="2") as other:
        await node.stub.PushMsg(PushMsgReq(keys=["1", "1", "none"], proto=Proto(ver=1, op=4, body="for you")))
        for client in (one, same, other):
            await client.settle()
        assert [client.texts.count("for you") for client in (one, same, other)] == [1, 1, 0]
        for _ in range(2):
            await node.stub.PushMsg(PushMsgReq(keys=["2"], proto=Proto(body="once", id="push-1")))
        await other.settle()
        assert other.texts.count("once") == 1


async def test_a_push_to_nobody_is_invalid(node: CometNode) -> None:
    """Somebody forgot the keys."""
    assert await fails(node.stub.PushMsg(PushMsgReq(proto=Proto(body="x")))) == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_broadcast_reaches_every_session(node: CometNode) -> None:
    """In whatever room, once by id."""
    async with node.client(rooms="") as one, node.client(rooms="a,b") as two:
        for _ in range(2):
            await node.stub.Broadcast(BroadcastReq(proto=Proto(body="all", id="b-1")))
        for client in (one, two):
            await client.settle()
            assert client.texts.count("all") == 1


async def test_a_broadcast_with_a_speed_is_spread(node: CometNode) -> None:
    """The call returns at once; so many deliveries a second follow."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(node.client(rooms="", uid=str(i))) for i in range(10)]
        begun = time.monotonic()
        await node.stub.Broadcast(BroadcastReq(proto=Proto(body="all"), speed=20))
        assert time.monotonic() - begun < 0.3
        for client in clients:
            await client.until(lambda: "all" in client.texts)  # noqa: B023 - asked at once
        assert 0.35 < time.monotonic() - begun < 5


async def test_broadcasts_with_a_speed_are_bounded(node: CometNode) -> None:
    """Past so many under way at once further ones are refused; a negative speed is invalid."""
    async with node.client(rooms=""), node.client(rooms=""):
        for _ in range(16):
            await node.stub.Broadcast(BroadcastReq(proto=Proto(body="slow"), speed=1))
        code = await fails(node.stub.Broadcast(BroadcastReq(proto=Proto(body="slow"), speed=1)))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await fails(node.stub.Broadcast(BroadcastReq(speed=-1))) == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_push_too_large_for_grpcs_default_is_fine(redis_url: str) -> None:
    """A merged push may hold more than 4 MiB."""
    async with running(redis_url, outbound_bytes=32_000_000) as node, node.client(rooms=ROOM) as client:
        await push(node, Proto(body="x" * 8_000_000))
        await client.until(lambda: len(client.texts[-1]) == 8_000_000)
