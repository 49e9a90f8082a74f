"""The greeting: the hello that tells a session who it is and where its rooms stand.

Enters the first rooms, one after the other; what they deliver meanwhile is kept back until the hello is out. That is
bounded: past `outbound_bytes` the session is cut off, as any slow one. Nobody is let in halfway: while Redis is away
the connection is closed, to be tried again.

Neighbours: comet/session.py asks for it, on connecting and on a `hello` frame; comet/join.py enters a room.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from comet import frames
from comet.close_codes import CloseCode
from comet.context import Context
from comet.join import Join, Joiner
from comet.room import Room
from common import logs
from common.errors import ChatError, reason_of
from common.redis_client import REDIS_FAULTS
from common.store import Read

HELLO_BYTES: Final = 262_144  # past it the rooms of a hello come without messages; their history can be asked for

log = logs.get()


class Greeted(Joiner, Protocol):
    """The part of a session that a greeting uses."""

    write: Callable[[bytes], None]  # replaced until the hello is out


class ClosableTransport(Protocol):
    """The part of the transport that a greeting uses."""

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin the closing handshake and end the session."""

    def cut_off(self) -> None:
        """Hang up on a slow consumer."""


class Greeting:
    """One hello."""

    def __init__(self, context: Context, session: Greeted, transport: ClosableTransport) -> None:
        self._context = context
        self._session = session
        self._transport = transport
        self._kept: deque[bytes] = deque()  # what rooms delivered before the hello
        self._kept_bytes = 0

    async def say(self, room_ids: list[str]) -> None:
        """Enter rooms and greet; close the connection where that can't be done."""
        session = self._session
        write, session.write = session.write, self._keep
        try:
            rooms = await self._enter(room_ids)
        except (ChatError, *REDIS_FAULTS) as e:
            log.warning("A client could not be let in", user=session.user.id, error=reason_of(e))
            why = e.message if isinstance(e, ChatError) else "Redis is away; try again later"
            self._transport.close(CloseCode.TRY_AGAIN_LATER, why)
            return
        except Exception:
            log.exception("A client could not be let in", user=session.user.id)
            self._transport.close(CloseCode.INTERNAL_ERROR, "the server failed to let the client in")
            return
        if not session.ended:
            session.write = write
            for room in self._joined:
                room.changed()
            self._greet(rooms)
            for data in self._kept:
                write(data)

    async def say_again(self) -> None:
        """Greet with where the rooms stand as the frame is made, so that no position in it lies before what was sent.

        The messages are a look at the history, as a `roomHistory` is: what waits to be sent may be among them.
        """
        count = self._context.settings.join_messages
        found: dict[Room, tuple[Read, bool] | None] = {}
        size = 0
        for room in self._joined:
            if size > HELLO_BYTES:
                found[room] = None
                continue
            found[room] = read, _ = await self._context.store.history(room.id, None, max(1, count))
            size += len(read.messages)
        self._greet([_shown(room, found[room], count) for room in self._joined if room in found])

    @property
    def _joined(self) -> list[Room]:
        return list(self._session.rooms.values())

    def _keep(self, data: bytes) -> None:
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > self._context.settings.outbound_bytes:
            self._kept.clear()
            self._transport.cut_off()

    async def _enter(self, room_ids: list[str]) -> list[bytes]:
        context, session = self._context, self._session
        rooms: list[bytes] = []
        size = 0
        for room_id in room_ids:
            if session.ended:  # the client is gone
                break
            join = Join(context.hub, context.presences, session, room_id, context.settings)
            rooms.append(await join.fresh(without_messages=size > HELLO_BYTES))
            size += len(rooms[-1])
        return rooms

    def _greet(self, rooms: list[bytes]) -> None:
        session = self._session
        node, limits = self._context.membership.incarnation, self._context.limits_json
        session.send(frames.hello(session.user.to_json(), node, limits, rooms))


def _shown(room: Room, found: tuple[Read, bool] | None, count: int) -> bytes:
    """Return a joined room's part of a hello: its newest messages of the epoch that it names, if they were read."""
    if found is None:
        return frames.hello_room(room.id_json, room.position, b"", tail=room.position, more=room.last > 0)
    read, more = found
    shown = [entry for entry in read.entries if entry.epoch == room.epoch and entry.seq <= room.last and count]
    messages = Read(read.log, shown).messages
    return frames.hello_room(room.id_json, room.position, messages, tail=room.position, more=more)
