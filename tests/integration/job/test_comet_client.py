"""The gRPC client against a real server: what its failures mean, and that it finds a node that came back."""

import asyncio

import grpc
import pytest

from common.errors import BadRequest, ChatError, Internal, Overloaded, Unavailable
from job import metrics
from job.comet_client import CometClient
from protos.comet_pb2 import BroadcastReq, BroadcastRoomReply, BroadcastRoomReq, PushMsgReq
from protos.protocol_pb2 import Proto
from tests.integration.job.comets import Comet

REQUEST = BroadcastRoomReq(room_id="r", proto=Proto(body="x"))


class Refusing(Comet):
    """Answers with a status."""

    status = grpc.StatusCode.OK

    async def BroadcastRoom(self, _request: BroadcastRoomReq, context: grpc.aio.ServicerContext) -> BroadcastRoomReply:  # type: ignore[type-arg]  # noqa: N802 - gRPC's name, and its stubs differ on the arguments
        """Refuse."""
        await context.abort(self.status, "why")


async def test_all_three_calls_reach_the_node() -> None:
    """And are counted."""
    before = metrics.CALL_OK["push_msg"].value
    async with Comet("c") as comet:
        client = CometClient(comet.address)
        reply = await client.broadcast_room(REQUEST, 5)
        await client.push_msg(PushMsgReq(keys=["1"], proto=Proto(body="y")), 5)
        await client.broadcast(BroadcastReq(speed=3, proto=Proto(body="z")), 5)
        await client.close()
    assert reply == BroadcastRoomReply()
    assert comet.bodies("r") == ["x"]
    assert comet.users[0].keys == ["1"]
    assert comet.everyone[0].speed == 3
    assert metrics.CALL_OK["push_msg"].value == before + 1


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.ABORTED, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.INVALID_ARGUMENT, BadRequest),
        (grpc.StatusCode.UNIMPLEMENTED, Unavailable),
        (grpc.StatusCode.FAILED_PRECONDITION, BadRequest),
        (grpc.StatusCode.UNKNOWN, Internal),
    ],
)
async def test_what_a_status_means(status: grpc.StatusCode, fault: type[ChatError]) -> None:
    """Whether to try again, and the node's own words."""
    async with Refusing("c") as comet:
        comet.status = status
        client = CometClient(comet.address)
        with pytest.raises(fault, match=f"{status.name}: why") as raised:
            await client.broadcast_room(REQUEST, 5)
        await client.close()
    assert raised.value.retriable == (fault in {Unavailable, Overloaded})


async def test_a_node_that_does_not_answer_or_is_not_there_is_unavailable() -> None:
    """Whichever it is; when it comes (back), it is found."""
    comet = Comet("c")
    client = CometClient(comet.address)
    with pytest.raises(Unavailable):
        await client.broadcast_room(REQUEST, 5)
    async with comet:
        async with asyncio.timeout(20):
            await _until_pushed(client)
        comet.stuck.set()
        with pytest.raises(Unavailable):
            await client.broadcast_room(REQUEST, 0.1)
    with pytest.raises(Unavailable):
        await client.broadcast_room(REQUEST, 5)
    async with Comet("d", port=comet.port):
        async with asyncio.timeout(20):
            await _until_pushed(client)
    await client.close()


async def _until_pushed(client: CometClient) -> None:
    while True:
        try:
            await client.broadcast_room(REQUEST, 1)
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return
