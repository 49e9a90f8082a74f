"""Hop 4 of 9: a room on this node, its members and its order; from comet/hub.py, to comet/outbound.py. Pure.

It holds the room's members, its position in its log and the bursts to send. It does no I/O and needs no loop.
`offer` is where a room's order is kept: a burst at the next seq is accepted, one at or below the last is a duplicate,
one above it is held until the hole below it is filled. The newest accepted bursts stay in a small ring, so that most
joins and resumes need not ask Redis.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from comet import frames
from common.envelope import Burst, User
from common.positions import Position

RING_MESSAGES = 64
RING_BYTES = 65_536
# Above a hole so many bursts of so many bytes are held; the stream has what is dropped beyond.
HELD_BURSTS = 1000
HELD_BYTES = 1_048_576
# Frames of one flush are merged up to this size: fewer frames, and none so large that it stalls a slow client.
MERGED_BYTES = 65_536

DELIVERED, DUPLICATE, HELD, DROPPED = "delivered", "duplicate", "held", "dropped"


class Member(Protocol):
    """The part of a session that a room and the node's membership use."""

    @property
    def user(self) -> User:
        """Whose session it is."""

    def write(self, data: bytes, /) -> None:
        """Write WebSocket frames; when this becomes another method, its rooms are told (`changed`)."""


class Flush(NamedTuple):
    """What goes out in one go."""

    data: bytes  # WebSocket frames, joined
    messages: int  # how many are in them
    receivers: "Receivers"
    serial: int  # of the last joining before it: whoever joined later must not get it


class Receivers(NamedTuple):
    """The members of a room, listed once for all flushes until somebody comes or goes."""

    version: int  # the room's
    members: list[Member]
    writes: list[Callable[[bytes], None]]  # theirs, in the same order


NOBODY = Receivers(-1, [], [])  # of no version: listed anew for the next flush


class Room:
    """One room; made when its first session joins, gone when the last leaves."""

    __slots__ = (
        "_held_bytes",
        "_pending",
        "_receivers",
        "_ring",
        "_ring_bytes",
        "_ring_messages",
        "_serial",
        "broadcasting",
        "epoch",
        "held",
        "id",
        "id_json",
        "joining",
        "last",
        "live",
        "members",
        "released",
        "sealed",
        "users",
        "version",
        "watchers",
    )

    def __init__(self, room_id: str) -> None:
        self.id = room_id
        self.id_json = frames.json_text(room_id)  # put into every frame
        self.epoch = 0
        self.last = 0  # seq of the last message accepted
        self.live = False  # subscribed and positioned; until then everything is held
        self.joining = 0  # sessions on their way in keep the room alive
        self.members: dict[Member, int] = {}  # with the serial of their joining, which a rejoin renews
        self.users: dict[str, list[Member]] = {}  # the members by user
        self.watchers: set[Member] = set()  # who asked to be told of presence
        self.version = 0  # changes whenever `members` or how one of them is written to does
        self.held: dict[int, tuple[Burst, str]] = {}  # above a hole, by first seq, with the path
        self.released: list[tuple[str, int]] = []  # held messages accepted since: (path, count), for whoever counts
        self.broadcasting = False  # a broadcast yielded and goes on in a later iteration of the loop
        self.sealed: deque[tuple[bytes, int, int]] = deque()  # flushes whose receivers are already fixed
        self._held_bytes = 0
        self._pending: list[Burst | bytes] = []  # accepted since the last flush; bytes are raw frames' text
        self._ring: deque[Burst] = deque()
        self._ring_messages = 0
        self._ring_bytes = 0
        self._serial = 0
        self._receivers = NOBODY

    @property
    def position(self) -> Position:
        """Where this node stands in the room's log."""
        return Position(self.epoch, self.last)

    # -- order -------------------------------------------------------------------------------------------------------

    def start(self, position: Position, bursts: Iterable[Burst]) -> None:
        """Stand at a position, with the messages before it (of any age) for the ring; then take what was held."""
        self.epoch, self.last, self.live = position.epoch, position.seq, True
        self._ring.clear()
        self._ring_messages = self._ring_bytes = 0
        for burst in bursts:
            if burst.epoch == self.epoch:
                self._remember(burst)
        self._release()

    def offer(self, burst: Burst, path: str) -> str:
        """Take a burst that came over a path and return what became of it."""
        if not self.live:
            return self._hold(burst, path)
        if burst.epoch > self.epoch:
            if self.epoch or burst.first_seq != 1:
                return self._hold(burst, path)
            self.enter_epoch(burst.epoch)  # the first message ever: nothing can lie before it
        if burst.epoch < self.epoch or burst.first_seq + burst.count - 1 <= self.last:
            return DUPLICATE
        if burst.first_seq > self.last + 1:
            return self._hold(burst, path)
        self._accept(burst)
        if self.held:
            self._release()
        return DELIVERED

    def enter_epoch(self, epoch: int) -> None:
        """Go on in another incarnation of the log that begins right behind `last`."""
        self.epoch = epoch
        self._ring.clear()
        self._ring_messages = self._ring_bytes = 0

    def _accept(self, burst: Burst) -> None:
        if burst.first_seq <= self.last:
            burst = burst.after(self.last)
        self.last = burst.last_seq
        self._pending.append(burst)
        self._remember(burst)

    def _hold(self, burst: Burst, path: str) -> str:
        """Keep a burst for its turn; of two at the same seq the one that tells more."""
        there, _ = self.held.get(burst.first_seq, (None, path))
        if there is not None and (there.epoch, there.count) >= (burst.epoch, burst.count):
            return HELD
        size = self._held_bytes + len(burst.messages) - (len(there.messages) if there is not None else 0)
        if size > HELD_BYTES or (there is None and len(self.held) >= HELD_BURSTS):
            return DROPPED
        self.held[burst.first_seq] = burst, path
        self._held_bytes = size
        return HELD

    def _release(self) -> None:
        """Accept what was held and has its turn now; forget what came another way, or was lost, meanwhile."""
        for seq in sorted(self.held):
            burst, path = self.held[seq]
            if burst.epoch > self.epoch or (burst.epoch == self.epoch and seq > self.last + 1):
                continue
            del self.held[seq]
            self._held_bytes -= len(burst.messages)
            if burst.epoch == self.epoch and burst.last_seq > self.last:
                self._accept(burst)
                self.released.append((path, burst.count))

    # -- the ring ----------------------------------------------------------------------------------------------------

    def covers(self, seq: int) -> bool:
        """Whether the ring holds every message from `seq` up to the last one."""
        return seq == self.last + 1 or (bool(self._ring) and self._ring[0].first_seq <= seq <= self.last)

    def cut(self, seq: int) -> bytes:
        """Return the messages' JSON from `seq` (which the ring covers) up to the last one."""
        wanted = (burst for burst in self._ring if burst.last_seq >= seq)
        return b",".join((one if one.first_seq >= seq else one.after(seq - 1)).messages for one in wanted)

    def _remember(self, burst: Burst) -> None:
        ring = self._ring
        ring.append(burst)
        self._ring_messages += burst.count
        self._ring_bytes += len(burst.messages)
        while len(ring) > 1 and (self._ring_messages > RING_MESSAGES or self._ring_bytes > RING_BYTES):
            old = ring.popleft()
            self._ring_messages -= old.count
            self._ring_bytes -= len(old.messages)

    # -- members -----------------------------------------------------------------------------------------------------

    def add(self, member: Member) -> None:
        """Let a session in: it gets whatever is accepted from now on, and nothing that waits already."""
        self.seal()
        self._serial += 1
        if member not in self.members:
            self.users.setdefault(member.user.id, []).append(member)
        self.members[member] = self._serial
        self.version += 1

    def remove(self, member: Member) -> None:
        """Let a session go."""
        if self.members.pop(member, None) is None:
            return
        self.watchers.discard(member)
        self._receivers = NOBODY  # which else would keep it alive until the next flush
        self.version += 1
        sessions = self.users[member.user.id]
        sessions.remove(member)
        if not sessions:
            del self.users[member.user.id]

    def changed(self) -> None:
        """Hear that a member's `write` is another now: whoever listed the members lists them anew."""
        self.version += 1

    # -- what waits to be sent ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether something is to be flushed."""
        return bool(self.sealed or self._pending)

    def push_raw(self, text: bytes) -> None:
        """Send a raw text frame in turn."""
        self._pending.append(text)

    def seal(self) -> None:
        """Fix who gets what waits: the members of this moment."""
        if self._pending:
            self.sealed.append((*self._take(), self._serial))

    def next_flush(self) -> "Flush":
        """Return what is to be flushed next."""
        if self.sealed:
            sealed, messages, serial = self.sealed.popleft()
            return Flush(sealed, messages, self._listed(serial), serial)
        if self._receivers.version != self.version:
            self._receivers = self._listed(self._serial)
        return Flush(*self._take(), self._receivers, self._serial)

    def _listed(self, serial: int) -> Receivers:
        members = [member for member, joined in self.members.items() if joined <= serial]
        return Receivers(self.version, members, [member.write for member in members])

    def _take(self) -> tuple[bytes, int]:
        pending, self._pending = self._pending, []
        if len(pending) == 1 and isinstance(pending[0], Burst):  # the usual case at low load
            only = pending[0]
            return frames.websocket(frames.server_messages(self.id_json, only.epoch, only.messages)), only.count
        out: list[bytes] = []
        run: list[bytes] = []
        size, epoch, count = 0, 0, 0
        for one in pending:
            if run and (isinstance(one, bytes) or one.epoch != epoch or size > MERGED_BYTES):
                out.append(frames.websocket(frames.server_messages(self.id_json, epoch, b",".join(run))))
                run, size = [], 0
            if isinstance(one, bytes):
                out.append(frames.websocket(one))
                count += 1
            else:
                run.append(one.messages)
                size += len(one.messages)
                count += one.count
                epoch = one.epoch
        if run:
            out.append(frames.websocket(frames.server_messages(self.id_json, epoch, b",".join(run))))
        return b"".join(out), count
