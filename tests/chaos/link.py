"""One connection through the proxy: two ends, and what is read at one is written at the other, unless a fault has it.

Order is kept whatever faults come and go, an end of stream is passed on behind what came before it, and what can't be
passed on is not read: the sender's own buffers fill up, as they do when a network swallows packets. proxy.py makes the
links and says which faults there are.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

WAITING_BYTES: Final = 256 * 1024  # that one direction of a delayed link keeps; past it the link is not read
_NO_LINGER: Final = struct.pack("ii", 1, 0)


@dataclass
class Faults:
    """What is wrong now; `mark` limits it to links whose client has ever sent that."""

    refusing: bool = False
    holding: bool = False
    delay_s: float = 0.0
    mark: bytes | None = None


class End(asyncio.Protocol):
    """One socket of a link. `other` is where what it reads goes out."""

    other: "End"

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes | None]] = deque()  # (when it is due, chunk; None: the stream's end)
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._full = False  # the socket takes nothing more for now
        self._heard_all = False  # its stream has ended
        self._said_all = False  # and the other end was told

    # -- what the loop calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the link, which may not want it."""
        self._transport = cast("asyncio.Transport", transport)
        self._link.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass it on now, or when it is due."""
        self._link.read(self, data)
        if self._waiting or self._link.held or self._link.delay_s or not self.other.open:
            self._wait(data)
        else:
            self.other.write(data)

    def eof_received(self) -> bool:
        """Pass it on behind what waits; our own direction stays open."""
        if not self._heard_all:
            self._heard_all = True
            self._wait(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the link."""
        self._transport = None
        self.forget()
        self._link.lost(broken=exc is not None or not self._said_all)

    def pause_writing(self) -> None:
        """Let the other end read no more."""
        self._full = True
        self.other.adjust()

    def resume_writing(self) -> None:
        """Let the other end read on."""
        self._full = False
        self.other.adjust()

    # -- what the link calls -----------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether something can be written here."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def gone(self) -> bool:
        """Whether there is no socket, or none any more."""
        return self._transport is None

    @property
    def takes(self) -> bool:
        """Whether the other end should read for us."""
        return self.open and not self._full

    @property
    def said_all(self) -> bool:
        """Whether its stream has ended and the other end knows."""
        return self._said_all

    def write(self, data: bytes) -> None:
        """Write what the other end read."""
        if self._transport is not None and self.open:
            self._transport.write(data)

    def end(self) -> None:
        """Tell the peer that nothing more comes."""
        if self._transport is not None and self.open:
            self._transport.write_eof()

    def close(self) -> None:
        """Close when all is written."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close now, unsent or not; the peer sees a reset."""
        self.forget()
        if self._transport is not None and self.open:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        if self._transport is not None:
            self._transport.abort()

    def forget(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def flush(self) -> None:
        """Pass on what is due, and see to the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting and not self._link.held and self.other.open:
            due, chunk = self._waiting[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self.flush)
                break
            self._waiting.popleft()
            self._pass_on(chunk)
        self.adjust()

    def adjust(self) -> None:
        """Read if and only if what is read can go somewhere."""
        wanted = not self._link.held and self.other.takes and self._waiting_bytes < WAITING_BYTES
        if self._transport is None or not self.open or self._heard_all or wanted == self._transport.is_reading():
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _pass_on(self, chunk: bytes | None) -> None:
        if chunk is not None:
            self._waiting_bytes -= len(chunk)
            self.other.write(chunk)
            return
        self._said_all = True
        self.other.end()
        self._link.said_all()

    def _wait(self, chunk: bytes | None) -> None:
        due = asyncio.get_running_loop().time() + self._link.delay_s
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, chunk))
        self._waiting_bytes += len(chunk or b"")
        if self._timer is None:
            self.flush()
        else:
            self.adjust()


class Link:
    """A connection of a client's, and the one to the target on its behalf. `done` is told when both are closed."""

    def __init__(
        self,
        faults: Faults,
        marks: tuple[bytes, ...],
        connect: Callable[["Link"], None],
        done: Callable[["Link"], None],
    ) -> None:
        self.client, self.target = End(self), End(self)
        self.client.other, self.target.other = self.target, self.client
        self._faults = faults
        self._marks = marks
        self._seen: set[bytes] = set()  # the marks that the client has sent
        self._tail = b""  # of what the client sent: a mark may come in two chunks
        self._connect = connect
        self._connecting = False
        self._done = done
        self._lost = False

    @property
    def hit(self) -> bool:
        """Whether the faults are meant for this link."""
        return self._faults.mark is None or self._faults.mark in self._seen

    @property
    def held(self) -> bool:
        """Whether nothing may pass now."""
        return self._faults.holding and self.hit

    @property
    def delay_s(self) -> float:
        """How long each chunk waits."""
        return self._faults.delay_s if self.hit else 0.0

    def opened(self, end: End) -> None:
        """Connect to the target for a new client, unless a fault is in the way."""
        if self._lost or (self._faults.refusing and self.hit):
            self.reset()
        elif end is self.target:
            self.client.flush()
        else:
            self.changed()

    def changed(self) -> None:
        """See to it that faults that came or went are felt."""
        if self._lost and not self.held:
            self.reset()
        elif not self._connecting and self.client.open and not self.held:
            self._connecting = True
            self._connect(self)
        self.client.flush()
        self.target.flush()

    def read(self, end: End, data: bytes) -> None:
        """Look for marks in what a client sends."""
        if end is self.target or len(self._seen) == len(self._marks):
            return
        text = self._tail + data
        shown = {mark for mark in self._marks if mark in text} - self._seen
        self._seen |= shown
        self._tail = text[-max(map(len, self._marks)) :]
        if self._faults.refusing and self._faults.mark in shown:
            self.reset()  # it is new, which could not be known before

    def said_all(self) -> None:
        """Close when both have said all they had to say."""
        if self.client.said_all and self.target.said_all:
            self.client.close()
            self.target.close()

    def lost(self, *, broken: bool) -> None:
        """One end is gone. A broken link breaks at its other end too; that of a held one does not know yet."""
        self._lost = True
        if broken and not self.held:
            self.reset()
        if self.client.gone and self.target.gone:
            self._done(self)

    def reset(self) -> None:
        """Cut the connection: a reset at both ends."""
        self._lost = True
        self.client.reset()
        self.target.reset()
