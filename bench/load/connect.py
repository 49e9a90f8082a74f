"""The clients of a load connect: many sockets at once, each through its opening handshake and, if asked, a resume.

A client has a state of its own only here and while it connects. Afterwards its socket is left.
"""

import errno
import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from bench.load import wire

PER_ADDRESS: Final = 20_000  # clients from one loopback address, which has 28,000 ports
READ_BYTES: Final = 262_144
GIVE_UP_S: Final = 60.0  # after this time a missing client is counted, where not all must connect
WAIT_S: Final = 150.0  # where all must connect
HELLO, JOINED = b'"type":"hello"', b'"type":"joined"'
RECOVERED: Final = b'"recovered":true'
POSITION: Final = re.compile(rb'"epoch":(\d+),"seq":(\d+)')  # of the first room in a hello


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """The clients that connect, spread evenly over the ports and over `rooms` rooms named <room>_<k>."""

    clients: int
    room: str
    rooms: int = 1
    ports: Sequence[int] = ()  # one for each node
    in_flight: int = 50  # opening handshakes at the same time
    deflate: bool = False  # offer compression, as browsers do
    greeted: bool = True  # a client has connected when it got its hello, else when the handshake is answered
    everybody: bool = True  # all must connect, else those that have not after GIVE_UP_S are counted
    back: bool = False  # resume the rooms at the positions of the last hello
    timed: int = 0  # clients, spread evenly, whose messages' ages are taken; 0 is the first client of each room
    keep: bool = False  # keep the receipts of the clients for the ledger
    acks: bool = True  # the server answers each frame that a client sends

    def room_of(self, k: int) -> str:
        """Return the room of the k-th client."""
        return f"{self.room}_{k % self.rooms}"

    def port_of(self, k: int) -> int:
        """Return the port of the k-th client."""
        return self.ports[k * len(self.ports) // self.clients]

    def times(self, k: int) -> bool:
        """Return whether the ages of the k-th client's messages are taken."""
        return k % max(1, self.clients // self.timed) == 0 if self.timed else k < self.rooms

    def path_of(self, k: int) -> str:
        """Return the path that the k-th client asks for."""
        room = "" if self.back else self.room_of(k)
        return f"/?rooms={room}&uid=u{k:06d}&name=u{k:06d}"


@dataclass(slots=True)
class Handshake:
    """A client that connects."""

    k: int
    sock: socket.socket
    unread: bytearray = field(default_factory=bytearray)
    opened: bool = False  # the server has answered the opening handshake


@dataclass(slots=True)
class ConnectedClients:
    """The connected clients' sockets, in the order of their numbers, and how connecting went."""

    socks: list[socket.socket]
    seconds: float
    tries: int  # connections attempted; more than clients where the server refused some
    missing: int  # clients that did not connect in time
    recovered: int  # clients that resumed without a gap
    told: int  # messages that those got in their `joined`
    times: list[float]  # seconds until each client had connected


class Connector:
    """Connects the clients of a plan. It fills `positions`, (epoch, seq) by room, and a plan with `back` uses them."""

    def __init__(self, plan: ClientPlan, positions: dict[str, tuple[int, int]] | None = None) -> None:
        self._plan = plan
        self._positions = positions if positions is not None else {}
        self._epoll = select.epoll()
        self._buffer = bytearray(READ_BYTES)
        self._handshakes: dict[int, Handshake] = {}
        self._waiting = deque(range(plan.clients))
        self._socks: dict[int, socket.socket] = {}
        self._times: list[float] = []
        self._tries = self._recovered = self._told = 0
        self._began = time.monotonic()

    def connect(self) -> ConnectedClients:
        """Connect all clients. Raises RuntimeError where all must connect and some can't."""
        plan = self._plan
        patience_s = WAIT_S if plan.everybody else GIVE_UP_S
        try:
            while len(self._socks) < plan.clients and self._seconds < patience_s:
                self._start_some()
                for fd, event in self._epoll.poll(0.1, 1024):
                    if fd in self._handshakes:
                        self._advance(self._handshakes[fd], event)
        finally:
            self._epoll.close()
        missing = plan.clients - len(self._socks)
        if missing and plan.everybody:
            raise RuntimeError(f"only {len(self._socks)} of {plan.clients} clients connected within {WAIT_S:.0f} s")
        hang_up(one.sock for one in self._handshakes.values())
        socks = [sock for _, sock in sorted(self._socks.items())]
        return ConnectedClients(socks, self._seconds, self._tries, missing, self._recovered, self._told, self._times)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _start_some(self) -> None:
        while self._waiting and len(self._handshakes) < self._plan.in_flight:
            self._start(self._waiting.popleft())

    def _start(self, k: int) -> None:
        self._tries += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._plan.clients > PER_ADDRESS:
            sock.bind((f"127.0.0.{2 + k // PER_ADDRESS}", 0))
        code = sock.connect_ex(("127.0.0.1", self._plan.port_of(k)))
        if code not in (0, errno.EINPROGRESS):
            raise RuntimeError(f"client {k} can't connect: {errno.errorcode[code]}")
        self._handshakes[sock.fileno()] = Handshake(k, sock)
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _advance(self, one: Handshake, event: int) -> None:
        try:
            if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                one.sock.send(wire.request(self._plan.path_of(one.k), deflate=self._plan.deflate))
                self._epoll.modify(one.sock.fileno(), select.EPOLLIN)
                return
            size = one.sock.recv_into(self._buffer)
            if not size:
                raise ConnectionResetError
        except OSError:
            self._start_again(one)
        else:
            one.unread += self._buffer[:size]
            self._read(one)

    def _start_again(self, one: Handshake) -> None:
        """Put a client that the busy server refused behind those that wait."""
        self._drop(one)
        one.sock.close()
        self._waiting.append(one.k)

    def _drop(self, one: Handshake) -> None:
        del self._handshakes[one.sock.fileno()]
        self._epoll.unregister(one.sock.fileno())

    def _read(self, one: Handshake) -> None:
        if not one.opened:
            head, end, rest = bytes(one.unread).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"the server answered {head.partition(bytes([13]))[0]!r}")
            one.opened, one.unread = True, bytearray(rest)
            if not self._plan.greeted:
                self._finish(one)
                return
        self._read_frames(one)

    def _read_frames(self, one: Handshake) -> None:
        """Read whole frames until the one that ends the handshake."""
        at = 0
        while end := wire.frame_end(one.unread, at):
            text = one.unread[at:end]
            at = end
            if HELLO in text:
                if self._plan.back:
                    self._join(one)
                else:
                    self._note(one, text)
                    self._finish(one)
            elif JOINED in text:
                self._recovered += RECOVERED in text
                self._told += text.count(wire.MARK)
                self._finish(one)
            elif text[0] == wire.CLOSE:
                self._start_again(one)
                return
        del one.unread[:at]

    def _note(self, one: Handshake, hello: bytes | bytearray) -> None:
        if found := POSITION.search(hello):
            self._positions[self._plan.room_of(one.k)] = int(found[1]), int(found[2])

    def _join(self, one: Handshake) -> None:
        epoch, seq = self._positions[self._plan.room_of(one.k)]
        payload = {"roomId": self._plan.room_of(one.k), "since": {"epoch": epoch, "seq": seq}}
        one.sock.send(wire.frame(orjson.dumps({"type": "joinRoom", "payload": payload}), masked=True))

    def _finish(self, one: Handshake) -> None:
        self._drop(one)
        self._socks[one.k] = one.sock
        self._times.append(self._seconds)


def hang_up(socks: Iterable[socket.socket]) -> None:
    """Cut all connections without a closing handshake, as a failing network does."""
    for sock in socks:
        sock.close()
