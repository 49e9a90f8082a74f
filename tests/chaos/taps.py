"""Live taps: what Redis publishes and what Job pushes, noted as it comes, past every proxy. They fill the evidence.

Both outlive every fault: the PubSub tap connects anew (a new segment), the push tap answers at once and stays
registered while Redis is frozen, killed or full. Neither is bounded: a run's evidence is as long as the run.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import orjson
from grpc import aio
from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common import keys, redis_client
from common.backoff import Backoff
from common.envelope import parse_burst
from common.redis_client import REDIS_FAULTS
from common.registry import Node, Registry, RoomPresence
from common.shards import Shards
from protos import comet_pb2, comet_pb2_grpc
from protos.protocol_pb2 import Proto
from testbed.ports import free_port
from tests.chaos.evidence import Evidence, Published, Pushed

PATTERN: Final = "chat:{*}:room:*"  # every room's channel
CONNECT_TIMEOUT_S: Final = 3.0
SETTLE_TIMEOUT_S: Final = 20.0
ASK_AGAIN_S: Final = 1.0
ASK_LATER_S: Final = 0.01
RENEW_S: Final = 1.0
ROOM_TTL_S: Final = 604_800
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # as Comet takes

# As Comet has them: Job asks every 2 s whether this end is still there, which gRPC would take for abuse.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
)
Context = aio.ServicerContext[Any, Any]


class PubSubTap:
    """Notes what Redis publishes in all rooms; `async with` returns when it is subscribed."""

    def __init__(self, redis_port: int, run: Evidence) -> None:
        self._port = redis_port
        self._run = run
        self._segment = -1
        self._connection: Connection | None = None
        self._subscribed = asyncio.Event()
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._task = asyncio.create_task(self._listen_on())
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            await self._subscribed.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        await _end(self._task)

    async def settle(self) -> None:
        """Return once all that was published before now is noted: the answer to a ping comes behind it."""
        self._answered.clear()
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while not self._answered.is_set():
                await self._subscribed.wait()
                if self._connection is None or not self._connection.is_connected:  # redis-py would connect it anew
                    await asyncio.sleep(ASK_LATER_S)
                    continue
                # A connection that dies takes the question with it; redis-py may find its writer gone in the midst.
                with suppress(TimeoutError, AttributeError, *REDIS_FAULTS):
                    async with asyncio.timeout(ASK_AGAIN_S):
                        await self._connection.send_command("PING", check_health=False)
                        await self._answered.wait()

    async def _listen_on(self) -> None:
        backoff = Backoff(0.01, 0.1)  # soon: what is published meanwhile is missing in the evidence
        while True:
            connection = Connection(host="127.0.0.1", port=self._port, protocol=2, retry=Retry(NoBackoff(), 0))
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):  # a frozen Redis accepts and says nothing
                    await connection.connect()  # type: ignore[no-untyped-call]  # untyped in the library
                    await connection.send_command("PSUBSCRIBE", PATTERN)
                    await connection.read_response()
                self._segment += 1
                self._connection = connection
                self._subscribed.set()
                await self._read(connection)
            except REDIS_FAULTS:
                await backoff.wait()
            finally:
                self._subscribed.clear()
                await connection.disconnect(nowait=True)

    async def _read(self, connection: Connection) -> None:
        while True:
            # Silence is no loss.
            answer: Any = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            if answer[0] == b"pmessage":
                self._note(keys.room_of_channel(answer[2].decode()), answer[3])
            elif answer[0] == b"pong":
                self._answered.set()

    def _note(self, room: str, payload: bytes) -> None:
        try:
            burst = parse_burst(payload)
            messages = orjson.loads(b"[%b]" % burst.messages)
            self._run.published += [
                Published(self._segment, room, burst.epoch, one["seq"], one["id"]) for one in messages
            ]
        except (ValueError, KeyError, TypeError):
            self._run.unexpected.append(f"published in {room} and no message: {payload[:200]!r}")


class PushTap(comet_pb2_grpc.CometServicer):
    """A node that says to serve all rooms and notes what Job pushes; `async with` returns when it is registered."""

    def __init__(self, redis_port: int, rooms: Sequence[str], run: Evidence) -> None:
        self._redis = redis_client.connect(f"redis://127.0.0.1:{redis_port}/0")
        self._shards = Shards()
        self._registry = Registry(self._redis, self._shards)
        self._serves = dict.fromkeys(rooms, RoomPresence(0, []))
        self._run = run
        self._node = Node(f"push-tap-{uuid.uuid4().hex}", f"127.0.0.1:{free_port()}", forwards=False)
        self._answering = asyncio.Event()
        self._answering.set()
        self._leaving = asyncio.Event()
        self._server: aio.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Serve and register."""
        self._server = aio.server(options=_OPTIONS)
        comet_pb2_grpc.add_CometServicer_to_server(self, self._server)
        self._server.add_insecure_port(self._node.grpc)
        await self._server.start()
        await self._shards.settle(self._redis)
        await self._registry.renew(self._node, first=True)
        await self._redis.persist(keys.node(self._node.incarnation))  # it never lapses, however long Redis is frozen
        await self._renew()
        self._task = asyncio.create_task(self._stay())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the registry, if Redis is there, and stop."""
        self._leaving.set()
        if self._task is not None:
            await self._task  # what it asks of Redis is bounded, and not to be cut off
        with suppress(*REDIS_FAULTS):  # the run is over
            await self._registry.leave(self._node.incarnation)
        await self._redis.aclose()
        assert self._server is not None
        await self._server.stop(0.5)

    def hold(self) -> None:
        """Answer no push of a room, and note none, until `release`; a call that ends meanwhile was not answered."""
        self._answering.clear()

    def release(self) -> None:
        """Answer again."""
        self._answering.set()

    async def _stay(self) -> None:
        """Stay in the lists of nodes and rooms, which others clean of who seems dead."""
        while not self._leaving.is_set():
            with suppress(*REDIS_FAULTS):  # what stands there stands
                await self._renew()
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._leaving.wait()

    async def _renew(self) -> None:
        incarnation = self._node.incarnation
        seconds, _ = await self._redis.time()
        await self._redis.zadd(keys.NODES, {incarnation: seconds})
        await self._registry.record(incarnation, dict(self._serves), {}, ROOM_TTL_S)
        if not await self._redis.exists(keys.node(incarnation)):
            self._run.unexpected.append("Redis lost the push tap's registration")

    # -- what Job calls ----------------------------------------------------------------------------------------------

    async def BroadcastRoom(  # noqa: N802 - gRPC's name
        self, request: comet_pb2.BroadcastRoomReq, _context: Context
    ) -> comet_pb2.BroadcastRoomReply:
        """Note the messages of all rooms."""
        await self._answering.wait()
        now = time.time()
        for one in (request, *request.more):
            for proto in _protos(one):
                self._note(one.room_id, proto, now)
        return comet_pb2.BroadcastRoomReply()

    def _note(self, room: str, proto: Proto, now: float) -> None:
        try:
            payload = orjson.loads(proto.body)["payload"]
            self._run.pushed += [Pushed(now, room, proto.epoch, one["seq"], one["id"]) for one in payload["messages"]]
        except (ValueError, KeyError, TypeError):
            self._run.unexpected.append(f"pushed to {room} and no message: {proto.body[:200]}")

    async def Broadcast(  # noqa: N802 - gRPC's name
        self, request: comet_pb2.BroadcastReq, _context: Context
    ) -> comet_pb2.BroadcastReply:
        """Note the text."""
        self._run.broadcast_pushed.append(request.proto.body)
        return comet_pb2.BroadcastReply()

    async def PushMsg(  # noqa: N802 - gRPC's name
        self, request: comet_pb2.PushMsgReq, _context: Context
    ) -> comet_pb2.PushMsgReply:
        """Nobody sends any, and no user is here."""
        self._run.unexpected.append(f"pushed to users {list(request.keys)[:5]}")
        return comet_pb2.PushMsgReply()

    async def Rooms(self, _request: comet_pb2.RoomsReq, _context: Context) -> comet_pb2.RoomsReply:  # noqa: N802 - gRPC's name
        """Say which rooms it serves."""
        return comet_pb2.RoomsReply(rooms=dict.fromkeys(self._serves, True))


def _protos(request: comet_pb2.BroadcastRoomReq) -> Iterator[Proto]:
    if request.HasField("proto"):
        yield request.proto
    yield from request.batch


async def _end(task: asyncio.Task[None] | None) -> None:
    """Cancel a tap's task; what else ended it is raised: evidence would be missing."""
    if task is None:
        return
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()
