"""What one client, or somebody else who publishes, can do to the others: nothing."""

import asyncio
from contextlib import suppress

import pytest
import redis.asyncio as redis
from websockets.frames import Frame, Opcode

from comet import gateway
from common import keys
from protos.comet_pb2 import BroadcastReq, BroadcastRoomReq, PushMsgReq
from protos.protocol_pb2 import Proto
from tests.support.comet_node import Client, CometNode, running
from tests.support.metrics import asample, until_sample
from tests.support.misbehaving_socket import MisbehavingSocket
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

JUNK = Frame(Opcode.TEXT, b"x").serialize(mask=True)


async def test_a_flood_of_junk_frames_ends_with_its_client_and_nobody_waits(redis_url: str) -> None:
    """Others are answered while it floods; it is told rate_limited, and closed with 4002 when it goes on."""
    async with running(redis_url, rate_patience_seconds=0.5) as node, node.client(rooms="") as bystander:
        socket = await MisbehavingSocket.connect(node)

        async def flood() -> None:
            while True:
                socket.writer.write(JUNK * 20_000)
                await socket.writer.drain()

        flooding = asyncio.create_task(flood())
        closed = await asample(node.metrics_url, "comet_closed_total", code="4002")
        with suppress(ConnectionError):  # what it sent and nobody read makes the end a reset
            async with asyncio.timeout(20):
                while await socket.reader.read(65_536):
                    await bystander.settle()
        socket.writer.close()
        await asyncio.wait({flooding}, timeout=5)
        assert isinstance(flooding.exception(), ConnectionError)
        await until_sample(node.metrics_url, "comet_errors_total", 1, code="rate_limited")
        await until_sample(node.metrics_url, "comet_closed_total", closed + 1, code="4002")


async def test_a_message_of_endless_fragments_is_refused(node: CometNode) -> None:
    """Empty ones too: they would fill the memory without ever being too large."""
    socket = await MisbehavingSocket.connect(node)
    socket.writer.write(Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True))
    socket.writer.write(Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 2000)
    assert (1009).to_bytes(2, "big") in await socket.read_to_the_end()
    await socket.close()


async def test_a_client_that_does_not_finish_closing_is_hung_up_on(
    node: CometNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever began to close: the connection has a deadline, also when the client reads nothing."""
    monkeypatch.setattr(gateway, "CLOSING_S", 0.1)
    writer = (await MisbehavingSocket.connect(node)).writer
    writer.write(Frame(Opcode.TEXT, b"x" * 70_000).serialize(mask=True))
    async with asyncio.timeout(10), node.client(rooms="") as bystander:
        while not writer.transport.is_closing():
            writer.write(JUNK)
            await bystander.settle()


async def test_large_messages_can_be_resumed(alice: Client, bob: Client) -> None:
    """A resume of far more than a connection may have unsent comes in pages that wait for the client."""
    await alice.answer("joinRoom", {"roomId": "large"}, "joined")
    count = 200
    for i in range(count):
        await alice.send("large", f"{i:04}" + "x" * 12_000)
        await alice.until(lambda: len(alice.frames("ack")) == i + 1)  # noqa: B023 - awaited within the round
    await bob.send_frame("joinRoom", {"roomId": "large", "since": {"epoch": 0, "seq": 0}})

    def came() -> list[str]:
        pages = bob.frames("joined")[:1] + bob.frames("serverMessages")
        return [one["content"][:4] for page in pages for one in page["messages"]]

    await bob.until(lambda: len(came()) == count, 30)
    assert came() == [f"{i:04}" for i in range(count)]
    assert bob.frames("joined")[0]["recovered"] is True
    assert len(bob.frames("joined")[0]["messages"]) < count


async def test_many_clients_may_come_at_once_each_to_a_room_of_its_own(node: CometNode) -> None:
    """They wait for a connection to Redis, which is there, instead of being told that it is away."""

    async def come(i: int) -> int:
        async with node.client(rooms=f"own_{i}") as client:
            return len(client.frames("hello")[0]["rooms"])

    assert await asyncio.gather(*(come(i) for i in range(250))) == [1] * 250


@pytest.mark.parametrize("payload", [b"", b"junk", b"1 2", b"9 1 1\nnot json"])
async def test_what_others_publish_in_a_room_harms_nobody(alice: Client, redis_url: str, payload: bytes) -> None:
    """Something that is no message is left out; the room goes on."""
    await alice.answer("joinRoom", {"roomId": "r"}, "joined")
    await alice.send("r", "one")
    await alice.until_contents("r", ["one"])
    epoch = str(alice.frames("serverMessages")[0]["epoch"]).encode()
    channel = keys.room_keys(SHARDS.of("r"), "r").channel
    async with redis.Redis.from_url(redis_url) as other:
        await other.publish(channel, payload.replace(b"9 1 1", epoch + b" 1 5"))
    await alice.send("r", "two")
    await alice.until_contents("r", ["one", "two"])


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("PushMsg", PushMsgReq(keys=["alice"])),
        ("Broadcast", BroadcastReq()),
        ("BroadcastRoom", BroadcastRoomReq(room_id="r")),
    ],
)
async def test_a_push_without_a_body_is_refused(
    node: CometNode, alice: Client, call: str, request_: PushMsgReq | BroadcastReq | BroadcastRoomReq
) -> None:
    """INVALID_ARGUMENT, and nobody gets an empty frame."""
    from grpc import StatusCode, aio  # noqa: PLC0415 - only here

    with pytest.raises(aio.AioRpcError) as refused:
        await getattr(node.stub, call)(request_, timeout=5)
    assert refused.value.code() is StatusCode.INVALID_ARGUMENT
    await alice.settle()
    assert "" not in alice.texts


async def test_a_push_reaches_all_sessions_of_a_user_although_one_is_cut_off(redis_url: str) -> None:
    """The slow one goes in the midst of it; the others get the push."""
    async with running(redis_url, outbound_bytes=65_536) as node:
        slow = await MisbehavingSocket.connect(node, "uid=u&rooms=")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports have it
        async with node.client(uid="u", rooms="") as fast:
            body = "x" * 1_000_000
            for i in range(12):
                await node.stub.PushMsg(PushMsgReq(keys=["u"], proto=Proto(body=f"{i} {body}")), timeout=5)
            await fast.until(lambda: sum(text.endswith(body) for text in fast.texts) == 12)
        slow.writer.close()
