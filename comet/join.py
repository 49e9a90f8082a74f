"""Joining a room: exactly what was missed, then live, with no hole and no repeat however messages race with it.

While a session joins it is no member: nothing of the room reaches it. What lies behind its position is read from the
stream, piece by piece, until the room's ring covers the rest; the last piece is cut from the ring and the session made
a member in the same step of the loop, so nothing can fall between.
"""

from typing import Final, Protocol

from comet import frames
from comet.config import Settings
from comet.hub import Hub
from comet.presence import Presences
from comet.room import Member, Room
from common import envelope
from common.errors import Unavailable
from common.positions import Position
from common.store import PAGE_BYTES, Read, newest

ROUNDS: Final = 1000  # pieces of a recovery, or looks at a room that is behind the log


class Joiner(Member, Protocol):
    """A session, as far as joining cares."""

    rooms: dict[str, Room]

    @property
    def ended(self) -> bool:
        """Whether the connection is gone."""

    def send(self, text: bytes) -> None:
        """Send one frame."""

    async def drained(self) -> None:
        """Return once the client has taken most of what it was sent."""


class Join:
    """One session's way into one room."""

    def __init__(self, hub: Hub, presences: Presences, session: Joiner, room_id: str, settings: Settings) -> None:
        self._hub = hub
        self._presences = presences
        self._session = session
        self._room_id = room_id
        self._join_messages = settings.join_messages
        self._recovery_limit = settings.recovery_limit

    async def fresh(self, *, without_messages: bool = False) -> bytes:
        """Join without a position and return the room's part of a hello. Raises Unavailable."""
        if without_messages:
            self._join_messages = 0
        room = await self._hub.enter(self._room_id)
        try:
            position, messages, more = await self._newest(room)
            self._let_in(room)
            return frames.hello_room(room.id_json, position, messages, more=more)
        finally:
            self._hub.exit(room)

    async def resume(self, since: Position | None) -> None:
        """Join from a position on (None: anew) and send `joined`, and what did not fit into it. Raises Unavailable."""
        room = await self._hub.enter(self._room_id)
        try:
            if since is None or not await self._recover(room, since):
                online = await self._presences.online(room, self._session.user)
                position, messages, _ = await self._newest(room)
                self._let_in(room)
                recovered = since is None  # who has no position misses nothing
                self._session.send(frames.joined(room.id_json, position, messages, online, recovered=recovered))
        finally:
            self._hub.exit(room)

    def _let_in(self, room: Room) -> None:
        if not self._session.ended:
            self._hub.add(room, self._session)
            self._session.rooms[room.id] = room

    async def _newest(self, room: Room) -> tuple[Position, bytes, bool]:
        """Return the room's position, its newest messages and whether there are older ones, all of one moment."""
        for _ in range(ROUNDS):
            begin = max(1, room.last - self._join_messages + 1)
            if room.covers(begin):
                return room.position, room.cut(begin), begin > 1
            stood = room.position
            read = await self._hub.store.read(room.id, begin, self._join_messages)
            read = Read(read.log, newest(read.entries, PAGE_BYTES))
            if _lost_its_tail(read, stood):
                return room.position, room.cut(begin), True
            if read.log.position == room.position:
                more = bool(read.entries) and read.entries[0].seq > read.log.first
                return room.position, read.messages, more
            if _is_ahead(read, room):
                await self._hub.repair(room)
            elif room.covers(read.log.tail + 1):
                messages = b",".join(filter(None, (read.messages, room.cut(read.log.tail + 1))))
                return room.position, messages, begin > 1
        raise Unavailable("the room moves too fast to join; try again")

    async def _recover(self, room: Room, since: Position) -> bool:
        """Send everything behind `since` and let the session in; False (nothing sent) if that can't be done."""
        online = await self._presences.online(room, self._session.user)
        at, sent = since, False
        for _ in range(ROUNDS):
            if at.epoch == room.epoch and at.seq <= room.last and room.covers(at.seq + 1):
                self._let_in(room)
                self._send(room, room.position, room.cut(at.seq + 1), online, first=not sent)
                return True
            stood = room.position
            read = await self._hub.store.read(room.id, at.seq + 1, self._recovery_limit, PAGE_BYTES)
            if not read.log.recovers(at) or _lost_its_tail(read, stood):
                if sent:  # trimmed or lost while it was being read: the client resumes, and is told then
                    raise Unavailable("part of the room's history is gone meanwhile; join again")
                return False
            if read.entries:
                last = read.entries[-1]
                at = Position(last.epoch, last.seq)
                self._send(room, at, read.messages, online, first=not sent)
                sent = True
                await self._session.drained()
            else:
                at = Position(read.log.epoch, at.seq)
            if _is_ahead(read, room):
                await self._hub.repair(room)
        raise Unavailable("the room moves too fast to join; try again")

    def _send(self, room: Room, at: Position, messages: bytes, online: int, *, first: bool) -> None:
        if first:
            self._session.send(frames.joined(room.id_json, at, messages, online, recovered=True))
        elif messages:
            self._session.send(envelope.frame(room.id_json, at.epoch, messages))


def _lost_its_tail(read: Read, stood: Position) -> bool:
    """Whether the log ends before where the room stood when it was read: Redis lost it, or the room expired there."""
    return (read.log.epoch, read.log.tail) < (stood.epoch, stood.seq)


def _is_ahead(read: Read, room: Room) -> bool:
    return (read.log.epoch, read.log.tail) > (room.epoch, room.last)
