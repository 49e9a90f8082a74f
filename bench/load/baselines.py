"""The servers that Comet is compared with, `python -m bench.load.baselines bare|broadcast|serve`.

- bare: ready frames, joined, written to each client with uvloop's `transport.write`: the least that a fan-out costs in
  Python. It knows nothing of WebSocket but a constant answer to the clients' constant handshake.
- broadcast: `websockets.broadcast`, once for each message, which is how a program that uses the library does it.
- serve: `websockets.serve` with all its defaults and nothing else, for memory and connecting.

Each writes its port in a line of JSON, and takes flushes in lines on stdin ({"flush": base64, recorded of Comet}). A
frame with a mark from any client is the signal to send the last flush, with that mark, to all clients of its room. So
clients, pacing and bytes are those of the run against Comet.
"""

import asyncio
import base64
import re
import socket
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import orjson
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.load import wire
from bench.load.json_subprocess import say
from chatroom.up.ports import LOOPBACK

BACKLOG: Final = 4096  # as Comet's
HELLO: Final = b'{"type":"hello","payload":{}}'
BETWEEN: Final = re.compile(rb'(?<=\}),(?=\{"id":)')  # two messages of a serverMessages frame


class RecordedFlush:
    """A flush of Comet, as it was recorded; only the marks in it change."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at: list[int] = []

    def set(self, data: bytes) -> None:
        """Send this from now on."""
        self._data, self._at = bytearray(data), wire.marks(data)

    def marked_like(self, came: bytes | bytearray) -> bytes:
        """Return the flush with the mark that came."""
        begin = came.find(wire.MARK)
        mark = came[begin : begin + len(wire.MARK) + wire.DIGITS]
        for at in self._at:
            self._data[at : at + len(mark)] = mark
        return bytes(self._data)


class Bare(asyncio.Protocol):
    """One client of the bare server."""

    def __init__(self, flush: RecordedFlush, rooms: dict[str, list[asyncio.Transport]]) -> None:
        self._flush = flush
        self._rooms = rooms
        self._room: list[asyncio.Transport] | None = None
        self._tcp: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake."""
        self._tcp = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the handshake; then send a flush for each frame with a mark, those that came together joined."""
        if self._room is None:
            self._shake(data)
            return
        data = self._unread + data
        at, flushes = 0, []
        while end := wire.frame_end(data, at):
            if data.find(wire.MARK, at, end) >= 0:
                flushes.append(self._flush.marked_like(data[at:end]))
            at = end
        self._unread = data[at:]
        joined = b"".join(flushes)
        if joined:
            for transport in self._room:
                transport.write(joined)

    def _shake(self, data: bytes) -> None:
        assert self._tcp is not None  # noqa: S101 - it is connected
        self._room = self._rooms[room_of(data.split(b" ", 2)[1].decode())]
        self._room.append(self._tcp)
        self._tcp.write(wire.ANSWER + wire.frame(HELLO))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Leave the room."""
        if self._room is not None and self._tcp is not None:
            self._room.remove(self._tcp)


def room_of(path: str) -> str:
    """Return the room that a client asks for."""
    return parse_qs(urlsplit(path).query).get("rooms", [""])[0]


async def bare(sock: socket.socket, flush: RecordedFlush) -> None:
    """Serve bare sockets."""
    rooms: dict[str, list[asyncio.Transport]] = defaultdict(list)
    await asyncio.get_running_loop().create_server(lambda: Bare(flush, rooms), sock=sock, backlog=BACKLOG)


async def broadcasting(sock: socket.socket, flush: RecordedFlush) -> None:
    """Serve with `websockets`, and broadcast; no keepalive, which makes it cheaper."""
    rooms: dict[str, set[ServerConnection]] = defaultdict(set)

    async def session(connection: ServerConnection) -> None:
        assert connection.request is not None  # noqa: S101 - it is connected
        room = rooms[room_of(connection.request.path)]
        room.add(connection)
        await connection.send(HELLO.decode())
        try:
            async for came in connection:
                for text in texts(flush.marked_like(came.encode() if isinstance(came, str) else came)):
                    broadcast(room, text)
        finally:
            room.discard(connection)

    await serve(session, sock=sock, ping_interval=None)


async def serving(sock: socket.socket, _flush: RecordedFlush) -> None:
    """Serve with `websockets` as it comes: its defaults."""

    async def session(connection: ServerConnection) -> None:
        await connection.wait_closed()

    await serve(session, sock=sock)


def texts(flush: bytes) -> list[str]:
    """Return the texts of a flush, one for each message: the same bytes, cut between the messages."""
    found: list[str] = []
    at = 0
    while end := wire.frame_end(flush, at):
        size = flush[at + 1]
        begin = at + (2 if size < 126 else 4 if size == 126 else 10)  # noqa: PLR2004 - RFC 6455, 5.2
        found += [part.decode() for part in BETWEEN.split(flush[begin:end])]
        at = end
    return found


KINDS: Final[dict[str, Callable[[socket.socket, RecordedFlush], Awaitable[None]]]] = {
    "bare": bare,
    "broadcast": broadcasting,
    "serve": serving,
}


async def main(kind: str) -> None:
    """Serve until stdin ends."""
    sock = socket.create_server((LOOPBACK, 0), backlog=BACKLOG)
    sock.settimeout(0)
    flush = RecordedFlush()
    await KINDS[kind](sock, flush)
    say({"port": sock.getsockname()[1]})
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        flush.set(base64.b64decode(orjson.loads(line)["flush"]))
        say({})


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
