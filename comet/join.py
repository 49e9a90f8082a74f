"""Joining a room: exactly what was missed, then live, with no hole and no repeat however messages race with it.

While a session joins it is no member: nothing of the room reaches it. What lies behind its position is read from the
stream, piece by piece, until the room's ring covers the rest; the last piece is cut from the ring and the session made
a member in the same step of the loop, so nothing can fall between.

A frame never mixes epochs: the messages of a `joined`, or of a room in a hello, are all of the epoch that it names, and
end at its seq; what follows them, of later epochs too, comes as serverMessages. Where `recovered` is false only the
newest of the present epoch are shown, for a position that is told never runs backwards.

Both frames also name the `tail`: the position of the room at the join, perhaps of a later epoch. Messages up to it are
older than the join, in whichever frame they come.

Once a `joined` is out the client takes itself to be in the room, so from then on Redis is asked until it answers.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, Protocol, TypeVar

from comet import frames
from comet.config import CometSettings
from comet.hub import Hub
from comet.presence import Presences
from comet.room import Member, Room
from common.backoff import Backoff
from common.envelope import Burst
from common.errors import Unavailable
from common.positions import Position
from common.redis_client import REDIS_FAULTS
from common.store import PAGE_BYTES, Read, newest

ROUNDS: Final = 1000  # looks at a room that moves on meanwhile

_T = TypeVar("_T")


class Joiner(Member, Protocol):
    """The part of a session that joining uses."""

    rooms: dict[str, Room]

    @property
    def ended(self) -> bool:
        """Whether the connection is gone."""

    def send(self, text: bytes) -> None:
        """Send one frame."""

    async def drained(self) -> None:
        """Return once the client has taken most of what it was sent."""


class Piece(NamedTuple):
    """Messages of one epoch (perhaps none), and the position of the last of them."""

    end: Position
    messages: bytes


class Join:
    """One session's way into one room."""

    def __init__(self, hub: Hub, presences: Presences, session: Joiner, room_id: str, settings: CometSettings) -> None:
        self._hub = hub
        self._presences = presences
        self._session = session
        self._room_id = room_id
        self._join_messages = settings.join_messages
        self._recovery_limit = settings.recovery_limit
        self._begun = False  # a `joined` is out

    async def fresh(self, *, without_messages: bool = False) -> bytes:
        """Join without a position and return the room's part of a hello; what doesn't belong into it is sent.

        That is for whoever keeps the session's frames back until the hello is out. Raises Unavailable.
        """
        if without_messages:
            self._join_messages = 0
        room = await self._hub.enter(self._room_id)
        try:
            (head, *rest), more = await self._newest(room)
            self._let_in(room)
            self._send(room, rest)
            return frames.hello_room(room.id_json, head.end, head.messages, tail=room.position, more=more)
        finally:
            self._hub.exit(room)

    async def resume(self, since: Position | None) -> None:
        """Join from a position on (None: anew) and send `joined`, and what did not fit into it. Raises Unavailable."""
        room = await self._hub.enter(self._room_id)
        try:
            online = await self._presences.online(room, self._session.user)
            if since is not None and await self._recover(room, since, online):
                return
            pieces, _ = await self._newest(room)
            self._let_in(room)
            if since is None:  # who has no position misses nothing
                self._send_joined(room, pieces, online, recovered=True)
            else:
                self._send_joined(room, pieces[-1:], online, recovered=False)
        finally:
            self._hub.exit(room)

    def _let_in(self, room: Room) -> None:
        if not self._session.ended:
            self._hub.add(room, self._session)
            self._session.rooms[room.id] = room

    async def _newest(self, room: Room) -> tuple[list[Piece], bool]:
        """Return the room's newest messages up to where it stands this moment, and whether there are older ones."""
        for _ in range(ROUNDS):
            begin = max(1, room.last - self._join_messages + 1)
            if room.covers(begin):
                return [Piece(room.position, room.cut(begin))], begin > 1
            stood = room.position
            read = await self._read(room, 0, self._join_messages)
            read = Read(read.log, newest(read.entries, PAGE_BYTES))
            if read.log.position < stood:  # Redis lost the room, or let it expire, and nobody sent since
                return [Piece(room.position, room.cut(begin))], True
            if room.position < read.log.position:
                await self._repair(room)
            elif room.epoch == read.log.epoch and room.covers(read.log.tail + 1):
                more = bool(read.entries) and read.entries[0].seq > read.log.first
                live = Piece(room.position, room.cut(read.log.tail + 1))
                return _merged([*map(_piece, read.bursts()), live]), more
        raise Unavailable("the room moves too fast to join; try again")

    async def _recover(self, room: Room, since: Position, online: int) -> bool:
        """Send everything behind `since` and let the session in; False if that can't be done, or only in part."""
        at, looks = since, 0
        while not self._session.ended:
            if at.epoch == room.epoch and at.seq <= room.last and room.covers(at.seq + 1):
                self._let_in(room)
                self._send_on(room, [Piece(room.position, room.cut(at.seq + 1))], online)
                break
            stood = room.position
            read = await self._read(room, at.seq + 1, self._recovery_limit)
            if not read.log.recovers(at) or read.log.position < stood:
                return False
            if read.entries:
                pieces = [_piece(burst) for burst in read.bursts()]
                at = pieces[-1].end
                self._send_on(room, pieces, online)
                await self._session.drained()
            else:
                at, looks = Position(read.log.epoch, at.seq), looks + 1
            if room.position < read.log.position:
                await self._repair(room)
            if looks > ROUNDS and not self._begun:
                raise Unavailable("the room moves too fast to join; try again")
        return True

    # -- asking Redis ------------------------------------------------------------------------------------------------

    async def _read(self, room: Room, from_seq: int, count: int) -> Read:
        most_bytes = PAGE_BYTES if from_seq else 0
        return await self._answered(lambda: self._hub.store.read(room.id, from_seq, count, most_bytes))

    async def _repair(self, room: Room) -> None:
        await self._answered(lambda: self._hub.repair(room))

    async def _answered(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask; once a `joined` is out, again and again, as long as the client is there."""
        backoff = Backoff()
        while True:
            try:
                return await ask()
            except (Unavailable, *REDIS_FAULTS):
                if not self._begun or self._session.ended:
                    raise
                await backoff.wait()

    # -- sending -----------------------------------------------------------------------------------------------------

    def _send_on(self, room: Room, pieces: list[Piece], online: int) -> None:
        """Send what was missed: the first piece of all in the `joined`."""
        if self._begun:
            self._send(room, pieces)
        else:
            self._send_joined(room, pieces, online, recovered=True)

    def _send_joined(self, room: Room, pieces: list[Piece], online: int, *, recovered: bool) -> None:
        self._begun = True
        head, *rest = pieces
        tail = max(room.position, pieces[-1].end)  # Redis may be ahead of the room during a recovery
        self._session.send(frames.joined(room.id_json, head.end, head.messages, online, tail=tail, recovered=recovered))
        self._send(room, rest)

    def _send(self, room: Room, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.messages:
                self._session.send(frames.server_messages(room.id_json, piece.end.epoch, piece.messages))


def _piece(burst: Burst) -> Piece:
    return Piece(Position(burst.epoch, burst.last_seq), burst.messages)


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Join neighbours of the same epoch."""
    out = pieces[:1]
    for piece in pieces[1:]:
        if piece.end.epoch == out[-1].end.epoch:
            out[-1] = Piece(piece.end, b",".join(filter(None, (out[-1].messages, piece.messages))))
        else:
            out.append(piece)
    return out
