"""Hop 9 of 9: the push service, Comet's gRPC interface; from job/comet_client.py, to comet/hub.py.

A push with a position goes through `hub.deliver` as what PubSub brought does, where it is mostly a repeat; one without
goes out as a raw text frame, once for each id among the last SEEN_IDS of this node: what Job pushes again, because it
died before it could commit or got no answer, is dropped here. OK means delivered, a repeat, or held for a hole.
A raw text that clients would take as a frame of Comet's own is refused, see common/raw_push.py.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from comet import frames, metrics
from comet.hub import MS_DIGITS, Hub, age_s
from comet.membership import Membership
from comet.room import DUPLICATE, HELD, Room
from common import ids, lifecycle, logs, raw_push
from common.envelope import Burst, messages_of, split
from common.errors import BadRequest, StartupError, Unavailable, reason_of
from common.positions import Position
from common.redis_client import REDIS_FAULTS
from protos import comet_pb2, comet_pb2_grpc
from protos.protocol_pb2 import Proto

SEEN_IDS: Final = 100_000  # ids of pushes without a position that are remembered; the oldest go first
SPEED_STEP_S: Final = 0.05
MAX_PACED: Final = 16  # broadcasts with a speed under way at once; past it RESOURCE_EXHAUSTED
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Job asks every 2 s whether this end is still there, also while nothing is pushed; gRPC would take that for abuse.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    # And a Job that is gone without a word is let go of.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)

_FIRST_ID: Final = '"messages":[{"id":"'

log = logs.get()
_Context = aio.ServicerContext[Any, Any]


class PushService(comet_pb2_grpc.CometServicer):
    """The four calls."""

    def __init__(self, hub: Hub, membership: Membership) -> None:
        self._hub = hub
        self._membership = membership
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._paced: set[asyncio.Task[None]] = set()

    async def BroadcastRoom(  # noqa: N802 - the method's name in the .proto
        self, request: comet_pb2.BroadcastRoomReq, context: _Context
    ) -> comet_pb2.BroadcastRoomReply:
        """Deliver to everyone in one or several rooms; the reply names those to send again and those refused."""
        if not request.batch:
            await _need_proto(request, context)
        reply = comet_pb2.BroadcastRoomReply()
        asked = (request, *request.more)
        tails = await self._tails_of(asked)
        for one in asked:
            try:
                _check_push(one)
                if not await self._broadcast_room(one.room_id, _protos(one), tails.get(one.room_id)):
                    metrics.REFUSED_PUSHES.inc()
                    reply.refused_rooms.append(one.room_id)
            except BadRequest as fault:
                if not request.more:
                    await context.abort(grpc.StatusCode[fault.grpc_status], fault.message)
                metrics.REFUSED_PUSHES.inc()
                reply.refused_rooms.append(one.room_id)
            except (Unavailable, *REDIS_FAULTS) as e:
                log.warning("A push waits for Redis", room=one.room_id, error=reason_of(e))
                reply.retry_rooms.append(one.room_id)
        if reply.refused_rooms and not request.more:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the position lies above the log, or the body can't be read or has other positions",
            )
        return reply

    async def PushMsg(  # noqa: N802
        self, request: comet_pb2.PushMsgReq, context: _Context
    ) -> comet_pb2.PushMsgReply:
        """Deliver to the sessions of some users."""
        await _need_raw(request, context)
        if not request.keys:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "keys must name at least one user")
        if self._is_new(request.proto.id, "user"):
            data = frames.websocket(request.proto.body.encode())
            for user_id in dict.fromkeys(request.keys):
                for session in list(self._membership.sessions.get(user_id, ())):  # a write may end one
                    session.write(data)
        return comet_pb2.PushMsgReply()

    async def Broadcast(  # noqa: N802
        self, request: comet_pb2.BroadcastReq, context: _Context
    ) -> comet_pb2.BroadcastReply:
        """Deliver to every session: at once, or `speed` of them a second, which goes on after the answer."""
        await _need_raw(request, context)
        if request.speed < 0:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "speed must be 0 or more deliveries a second")
        if len(self._paced) >= MAX_PACED and request.speed:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_PACED} broadcasts are under way already")
        if self._is_new(request.proto.id, "all"):
            data = frames.websocket(request.proto.body.encode())
            task = asyncio.get_running_loop().create_task(self._broadcast(data, request.speed))
            self._paced.add(task)
            task.add_done_callback(self._paced.discard)
            if not request.speed:
                await asyncio.shield(task)  # the caller may lose its patience, the others still get it
        return comet_pb2.BroadcastReply()

    async def Rooms(self, _request: comet_pb2.RoomsReq, _context: _Context) -> comet_pb2.RoomsReply:  # noqa: N802
        """Return the rooms that have a session on this node."""
        return comet_pb2.RoomsReply(rooms={room.id: True for room in self._hub.rooms.values() if room.members})

    async def drain(self) -> None:
        """Let broadcasts with a speed go: their remaining receivers reconnect elsewhere."""
        for task in list(self._paced):
            task.cancel()

    # -- within ------------------------------------------------------------------------------------------------------

    async def _tails_of(self, asked: Iterable[comet_pb2.BroadcastRoomReq]) -> dict[str, Position]:
        """Look once where the logs of all rooms end that get something new; no room is there if Redis does not say."""
        rooms = self._hub.rooms
        ahead = {
            one.room_id
            for one in asked
            if (room := rooms.get(one.room_id)) is not None
            and any(proto.first_seq and not _has(room, proto) for proto in _protos(one))
        }
        if not ahead:
            return {}
        try:
            return dict(zip(ahead, await self._hub.store.tails([*ahead]), strict=True))
        except REDIS_FAULTS as e:
            log.warning("Pushes wait for Redis", rooms=len(ahead), error=reason_of(e))
            return {}

    async def _broadcast_room(self, room_id: str, protos: Iterable[Proto], tail: Position | None) -> bool:
        """Bring pushes to a room whose log ends there; False if one was refused.

        Raises Unavailable, also where the end is needed and not known, or what redis raises.
        """
        room = self._hub.rooms.get(room_id)
        if room is None:  # nobody is here any more
            return True
        settled = True
        for proto in protos:
            if not proto.first_seq:
                if self._is_new(proto.id, room_id):
                    self._hub.deliver_raw(room_id, proto.body)
                continue
            metrics.DELIVERY_PUSH.observe(_age_s(proto.body))
            if _has(room, proto):  # the usual case, in which nothing needs to be looked into
                metrics.DELIVERIES["push", DUPLICATE].inc(max(1, proto.count))
                continue
            if tail is None:
                raise Unavailable("it is not known where the room's log ends")
            burst = _burst(room, proto)
            if burst is None or (burst.epoch, burst.last_seq) > (tail.epoch, tail.seq):
                settled = False  # nobody's messages: the log is the truth
            elif self._hub.deliver(room_id, burst, "push") == HELD and room.live:
                await self._hub.repair(room)
        return settled

    def _is_new(self, push_id: str, target: str) -> bool:
        """Whether this id did not come before; without one there is nothing to go by."""
        if not push_id:
            return True
        key = hashlib.blake2b(f"{target}\n{push_id}".encode(), digest_size=16).digest()  # ids may be of any length
        if key in self._seen:
            metrics.REPEATED_PUSHES.inc()
            return False
        self._seen[key] = None
        if len(self._seen) > SEEN_IDS:
            self._seen.popitem(last=False)
        return True

    async def _broadcast(self, data: bytes, speed: int) -> None:
        sessions = [session for found in self._membership.sessions.values() for session in found]
        step = max(1, int(speed * SPEED_STEP_S)) if speed else 64
        for i in range(0, len(sessions), step):
            for session in sessions[i : i + step]:
                session.write(data)
            await asyncio.sleep(step / speed if speed else 0)


def _protos(request: comet_pb2.BroadcastRoomReq) -> Iterator[Proto]:
    if request.HasField("proto"):
        yield request.proto
    yield from request.batch


async def _need_proto(
    request: comet_pb2.PushMsgReq | comet_pb2.BroadcastReq | comet_pb2.BroadcastRoomReq, context: _Context
) -> None:
    if not request.HasField("proto"):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "proto is missing: it holds the body to deliver")


async def _need_raw(request: comet_pb2.PushMsgReq | comet_pb2.BroadcastReq, context: _Context) -> None:
    """Refuse a call that has no body, or one that may not be pushed."""
    await _need_proto(request, context)
    try:
        raw_push.check_text(request.proto.body)
    except BadRequest as fault:
        await context.abort(grpc.StatusCode[fault.grpc_status], fault.message)


def _check_push(request: comet_pb2.BroadcastRoomReq) -> None:
    """Raise BadRequest for a room id that is illegal, or a raw body that may not be pushed, before any is delivered.

    What is stored may stand under an id that is illegal now.
    """
    stored = any(proto.first_seq for proto in _protos(request))
    (ids.stored_room_id if stored else ids.room_id)(request.room_id, "room_id")
    for proto in _protos(request):
        if not proto.first_seq:
            raw_push.check_text(proto.body)


def _has(room: Room, proto: Proto) -> bool:
    """Whether the room has a push's messages already, from PubSub."""
    return room.live and proto.epoch <= room.epoch and proto.first_seq + max(1, proto.count) - 1 <= room.last


def _burst(room: Room, proto: Proto) -> Burst | None:
    """Return the messages of a positioned push; None if they can't be read or have other positions."""
    try:
        messages = messages_of(proto.body, proto.first_seq)
    except BadRequest as fault:
        log.warning("A push could not be read", room=room.id, error=fault.message)
        return None
    return Burst(proto.epoch, proto.first_seq, len(split(messages)), messages)


def _age_s(body: str) -> float:
    """Return how long ago the first message of a serverMessages frame was appended."""
    return age_s(body[body.find(_FIRST_ID) + len(_FIRST_ID) :][:MS_DIGITS])


class PushServer:
    """The gRPC server around the service, with reflection (so that grpcurl needs no .proto) and health."""

    def __init__(self, service: PushService, host: str, port: int) -> None:
        self._service = service
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host = host
        self._port = port
        self._server: aio.Server | None = None
        self._health = health.aio.HealthServicer()

    async def start(self) -> None:
        """Serve; raise StartupError naming the setting if the port is taken."""
        self._server = aio.server(options=_OPTIONS)
        comet_pb2_grpc.add_CometServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        name = comet_pb2.DESCRIPTOR.services_by_name["Comet"].full_name
        reflection.enable_server_reflection((name, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        lifecycle.listen(self._host, self._port, "grpc_port (COMET_GRPC_PORT)").close()  # grpc's own words are many
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as e:
            raise StartupError(f"port {self._port} can't be opened for gRPC ({e}): see grpc_port") from None
        await self._server.start()
        await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Finish calls in flight for so long, then stop."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._service.drain()
            await self._server.stop(grace_s)
