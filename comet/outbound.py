"""Hop 4 of 9: outbound, what a room accepted written to its members; from comet/room.py, to the sockets.

Once a room and flush, all its frames are joined and the same bytes written to every member's transport: the kernel's
`send` dominates, so fewer and larger writes are what makes it fast. A room's next flush starts when its last ended,
with all that came since, and a broadcast yields every YIELD_S, so that a huge room never freezes the others.

A member that does not read is not looked at here: its transport tells when more than its limit lies unsent, and then
it is cut off.
"""

import asyncio
import time
from typing import Final

from comet import metrics
from comet.room import Flush, Room

YIELD_S: Final = 0.002
STRIDE: Final = 64  # writes between two looks at the clock


class Outbound:
    """Flushes rooms, each in its own order."""

    def __init__(self) -> None:
        self._scheduled: set[Room] = set()

    def schedule(self, room: Room) -> None:
        """Flush the room in the next iteration of the loop, with all that it accepts until then."""
        if room.waiting and not room.broadcasting and room not in self._scheduled:
            self._scheduled.add(room)
            asyncio.get_running_loop().call_soon(self._flush, room)

    def _flush(self, room: Room) -> None:
        self._scheduled.discard(room)
        if not room.broadcasting and room.waiting:
            flush = room.next_flush()
            metrics.SENT.inc(flush.messages * len(flush.receivers.members))
            self._broadcast(room, flush, 0)

    def _broadcast(self, room: Room, flush: Flush, begin: int) -> None:
        """Write to the members from `begin` on, and go on in a later iteration where it takes too long."""
        data, receivers = flush.data, flush.receivers
        writes, joined = receivers.writes, room.members.get
        changed = receivers.version != room.version  # who left or came anew since must not get it
        until = time.monotonic() + YIELD_S
        for i in range(begin, len(writes), STRIDE):
            part = writes[i : i + STRIDE]
            if changed:
                members = receivers.members[i : i + STRIDE]
                part = [member.write for member in members if 0 < joined(member, 0) <= flush.serial]
            for write in part:
                write(data)
            if time.monotonic() > until and i + STRIDE < len(writes):
                room.broadcasting = True
                asyncio.get_running_loop().call_soon(self._broadcast, room, flush, i + STRIDE)
                return
        room.broadcasting = False
        self.schedule(room)
