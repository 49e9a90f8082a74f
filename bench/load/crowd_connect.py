"""How the crowd comes in: many sockets at once, each through its opening handshake and, if asked, back into its room.

Only here does a client have a state of its own; once it is in, nothing is left of it but its socket.
"""

import errno
import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import orjson

from bench.load import wire

PER_ADDRESS: Final = 20_000  # clients that come from one loopback address, which has 28,000 ports
READ_BYTES: Final = 262_144
GIVE_UP_S: Final = 60.0  # who is not in by then is counted as missing
WAIT_S: Final = 150.0  # where all must be in
HELLO, JOINED = b'"type":"hello"', b'"type":"joined"'
RECOVERED: Final = b'"recovered":true'
POSITION: Final = re.compile(rb'"epoch":(\d+),"seq":(\d+)')  # of the first room in a hello


@dataclass(frozen=True, slots=True)
class Way:
    """How to come in: so many clients, spread over `rooms` rooms named <room>, or <room>_<k> where they are several."""

    port: int
    clients: int
    room: str
    rooms: int = 1
    in_flight: int = 50  # clients in the opening handshake at the same time
    deflate: bool = False  # offer compression, as browsers do
    greeted: bool = True  # a client is in when the server said hello; else when it answered the handshake
    everybody: bool = True  # must come in; else those who did not within GIVE_UP_S are counted
    back: bool = False  # come back to the rooms from the positions on that were seen at the last coming

    def room_of(self, k: int) -> str:
        """Return the room of the k-th client."""
        return self.room if self.rooms == 1 else f"{self.room}_{k % self.rooms}"

    def path_of(self, k: int) -> str:
        """Return what the k-th client asks for."""
        room = "" if self.back else self.room_of(k)
        return f"/?rooms={room}&uid=u{k:06d}&name=u{k:06d}"


@dataclass(slots=True)
class Coming:
    """A client on its way in."""

    k: int
    sock: socket.socket
    unread: bytearray = field(default_factory=bytearray)
    opened: bool = False  # the handshake is over


@dataclass(slots=True)
class Arrived:
    """Who is in, in the order of their numbers, and how it went."""

    socks: list[socket.socket]
    seconds: float
    tries: int  # connections attempted; more than clients where some were refused
    missing: int  # who did not come in
    recovered: int  # of those that came back, who missed nothing
    told: int  # messages that those were told in their `joined`
    times: list[float]  # when each was in, since the beginning


class Entrance:
    """Brings the clients in; `positions` of rooms, (epoch, seq), are noted at a coming and used at a coming back."""

    def __init__(self, way: Way, positions: dict[str, tuple[int, int]] | None = None) -> None:
        self._way = way
        self._positions = positions if positions is not None else {}
        self._epoll = select.epoll()
        self._buffer = bytearray(READ_BYTES)
        self._coming: dict[int, Coming] = {}
        self._waiting = deque(range(way.clients))
        self._in: dict[int, socket.socket] = {}
        self._times: list[float] = []
        self._tries = self._recovered = self._told = 0
        self._began = time.monotonic()

    def bring_in(self) -> Arrived:
        """Return once all are in. Raises RuntimeError when they can't all come in."""
        way = self._way
        patience_s = WAIT_S if way.everybody else GIVE_UP_S
        try:
            while len(self._in) < way.clients and self._seconds < patience_s:
                self._let_some_set_out()
                for fd, event in self._epoll.poll(0.1, 1024):
                    if fd in self._coming:
                        self._go_on(self._coming[fd], event)
        finally:
            self._epoll.close()
        missing = way.clients - len(self._in)
        if missing and way.everybody:
            raise RuntimeError(f"only {len(self._in)} of {way.clients} clients came in within {WAIT_S:.0f} s")
        hang_up(one.sock for one in self._coming.values())
        socks = [sock for _, sock in sorted(self._in.items())]
        return Arrived(socks, self._seconds, self._tries, missing, self._recovered, self._told, self._times)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _let_some_set_out(self) -> None:
        while self._waiting and len(self._coming) < self._way.in_flight:
            self._set_out(self._waiting.popleft())

    def _set_out(self, k: int) -> None:
        self._tries += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._way.clients > PER_ADDRESS:
            sock.bind((f"127.0.0.{2 + k // PER_ADDRESS}", 0))
        code = sock.connect_ex(("127.0.0.1", self._way.port))
        if code not in (0, errno.EINPROGRESS):
            raise RuntimeError(f"client {k} can't connect: {errno.errorcode[code]}")
        self._coming[sock.fileno()] = Coming(k, sock)
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _go_on(self, one: Coming, event: int) -> None:
        try:
            if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                one.sock.send(wire.request(self._way.path_of(one.k), deflate=self._way.deflate))
                self._epoll.modify(one.sock.fileno(), select.EPOLLIN)
                return
            size = one.sock.recv_into(self._buffer)
            if not size:
                raise ConnectionResetError
        except OSError:
            self._try_again(one)
        else:
            one.unread += self._buffer[:size]
            self._read(one)

    def _try_again(self, one: Coming) -> None:
        """The server was too busy for this one: it comes again, behind those that wait."""
        self._drop(one)
        one.sock.close()
        self._waiting.append(one.k)

    def _drop(self, one: Coming) -> None:
        del self._coming[one.sock.fileno()]
        self._epoll.unregister(one.sock.fileno())

    def _read(self, one: Coming) -> None:
        if not one.opened:
            head, end, rest = bytes(one.unread).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"the server answered {head.partition(bytes([13]))[0]!r}")
            one.opened, one.unread = True, bytearray(rest)
            if not self._way.greeted:
                self._is_in(one)
                return
        self._read_frames(one)

    def _read_frames(self, one: Coming) -> None:
        """Take whole frames until the one that lets the client in."""
        at = 0
        while end := wire.frame_end(one.unread, at):
            text = one.unread[at:end]
            at = end
            if HELLO in text:
                if self._way.back:
                    self._join(one)
                else:
                    self._note(one, text)
                    self._is_in(one)
            elif JOINED in text:
                self._recovered += RECOVERED in text
                self._told += text.count(wire.MARK)
                self._is_in(one)
            elif text[0] == wire.CLOSE:
                self._try_again(one)
                return
        del one.unread[:at]

    def _note(self, one: Coming, hello: bytes | bytearray) -> None:
        if found := POSITION.search(hello):
            self._positions[self._way.room_of(one.k)] = int(found[1]), int(found[2])

    def _join(self, one: Coming) -> None:
        epoch, seq = self._positions[self._way.room_of(one.k)]
        payload = {"roomId": self._way.room_of(one.k), "since": {"epoch": epoch, "seq": seq}}
        one.sock.send(wire.frame(orjson.dumps({"type": "joinRoom", "payload": payload}), masked=True))

    def _is_in(self, one: Coming) -> None:
        self._drop(one)
        self._in[one.k] = one.sock
        self._times.append(self._seconds)


def hang_up(socks: Iterable[socket.socket]) -> None:
    """Cut all connections, as a network that fails does: without a closing handshake."""
    for sock in socks:
        sock.close()
