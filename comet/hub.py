"""Hop 4 of 9: the hub, all rooms of this node; from comet/pubsub.py (and push_service.py), to comet/room.py.

`deliver` is the only door through which a room's messages reach clients, whichever path brought them: in seq order,
each once. A hole is read from the stream; one that can't be filled is told to everybody in the room.

Every CHECK_S one pipeline compares where this node stands with the tails of all its rooms, so that even a last message
that no path brought shows. When Redis is away: rooms stay, joins are refused, and the check resumes with it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final, TypeVar

from comet import frames, metrics
from comet.outbound import Outbound
from comet.pubsub import PubSub
from comet.room import DELIVERED, DROPPED, HELD, Member, Room
from common import logs
from common.envelope import Burst
from common.errors import Unavailable, reason_of
from common.positions import Log, Position
from common.redis_client import REDIS_FAULTS
from common.store import PAGE_BYTES, Read, Store

CHECK_S: Final = 2.0
SETTLE_S: Final = 0.1  # a message on its way over PubSub is given so long before the check reads it from the stream
CHECK_ROOMS: Final = 1000  # rooms compared in one pipeline
REPAIR_MESSAGES: Final = 1000  # read at once
IDLE_READS: Final = 10  # in a row that brought a room no further: then it waits for the next check
ID_AT: Final = len('{"id":"')  # where a message's id begins
MS_DIGITS: Final = 13  # of its ms part, until the year 2286

log = logs.get()
_T = TypeVar("_T")


class Hub:
    """Rooms, and what reaches them."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a part of its own
        self,
        rooms: dict[str, Room],
        store: Store,
        pubsub: PubSub,
        outbound: Outbound,
        room_changed: Callable[[Room], None],
        history: int,
    ) -> None:
        self.rooms = rooms  # by id; membership and presence read it
        self.store = store
        self._pubsub = pubsub
        self._outbound = outbound
        self._room_changed = room_changed  # tells the registry's writer
        self._history = history  # messages for a new room's ring
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._repairing: dict[Room, asyncio.Task[bool]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._check_now = asyncio.Event()

    async def run(self) -> None:
        """Check all rooms for lost messages, forever; own the tasks that start and repair rooms."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await self._check_now.wait()
                self._check_now.clear()
                try:
                    await self.check()
                except REDIS_FAULTS as e:
                    log.warning("The check of the rooms' tails failed", error=reason_of(e))

    def check_soon(self) -> None:
        """Check at once: PubSub was away, and whatever it carried meanwhile is missing."""
        self._check_now.set()

    # -- delivery ----------------------------------------------------------------------------------------------------

    def on_pubsub(self, room_id: str, burst: Burst) -> None:
        """Take what PubSub brought."""
        metrics.DELIVERY_PUBSUB.observe(age_s(burst.messages[ID_AT : ID_AT + MS_DIGITS]))
        self.deliver(room_id, burst, "pubsub")

    def deliver(self, room_id: str, burst: Burst, path: str) -> str:
        """Bring messages to a room of this node, once and in order; return what became of them."""
        room = self.rooms.get(room_id)
        if room is None:  # the last member left meanwhile
            return DELIVERED
        result = room.offer(burst, path)
        if result == DELIVERED:
            self._outbound.schedule(room)
        elif result == HELD and room.live:
            self._start_repair(room)
        elif result == DROPPED:
            metrics.HELD_DROPPED.inc(burst.count)
            if room.live:
                self._start_repair(room)
            return HELD
        metrics.DELIVERIES[path, result].inc(burst.count)
        if room.released:
            _count_released(room)
        return result

    def deliver_raw(self, room_id: str, text: str) -> None:
        """Bring a text that is no part of the room's log to everybody in it."""
        room = self.rooms.get(room_id)
        if room is not None and room.live:
            room.push_raw(text.encode())
            self._outbound.schedule(room)

    # -- joining and leaving -----------------------------------------------------------------------------------------

    async def enter(self, room_id: str) -> Room:
        """Return the room, live and kept alive until `exit` (its `joining` is counted up). Raises Unavailable."""
        room = self.rooms.get(room_id)
        if room is None:
            room = self.rooms[room_id] = Room(room_id)
        room.joining += 1
        try:
            if not room.live:
                await self._started(room)
        except BaseException:
            self.exit(room)
            raise
        return room

    def exit(self, room: Room) -> None:
        """Let go of a room got from `enter`; it ends here if nobody is in it."""
        room.joining -= 1
        self._end_if_empty(room)

    def leave(self, room: Room, member: Member) -> None:
        """Let a session go."""
        room.remove(member)
        self._room_changed(room)
        self._end_if_empty(room)

    def add(self, room: Room, member: Member) -> None:
        """Let a session in at the room's present position; what waits to be sent doesn't reach it any more."""
        room.add(member)
        self._room_changed(room)

    def _end_if_empty(self, room: Room) -> None:
        if not room.members and not room.joining and self.rooms.get(room.id) is room:
            del self.rooms[room.id]
            self._pubsub.unsubscribe(room.id)
            self._room_changed(room)

    async def _started(self, room: Room) -> None:
        task = self._starting.get(room.id)
        if task is None:
            task = self._spawn(self._start(room))
            self._starting[room.id] = task
            task.add_done_callback(lambda _: self._starting.pop(room.id, None))
        await asyncio.shield(task)
        if not room.live:
            raise Unavailable("Redis is away; try again later")

    async def _start(self, room: Room) -> None:
        """Subscribe, then read where the log ends: nothing can slip between the two."""
        with suppress(Unavailable):  # PubSub is a hint: pushes and the check of the tails carry on without it
            await self._pubsub.subscribe(room.id)
        try:
            read = await self.store.read(room.id, 0, self._history)
        except REDIS_FAULTS as e:
            log.warning("A room could not be started", room=room.id, error=reason_of(e))
            return
        room.start(read.log.position, read.bursts())
        _count_released(room)
        if room.held:
            self._start_repair(room)
        self._outbound.schedule(room)

    # -- repair ------------------------------------------------------------------------------------------------------

    async def repair(self, room: Room) -> None:
        """Read from the stream what is missing behind the room's position. Raises Unavailable if Redis is away."""
        done = await asyncio.shield(self._start_repair(room))
        if done and room.held and self.rooms.get(room.id) is room:  # what came while the stream was being read
            done = await asyncio.shield(self._start_repair(room))
        if not done:
            raise Unavailable("Redis is away; try again later")

    async def check(self) -> None:
        """Compare all rooms with the tails of their logs; repair those that stayed behind, or whose log lost its tail.

        The latter's members have seen what is gone, and are told without waiting for the next message.
        """
        live = [room for room in self.rooms.values() if room.live]
        unlike: list[tuple[Room, Position, Position]] = []
        for i in range(0, len(live), CHECK_ROOMS):
            part = live[i : i + CHECK_ROOMS]
            stood = [room.position for room in part]
            tails = await self.store.tails([room.id for room in part])
            unlike += filter(_differ, zip(part, stood, tails, strict=True))
        if unlike:
            await asyncio.sleep(SETTLE_S)
        for room, stood_at, tail in unlike:
            if (room.position < tail or tail < stood_at) and self.rooms.get(room.id) is room:
                self._start_repair(room)

    def _start_repair(self, room: Room) -> asyncio.Task[bool]:
        task = self._repairing.get(room)
        if task is None:
            task = self._spawn(self._repair(room))
            self._repairing[room] = task
            task.add_done_callback(lambda _: self._repairing.pop(room, None))
        return task

    async def _repair(self, room: Room) -> bool:
        """Read from the stream until the room stands at its tail; whether Redis answered."""
        idle = 0
        try:
            while self.rooms.get(room.id) is room and idle < IDLE_READS:
                before = room.position
                read = await self.store.read(room.id, before.seq + 1, REPAIR_MESSAGES, PAGE_BYTES)
                if read.log.position <= before:
                    break  # ahead of the log as it was read, or level with it
                if read.log.recovers(before):
                    self._fill(room, read)
                elif room.position == before:  # else the other path brought something meanwhile: look again
                    await self._tell_hole(room, read.log)
                if read.log.position <= room.position:
                    break
                idle = idle + 1 if room.position == before else 0
        except REDIS_FAULTS as e:
            log.warning("A hole could not be read", room=room.id, error=reason_of(e))
            return False
        return True

    def _fill(self, room: Room, read: Read) -> None:
        for burst in read.bursts():
            if burst.epoch > room.epoch and burst.first_seq == room.last + 1 and read.log.recovers(room.position):
                room.enter_epoch(burst.epoch)
            last = room.last
            if room.offer(burst, "pubsub") == DELIVERED:
                metrics.REPAIRED.inc(max(0, burst.last_seq - last))
        if room.epoch < read.log.epoch and room.last == read.log.tail and read.log.recovers(room.position):
            room.enter_epoch(read.log.epoch)  # Redis restarted and nobody sent since
        _count_released(room)
        self._outbound.schedule(room)

    async def _tell_hole(self, room: Room, seen: Log) -> None:
        """Say that messages are gone, and go on from the first that is not; what is of later epochs is read next."""
        stood = room.position
        begin = _resumes_at(seen, stood)
        read = await self.store.read(room.id, begin, REPAIR_MESSAGES, PAGE_BYTES)
        if room.position != stood or _resumes_at(read.log, stood) != begin:
            return  # something changed meanwhile: look again
        bursts = read.bursts()[:1]
        position = Position(bursts[0].epoch, bursts[0].last_seq) if bursts else read.log.position
        log.warning("A hole can't be filled", room=room.id, last=room.last, epoch=room.epoch, goes_on_at=begin)
        metrics.TOLD_HOLES.inc()
        shown = bursts[0].messages if bursts else b""
        tail = read.log.position
        room.push_raw(frames.joined(room.id_json, position, shown, len(room.users), tail=tail, recovered=False))
        room.start(position, bursts)
        _count_released(room)
        self._outbound.schedule(room)

    def _spawn(self, work: Coroutine[None, None, _T]) -> asyncio.Task[_T]:
        if self._tasks is None:
            work.close()
            raise Unavailable("the node is not running")
        return self._tasks.create_task(work)


def _differ(found: tuple[Room, Position, Position]) -> bool:
    """Whether a room is behind its log's tail, or that is behind where the room stood before it was asked for.

    A log that is gone altogether says nothing: it expires when nobody sends for long, and who is in the room stays.
    """
    room, stood, tail = found
    return room.position < tail or Position(0, 0) < tail < stood


def _resumes_at(log: Log, stood: Position) -> int:
    """Return the first seq that the log still has to give to whoever stands where it can't be recovered from."""
    following = [first for epoch, first in log.epochs if epoch > stood.epoch]
    return max(log.first, min([stood.seq + 1, *following]))


def _count_released(room: Room) -> None:
    for path, count in room.released:
        metrics.DELIVERIES[path, DELIVERED].inc(count)
    room.released.clear()


def age_s(stamp: bytes | str) -> float:
    """Return how long ago a message was appended, by the ms digits of its id and this machine's clock; 0 if none."""
    return max(0.0, time.time() - int(stamp) / 1000) if stamp.isdigit() else 0.0
