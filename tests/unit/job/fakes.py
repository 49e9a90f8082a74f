"""Stand-ins for what surrounds a part of Job."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import ChatError
from job.record import PendingRecord
from protos.comet_pb2 import BroadcastReq, BroadcastRoomReply, BroadcastRoomReq, PushMsgReq
from protos.job_pb2 import PushMsg
from tests.support.eventually import until_set


@dataclass
class FakeRecord:
    """A record as it comes from Kafka."""

    value: bytes | None
    offset: int = 0
    key: bytes | None = None
    topic: str = "t"
    partition: int = 0
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


def source(offset: int = 0, partition: int = 0, **fields: Any) -> FakeRecord:
    """Return a record with this PushMsg."""
    return FakeRecord(PushMsg(**fields).SerializeToString(), offset, partition=partition)


class Finished(list[PendingRecord]):
    """Records as they finish, and a way to wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = asyncio.Event()

    def __call__(self, record: PendingRecord) -> None:
        """Take note of one."""
        self.append(record)
        self._moved.set()

    async def until(self, count: int, timeout_s: float = 5.0) -> None:
        """Wait until so many have finished."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self) < count:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {count} records finished, but {len(self)} did") from None

    @property
    def results(self) -> list[int]:
        """What became of them."""
        return [record.result for record in self]

    @property
    def offsets(self) -> list[int]:
        """Which they are."""
        return [record.offset for record in self]


def room_record(
    finished: Callable[[PendingRecord], None], room: str = "r", offset: int = 0, size_bytes: int = 10
) -> PendingRecord:
    """Return a decoded ROOM record, given to one node."""
    record = PendingRecord(offset, 0, size_bytes, finished)
    record.decode(source(offset, type=PushMsg.ROOM, operation=4, room=room, msg=b"%d" % offset, first_seq=offset + 1))
    return record


def single_record(finished: Callable[[PendingRecord], None], offset: int = 0, **fields: Any) -> PendingRecord:
    """Return a decoded PUSH or BROADCAST record, given to one node."""
    record = PendingRecord(offset, 0, 10, finished)
    record.decode(source(offset, operation=5, **{"msg": b"%d" % offset, **fields}))
    return record


def bodies(request: BroadcastRoomReq) -> list[str]:
    """Return what a call pushes, as room:body."""
    return [f"{one.room_id}:{proto.body}" for one in (request, *request.more) for proto in (one.proto, *one.batch)]


@dataclass
class FakeNode:
    """A Comet node: notes the calls and does as told."""

    calls: list[list[str]] = field(default_factory=list)
    users: list[PushMsgReq] = field(default_factory=list)
    everyone: list[BroadcastReq] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    faults: list[ChatError] = field(default_factory=list)  # raised by the next calls, one each
    fault: ChatError | None = None  # raised by every call
    poison: str = ""  # a call that pushes this body raises `fault`, no other does
    answer: Callable[[BroadcastRoomReq], BroadcastRoomReply] = lambda _: BroadcastRoomReply()
    free: asyncio.Event = field(default_factory=asyncio.Event)  # calls wait for it
    called: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False

    def __post_init__(self) -> None:
        """Calls don't wait unless the test clears it."""
        self.free.set()

    async def until_called(self) -> None:
        """Wait for the first call, answered or not."""
        await until_set(self.called, "the node was called")

    async def _answered(self, text: str, timeout_s: float) -> None:
        self.timeouts_s.append(timeout_s)
        self.called.set()
        await self.free.wait()
        if self.faults:
            raise self.faults.pop(0)
        if self.fault is not None and self.poison in text:
            raise self.fault

    async def broadcast_room(self, request: BroadcastRoomReq, timeout_s: float) -> BroadcastRoomReply:
        """Push to rooms."""
        self.calls.append(bodies(request))
        await self._answered(" ".join(self.calls[-1]), timeout_s)
        return self.answer(request)

    async def push_msg(self, request: PushMsgReq, timeout_s: float) -> None:
        """Push to users."""
        await self._answered(request.proto.body, timeout_s)
        self.users.append(request)

    async def broadcast(self, request: BroadcastReq, timeout_s: float) -> None:
        """Push to everybody."""
        await self._answered(request.proto.body, timeout_s)
        self.everyone.append(request)

    async def close(self) -> None:
        """End the connection."""
        self.closed = True
