"""The client's connection to the server: opened, kept alive, and opened again after each loss.

Each attempt uses the next URL. A jittered backoff separates two attempts. Pings find a connection that died without
being closed. The connection ends for good on a final close code, or when its owner cancels `run`.

An HTTP status instead of a handshake comes from a proxy, because Comet refuses a client with a close code. A client
that was greeted before retries, whatever the status: during a rollout a proxy may send any. A client that was never
greeted probably has a wrong URL, so it ends once it has tried each URL.

Of the protocol this module knows only the URL and the `hello` frame.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus, WebSocketException

from chatroom_client import frames
from chatroom_client.backoff import Backoff
from chatroom_client.errors import FINAL_CLOSE_CODES, Disconnected

ABNORMAL: Final = 1006
STABLE_S: Final = 5.0  # a connection that lasted longer resets the backoff
CLOSE_S: Final = 1.0  # for the closing handshake
MAX_FRAME_BYTES: Final = 16 * 2**20  # of a frame from the server; a recovery's page is the largest
# HTTP statuses that tell of an unreachable or busy server. A client retries after them also before its first hello.
UNREACHABLE_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})

Trace: TypeAlias = Callable[[Literal["in", "out"], str], None]


class Listener(Protocol):
    """Receives the reports of a connection."""

    def on_open(self, hello: dict[str, Any]) -> None:
        """Handle the server's hello."""

    def on_text(self, text: str) -> None:
        """Handle a received text."""

    def on_lost(self, code: int, reason: str, wait_s: float) -> None:
        """Handle a lost connection or a failed attempt; the next attempt starts in `wait_s` seconds."""


@dataclass(slots=True, frozen=True)
class ConnectionOptions:
    """The options of each attempt, with times in seconds."""

    headers: dict[str, str]
    open_timeout_s: float  # for connecting and the WebSocket handshake, and once more for the hello
    ping_s: float  # between two pings, and at most for the answer to one
    trace: Trace | None


class Connection:
    """One client's connection. `run` opens it and does all its work."""

    def __init__(self, urls: Sequence[str], listener: Listener, options: ConnectionOptions, backoff: Backoff) -> None:
        self.hellos = 0  # connections that the server greeted
        self._urls = itertools.cycle(urls)
        self._untried = len(urls)  # URLs without an attempt yet
        self._listener = listener
        self._options = options
        self._backoff = backoff
        self._socket: ClientConnection | None = None
        # Frames to write, or None without a connection. Bounded by its writers: pending sends and joined rooms.
        self._outgoing: asyncio.Queue[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server said hello and the connection is not known to be lost."""
        return self._outgoing is not None

    def send(self, kind: str, payload: dict[str, Any]) -> None:
        """Queue a frame. Without a connection the frame is dropped: each request is sent again on the next one."""
        if self._outgoing is not None:
            self._outgoing.put_nowait(frames.encode(kind, payload))

    def drop(self) -> None:
        """Abort the connection as a network failure does. `run` reconnects."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def run(self) -> None:
        """Connect and reconnect. Raises Disconnected when the server does not accept this client."""
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            code, reason = await self._connect(next(self._urls))
            if code in FINAL_CLOSE_CODES:
                raise Disconnected(code, reason)
            if loop.time() - began_at > STABLE_S:
                self._backoff.reset()
            wait_s = self._backoff.next_s()
            self._listener.on_lost(code, reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _connect(self, url: str) -> tuple[int, str]:
        """Open a connection, serve it until its end, and return its close code and reason."""
        options = self._options
        self._untried = max(0, self._untried - 1)
        try:
            async with connect(
                url,
                additional_headers=options.headers,
                open_timeout=options.open_timeout_s,
                ping_interval=options.ping_s,
                ping_timeout=options.ping_s,
                close_timeout=CLOSE_S,
                max_size=MAX_FRAME_BYTES,
                compression=None,
            ) as self._socket:
                return await self._serve_until_cancelled(self._socket)
        except ConnectionClosed as e:
            return _close_code(e)
        except (OSError, ValueError, WebSocketException) as e:
            if (status := _status_of(e)) is not None:
                return self._refused(url, status)
            if isinstance(e, ValueError):
                raise
            return ABNORMAL, str(e) or ("no answer in time" if isinstance(e, TimeoutError) else type(e).__name__)
        finally:
            self._socket = self._outgoing = None

    def _refused(self, url: str, status: int) -> tuple[int, str]:
        """Return how the attempt ended. Raises Disconnected where further attempts make no sense."""
        address = urlunsplit(urlsplit(url)._replace(query=""))  # the query may hold a token
        reason = f"{address} refused the WebSocket handshake with HTTP status {status}"
        if not self.hellos and not self._untried and status not in UNREACHABLE_STATUSES:
            raise Disconnected(status, reason) from None
        return ABNORMAL, reason

    async def _serve_until_cancelled(self, socket: ClientConnection) -> tuple[int, str]:
        """Serve. When the owner cancels, close with 1000: after an exception `connect` would close with 1011."""
        try:
            return await self._serve(socket)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await socket.close()
            raise

    async def _serve(self, socket: ClientConnection) -> tuple[int, str]:
        """Read and write frames until the connection is lost. Return its close code and reason."""
        async with asyncio.timeout(self._options.open_timeout_s):
            hello = await self._receive_hello(socket)
        self._outgoing = asyncio.Queue()
        self.hellos += 1
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write(socket, self._outgoing))
            self._listener.on_open(hello)
            closed = await self._read(socket)
            self._outgoing = None
            writing.cancel()
        return closed

    async def _receive_hello(self, socket: ClientConnection) -> dict[str, Any]:
        while True:
            frame = frames.parse(await self._receive(socket))
            if frame is not None and frame[0] == "hello":
                return frame[1]

    async def _read(self, socket: ClientConnection) -> tuple[int, str]:
        on_text = self._listener.on_text
        try:
            while True:
                on_text(await self._receive(socket))
        except ConnectionClosed as e:
            return _close_code(e)

    async def _receive(self, socket: ClientConnection) -> str:
        text = await socket.recv(decode=True)
        if self._options.trace is not None:
            self._options.trace("in", text)
        return text

    async def _write(self, socket: ClientConnection, outgoing: asyncio.Queue[str]) -> None:
        with suppress(ConnectionClosed):  # `_read` reports the loss
            while True:
                text = await outgoing.get()
                if self._options.trace is not None:
                    self._options.trace("out", text)
                await socket.send(text)


def with_query(url: str, uid: str | None, name: str | None) -> str:
    """Return the URL to connect to. It names the guest and no room, as each room is joined at its own position.

    Raises ValueError for a URL that is not a WebSocket URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"{url!r} is no WebSocket URL such as ws://localhost:8082/")
    query = dict(parse_qsl(parts.query)) | {"rooms": ""}
    query |= {key: value for key, value in (("uid", uid), ("name", name)) if value is not None}
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode(query)))


def _status_of(fault: Exception) -> int | None:
    """Return the HTTP status of a refused handshake. That of a redirect which can't be followed is in the context."""
    refusals = (one for one in (fault, fault.__context__) if isinstance(one, InvalidStatus | InvalidProxyStatus))
    return next((one.response.status_code for one in refusals), None)


def _close_code(lost: ConnectionClosed) -> tuple[int, str]:
    """Return the server's close code and reason, or 1006 when the server gave none."""
    return (lost.rcvd.code, lost.rcvd.reason) if lost.rcvd is not None else (ABNORMAL, str(lost))
