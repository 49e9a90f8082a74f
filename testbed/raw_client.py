"""A client that costs little: a protocol on a raw socket that keeps only the seqs of messages, and all other frames.

It reads at all times, so a test may have a thousand of them. A client may also stop reading, with buffers so small that
the server must keep what it sends. A test that reads frame by frame takes tests/support/plain_client.py.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson
from websockets.frames import Frame, Opcode

HANDSHAKE = (
    "GET /?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HEAD_BYTES = 2  # of a frame (RFC 6455, 5.2)
LENGTH_BYTES = {126: 2, 127: 8}  # that follow the head where it has no room for the length
SMALL_BYTES = 4096
TIMEOUT_S = 20.0


class RawClient(asyncio.Protocol):
    """One connection to a node, the WebSocket protocol included."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._unread = bytearray()
        self._tcp: asyncio.Transport | None = None
        self._changed = asyncio.Event()
        self._shaken = False
        self.seqs: list[int] = []  # of the messages in `joined` and `serverMessages`, as they came
        self.frames: list[dict[str, Any]] = []  # of all other types
        self.close_code: int | None = None
        self.closed = False
        self.on_message: Callable[[dict[str, Any]], None] = lambda _message: None

    @classmethod
    async def connect(cls, port: int, query: str = "rooms=", *, small: bool = False) -> Self:
        """Connect. A client that is going to read nothing takes `small` buffers."""
        client = cls(query)
        sock = socket.socket()
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the kernel sizes the server's buffer by it
        sock.settimeout(0)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        await loop.create_connection(lambda: client, sock=sock)
        return client

    # -- for tests ----------------------------------------------------------------------------------------------------

    def send(self, kind: str, **payload: object) -> None:
        """Send a frame."""
        self._write(Opcode.TEXT, orjson.dumps({"type": kind, "payload": payload}))

    def stop_reading(self) -> None:
        """Read nothing from now on."""
        self._transport.pause_reading()

    def abort(self) -> None:
        """Hang up."""
        self._transport.abort()

    async def until(self, true: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Wait until it is true. Asks again after each piece of data."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; {len(self.seqs)} seqs, {self.frames[-3:]}") from None

    async def until_frame(self, kind: str) -> dict[str, Any]:
        """Wait for a frame of that type and return the payload of the first."""
        await self.until(lambda: self.of(kind))
        return self.of(kind)[0]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the payloads of the frames of that type."""
        return [frame["payload"] for frame in self.frames if frame["type"] == kind]

    # -- for asyncio --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._tcp = transport  # type: ignore[assignment]  # uvloop's own class, registered nowhere
        self._transport.write(HANDSHAKE.format(query=self._query).encode())

    def data_received(self, data: bytes) -> None:
        """Take each frame out of the received bytes. Raises ConnectionRefusedError where there is no WebSocket."""
        self._unread += data
        if not self._shaken:
            head, end, rest = bytes(self._unread).partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                raise ConnectionRefusedError(head)
            self._shaken, self._unread = True, bytearray(rest)
        while self._take_frame():
            pass
        self._changed.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note the end."""
        self.closed = True
        self._changed.set()

    def _take_frame(self) -> bool:
        unread = self._unread
        if len(unread) < HEAD_BYTES:
            return False
        length, at = unread[1], HEAD_BYTES
        if length in LENGTH_BYTES:
            at += LENGTH_BYTES[length]
            length = int.from_bytes(unread[HEAD_BYTES:at], "big")
        if len(unread) < at + length:
            return False
        opcode, body = unread[0] & 15, bytes(unread[at : at + length])
        del unread[: at + length]
        if opcode == Opcode.TEXT:
            self._take(orjson.loads(body))
        elif opcode == Opcode.PING:
            self._write(Opcode.PONG, body)
        elif opcode == Opcode.CLOSE:
            self.close_code = int.from_bytes(body[:2], "big")
            self._write(Opcode.CLOSE, body[:2])
        return True

    def _write(self, opcode: Opcode, body: bytes) -> None:
        self._transport.write(Frame(opcode, body).serialize(mask=True))

    @property
    def _transport(self) -> asyncio.Transport:
        if self._tcp is None:
            raise RuntimeError("the client is not connected")
        return self._tcp

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] not in {"joined", "serverMessages"}:
            self.frames.append(frame)
            return
        messages = frame["payload"].pop("messages")
        if frame["type"] == "joined":
            self.frames.append(frame)
        for message in messages:
            self.seqs.append(message["seq"])
            self.on_message(message)


@asynccontextmanager
async def raw_clients(port: int, count: int, query: str, *, small: bool = False) -> AsyncIterator[list[RawClient]]:
    """Connect so many clients, a few at a time, and wait for their hellos. Hang up on the way out."""
    clients: list[RawClient] = []
    try:
        for begin in range(0, count, 50):
            few = [RawClient.connect(port, query, small=small) for _ in range(min(50, count - begin))]
            clients += await asyncio.gather(*few)
            for client in clients[begin:]:
                await client.until_frame("hello")
        yield clients
    finally:
        for client in clients:
            client.abort()
