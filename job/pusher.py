"""Hop 8 of 9: the pusher, one for each node; from job/dispatcher.py, to job/node_queue.py and job/comet_client.py.

Owns what waits for one node. One call is in flight; what comes meanwhile is merged into the next, so that a busy node
gets few large calls and an idle one each record at once. A room's records keep their order, also over retries.

When full: the bound is what the partitions have in flight (job/progress.py), and a full partition is not fetched from.
When the node fails: the same records are tried again until the push deadline, then all that wait are abandoned and
counted, and the node is suspected: what comes next gets one short try, until one succeeds. When the same record comes
twice: it is pushed twice, and Comet drops it by its position or id.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final, Protocol

from common import logs
from common.backoff import Backoff
from common.errors import ChatError, Internal, Overloaded
from job.merge import merge
from job.metrics import MERGED
from job.node_queue import NodeQueue, Unsettled
from job.record import ABANDONED, PUSHED, REFUSED, PendingRecord
from job.singles import Single, Singles
from protos.comet_pb2 import BroadcastReq, BroadcastRoomReply, BroadcastRoomReq, PushMsgReq

# Between the starts of two merged calls: one costs Job and Comet 0.6 ms of CPU together, however little it carries.
PACE_PER_RECORD_S: Final = 0.001
LONGEST_PACE_S: Final = 0.004
CALL_TIMEOUT_S: Final = 1.5
PROBE_TIMEOUT_S: Final = 0.5  # for a suspected node
LEAST_TIMEOUT_S: Final = 0.2
HURRY_S: Final = 1.0  # a node that failed for so long is suspected early when others have to wait for it
MOST_MESSAGES: Final = 1000  # in one call; halved whenever it fails, doubled when it succeeds
LEAST_MESSAGES: Final = 16  # not halved below for slowness
SINGLES: Final = 16  # users' and everybody's pushes between two merged calls

log = logs.get()


class NodeClient(Protocol):
    """A node's calls, see job/comet_client.py; each raises a ChatError."""

    async def broadcast_room(self, request: BroadcastRoomReq, timeout_s: float) -> BroadcastRoomReply:
        """Push to rooms."""

    async def push_msg(self, request: PushMsgReq, timeout_s: float) -> None:
        """Push to users."""

    async def broadcast(self, request: BroadcastReq, timeout_s: float) -> None:
        """Push to everybody."""

    async def close(self) -> None:
        """End the connection."""


class Pusher:
    """What goes to one node."""

    def __init__(self, name: str, node: NodeClient, deadline_s: float) -> None:
        self.name = name
        self.suspected = False  # it used up a deadline and has not answered since
        self._node = node
        self._deadline_s = deadline_s
        self._queue = NodeQueue(deadline_s)
        self._singles = Singles(deadline_s)
        self._arrived = asyncio.Event()
        self._most = MOST_MESSAGES  # in one call now
        self._failing_since: float | None = None
        self._backoff = Backoff(0.05, 0.5)
        self._gone = False  # nobody pushes any more

    @property
    def waiting(self) -> int:
        """How many pushes wait."""
        return self._queue.waiting + len(self._singles.waiting)

    def push_room(self, record: PendingRecord) -> None:
        """Push a record to its room; settled once."""
        if self._gone:
            record.settle(ABANDONED)
            return
        self._queue.put(record)
        self._arrived.set()

    def push_single(self, record: PendingRecord, keys: list[str]) -> None:
        """Push a record to users of this node, or (no keys) to everybody on it; settled once."""
        if self._gone:
            record.settle(ABANDONED)
            return
        self._singles.waiting.append(Single(record, keys))
        self._arrived.set()

    def relieve(self) -> None:
        """Hear that somebody waits for records to finish: if it is this node that fails, it is given up sooner."""
        if self._failing_since is not None and time.monotonic() - self._failing_since > HURRY_S:
            self.suspected = True

    async def run(self) -> None:
        """Push until cancelled; what waits then is abandoned: the node left, or we do."""
        try:
            while True:
                await self._work()
                started = time.monotonic()
                pushed = await self._push_rooms(started)
                await self._push_singles()
                pace_s = min(LONGEST_PACE_S, PACE_PER_RECORD_S * pushed)
                if (pause_s := started + pace_s - time.monotonic()) > 0:
                    await asyncio.sleep(pause_s)
        finally:
            self._gone = True
            self._give_up("it left")
            await self._node.close()

    async def _work(self) -> None:
        """Wait until there is something to push."""
        while True:
            now = time.monotonic()
            self._queue.release(now)
            if self._queue.waiting or self._singles.ready(now):
                return
            self._arrived.clear()
            ready_at = [self._queue.next_ready(), self._singles.ready_at if self._singles.waiting else None]
            soonest = min((at for at in ready_at if at is not None), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if soonest is None else soonest - now):
                    await self._arrived.wait()

    # -- rooms -------------------------------------------------------------------------------------------------------

    async def _push_rooms(self, now: float) -> int:
        """Make one call; return how many records it was for."""
        batch = self._queue.take(self._most)
        if not batch:
            return 0
        try:
            reply = await self._node.broadcast_room(merge(batch), self._timeout_s(now))
        except ChatError as e:
            await self._rooms_failed(batch, e, now)
        else:
            MERGED.observe(len(batch))
            self._answered()
            self._most = min(MOST_MESSAGES, self._most * 2)
            self._settle(reply, len(batch))
        return len(batch)

    def _settle(self, reply: BroadcastRoomReply, messages: int) -> None:
        outcome = self._queue.settle(reply.retry_rooms, reply.refused_rooms, time.monotonic())
        log.info("BroadcastRoom success", node=self.name, messages=messages)
        if reply.refused_rooms:
            log.warning("Comet refused rooms", node=self.name, rooms=list(reply.refused_rooms)[:10])
        if outcome.unclear:
            self._most = max(1, messages // 2)
        self._tell_late(outcome)

    async def _rooms_failed(self, batch: list[PendingRecord], error: ChatError, started: float) -> None:
        if error.retriable:
            self._queue.put_back()
            self._most = min(self._most, max(LEAST_MESSAGES, self._most // 2))
            await self._failed(error, started)
            return
        self._answered()
        if len(batch) > 1:
            # Smaller calls find the one that is to blame; the others pass.
            self._queue.put_back()
            self._most = len(batch) // 2
        elif isinstance(error, Internal):
            self._tell_late(self._queue.settle([batch[0].room], [], time.monotonic()))
        else:
            for record in self._queue.give_up():
                self._refuse(record, error)

    def _tell_late(self, outcome: Unsettled) -> None:
        if outcome.late:
            records = len(outcome.late)
            log.warning("Pushes abandoned", node=self.name, records=records, why="their rooms could not be settled")

    # -- users, everybody --------------------------------------------------------------------------------------------

    async def _push_singles(self) -> None:
        for _ in range(SINGLES):
            started = time.monotonic()
            if not self._singles.ready(started):
                return
            single = self._singles.waiting[0]
            try:
                await self._push_single(single.record, single.keys, self._timeout_s(started))
            except ChatError as e:
                if not await self._single_failed(e, started):
                    return
            else:
                self._answered()
                self._singles.done().settle(PUSHED)

    async def _push_single(self, record: PendingRecord, keys: list[str], timeout_s: float) -> None:
        if keys:
            request = PushMsgReq(keys=keys, proto=record.proto, proto_op=record.operation)
            await self._node.push_msg(request, timeout_s)
        else:
            everybody = BroadcastReq(proto_op=record.operation, proto=record.proto, speed=record.speed)
            await self._node.broadcast(everybody, timeout_s)

    async def _single_failed(self, error: ChatError, started: float) -> bool:
        """Return whether the next may be tried at once."""
        if error.retriable and not isinstance(error, Overloaded):
            await self._failed(error, started)
            return False
        self._answered()
        if not error.retriable:
            self._refuse(self._singles.done(), error)
            return True
        if self._singles.put_off(time.monotonic()):
            return False
        self._singles.done().settle(ABANDONED)
        log.warning("Pushes abandoned", node=self.name, records=1, why=error.message)
        return True

    # -- what becomes of the node ------------------------------------------------------------------------------------

    def _timeout_s(self, now: float) -> float:
        if self.suspected:
            return PROBE_TIMEOUT_S
        since = now if self._failing_since is None else self._failing_since
        return min(CALL_TIMEOUT_S, max(LEAST_TIMEOUT_S, since + self._deadline_s - now))

    def _answered(self) -> None:
        """Note that the node answered, whatever it said."""
        if self.suspected:
            log.info("Node answers again", node=self.name)
        self.suspected = False
        self._failing_since = None
        self._backoff.reset()

    async def _failed(self, error: ChatError, started: float) -> None:
        """Wait before the next try; past the deadline, abandon all that waits."""
        if self._failing_since is None:
            self._failing_since = started
        if self.suspected or time.monotonic() - self._failing_since >= self._deadline_s:
            self.suspected = True
            self._give_up(error.message)
        await self._backoff.wait()

    def _give_up(self, why: str) -> None:
        dropped = [*self._queue.drop(), *self._singles.drop()]
        for record in dropped:
            record.settle(ABANDONED)
        if dropped:
            log.warning("Pushes abandoned", node=self.name, records=len(dropped), why=why)

    def _refuse(self, record: PendingRecord, error: ChatError) -> None:
        record.settle(REFUSED)
        log.warning("Comet refused a push for good", node=self.name, room=record.room, why=error.message)
