"""Hop 8 of 9: the gRPC client of one Comet node; from job/pusher.py, to comet/push_service.py.

It owns one channel and its three calls, which it counts and times. It raises each failure as an error of the product.
Unavailable: the node can't be reached, goes away or takes too long, or another program has its address. Overloaded: the
node refuses for now. Internal: the node failed, perhaps because of the push. BadRequest: the node will never take it.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc

from common.errors import BadRequest, ChatError, Internal, Overloaded, Unavailable
from job import metrics
from protos.comet_pb2 import (
    BroadcastReply,
    BroadcastReq,
    BroadcastRoomReply,
    BroadcastRoomReq,
    PushMsgReply,
    PushMsgReq,
)
from protos.comet_pb2_grpc import CometStub

Q = TypeVar("Q", BroadcastReq, BroadcastRoomReq, PushMsgReq)
A = TypeVar("A", BroadcastReply, BroadcastRoomReply, PushMsgReply)

_OPTIONS: Final = (
    # A connection whose other end is gone without a word is noticed and replaced within 4 s, which is less than the
    # push deadline, and even when nothing is pushed; not after the kernel's 15 minutes.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),  # of a ping that measures bandwidth, which would stand in for that question
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A node that starts again is found at once: the pusher has backoffs of its own.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    # Two nodes at one address are one after the other; the second must not inherit the first's connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
)
_FAULTS: Final[dict[grpc.StatusCode, type[ChatError]]] = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: Unavailable,
    grpc.StatusCode.PERMISSION_DENIED: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNKNOWN: Internal,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.DATA_LOSS: Internal,
}


class CometClient:
    """The calls to one node. Each raises a ChatError whose `retriable` says whether to try again."""

    def __init__(self, address: str) -> None:
        # gRPC connects with the first call.
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = CometStub(self._channel)

    async def broadcast_room(self, request: BroadcastRoomReq, timeout_s: float) -> BroadcastRoomReply:
        """Push to rooms; the reply names those to push again and those never to."""
        return await _call("broadcast_room", self._stub.BroadcastRoom, request, timeout_s)

    async def push_msg(self, request: PushMsgReq, timeout_s: float) -> None:
        """Push to users."""
        await _call("push_msg", self._stub.PushMsg, request, timeout_s)

    async def broadcast(self, request: BroadcastReq, timeout_s: float) -> None:
        """Push to everybody."""
        await _call("broadcast", self._stub.Broadcast, request, timeout_s)

    async def close(self) -> None:
        """End the connection and whatever call is open."""
        await self._channel.close()


async def _call(name: str, method: Callable[..., Awaitable[A]], request: Q, timeout_s: float) -> A:
    started = time.perf_counter()
    try:
        reply = await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as e:
        metrics.CALL_FAILED[name].inc()
        raise _fault(e) from None
    finally:
        metrics.PUSH_SECONDS[name].observe(time.perf_counter() - started)
    metrics.CALL_OK[name].inc()
    return reply


def _fault(error: grpc.aio.AioRpcError) -> ChatError:
    return _FAULTS.get(error.code(), BadRequest)(f"{error.code().name}: {error.details()}")
