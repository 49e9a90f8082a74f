"""A Comet for Job's tests: a real grpc.aio server that notes what is pushed, and does as the test tells it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from common import registry
from protos.comet_pb2 import (
    BroadcastReply,
    BroadcastReq,
    BroadcastRoomReply,
    BroadcastRoomReq,
    PushMsgReply,
    PushMsgReq,
    RoomsReply,
    RoomsReq,
)
from protos.comet_pb2_grpc import CometServicer, add_CometServicer_to_server
from protos.protocol_pb2 import Proto
from testbed.ports import free_port

Context = Any


@dataclass
class Comet(CometServicer):
    """One node; `async with` serves it."""

    incarnation: str
    port: int = field(default_factory=free_port)
    rooms: list[tuple[str, Proto]] = field(default_factory=list)  # in the order in which they came
    users: list[PushMsgReq] = field(default_factory=list)
    everyone: list[BroadcastReq] = field(default_factory=list)
    calls: int = 0  # of BroadcastRoom
    delay_s: float = 0.0
    # What a BroadcastRoom call does after it is noted: may raise, wait, or return the reply.
    answer: Callable[[BroadcastRoomReq], BroadcastRoomReply] = lambda _: BroadcastRoomReply()
    stuck: asyncio.Event = field(default_factory=asyncio.Event)  # set: calls are never answered
    _called: asyncio.Event = field(default_factory=asyncio.Event)
    _noted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"127.0.0.1:{self.port}"

    @property
    def node(self) -> registry.Node:
        """What it would register."""
        return registry.Node(self.incarnation, self.address)

    def bodies(self, room: str) -> list[str]:
        """What the room got, in order."""
        return [proto.body for name, proto in self.rooms if name == room]

    async def until(self, true: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Wait until it is true, looking whenever something is pushed."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true():
                    self._noted.clear()
                    await self._noted.wait()
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; pushed: {self.rooms} {self.users}"[:2000]) from None

    async def until_called(self) -> None:
        """Wait for a BroadcastRoom call, answered or not."""
        async with asyncio.timeout(20):
            await self._called.wait()

    async def BroadcastRoom(self, request: BroadcastRoomReq, _context: Context) -> BroadcastRoomReply:  # noqa: N802 - gRPC's name
        """Note what came, then do as told."""
        self.calls += 1
        self._called.set()
        if self.stuck.is_set():
            await asyncio.sleep(60)
        await asyncio.sleep(self.delay_s)
        reply = self.answer(request)
        for one in (request, *request.more):
            if one.room_id not in (*reply.retry_rooms, *reply.refused_rooms):
                self.rooms += [(one.room_id, proto) for proto in (one.proto, *one.batch)]
        self._noted.set()
        return reply

    async def PushMsg(self, request: PushMsgReq, _context: Context) -> PushMsgReply:  # noqa: N802 - gRPC's name
        """Note it."""
        self.users.append(request)
        self._noted.set()
        return PushMsgReply()

    async def Broadcast(self, request: BroadcastReq, _context: Context) -> BroadcastReply:  # noqa: N802 - gRPC's name
        """Note it."""
        self.everyone.append(request)
        self._noted.set()
        return BroadcastReply()

    async def Rooms(self, _request: RoomsReq, _context: Context) -> RoomsReply:  # noqa: N802 - gRPC's name
        """Nobody asks."""
        return RoomsReply()

    async def __aenter__(self) -> Self:
        """Serve."""
        self._server = grpc.aio.server()
        add_CometServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop at once."""
        await self._server.stop(0)


class HalfOpen:
    """A way to a node whose connections of a moment can be made deaf: nothing passes any more, and nothing is closed.

    What connects afterwards gets through, as when a firewall forgot the old connections.
    """

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.connected = 0
        self._target_port = int(target.rpartition(":")[2])
        self._deaf = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def deafen(self) -> None:
        """Make all connections that there are deaf."""
        self._deaf.set()
        self._deaf = asyncio.Event()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers += [writer, there_writer]
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(_carry(source, sink, self._deaf))
            self._tasks.add(task)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._link, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
    while chunk := await source.read(65_536):
        if deaf.is_set():
            continue
        sink.write(chunk)
        await sink.drain()
    if not deaf.is_set():
        sink.close()
