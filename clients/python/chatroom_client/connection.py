"""The client's connection: made, kept, and made again until the server does not want it or its owner closes it.

Each try goes to the next URL. Between two lies a wait with full jitter, at random between 0 and a bound that doubles up
to `cap_s`: thousands of clients that lost one server come back spread over time. Pings find a connection that is dead
without having been closed.

Neighbour: `client.py` owns it and implements Owner. Nothing of the chat's protocol is known here but the URL and the
hello.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from chatroom_client.errors import FINAL_CODES, Disconnected

ABNORMAL: Final = 1006
STEADY_S: Final = 5.0  # a connection that lived so long was a good one: the next loss begins at the shortest wait
CLOSE_S: Final = 1.0  # for the closing handshake
MAX_FRAME_BYTES: Final = 16 * 2**20  # from the server; a recovery's page is the largest
# HTTP statuses of a refused handshake that another try may not get (as `websockets` has it, and 429 and 408).
PASSING_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})

Trace: TypeAlias = Callable[[Literal["in", "out"], str], None]


@dataclass(slots=True)
class Waits:
    """How long to wait before the next try: at random between 0 and a bound that doubles from first_s to cap_s."""

    first_s: float
    cap_s: float
    rng: random.Random
    _bound_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        self._bound_s = min(self.cap_s, self._bound_s * 2 or self.first_s)
        return self.rng.uniform(0.0, self._bound_s)

    def reset(self) -> None:
        """Begin at first_s again."""
        self._bound_s = 0.0


class Owner(Protocol):
    """Whom a link reports to."""

    def on_open(self, hello: dict[str, Any]) -> None:
        """The server said hello."""

    def on_text(self, text: str) -> None:
        """A frame came."""

    def on_lost(self, code: int, reason: str, wait_s: float) -> None:
        """There is no connection; the next try is in wait_s."""


@dataclass(slots=True, frozen=True)
class LinkOptions:
    """What a link is told; times in seconds."""

    headers: dict[str, str]
    open_timeout_s: float  # for one try: connecting, the handshake, the hello
    ping_s: float  # between pings, and for their answers
    trace: Trace | None


class Link:
    """One client's connection. `run` does everything."""

    def __init__(self, urls: Sequence[str], owner: Owner, options: LinkOptions, waits: Waits) -> None:
        self.opened = 0  # hellos
        self._urls = itertools.cycle(urls)
        self._owner = owner
        self._options = options
        self._waits = waits
        self._connection: ClientConnection | None = None
        # To be written; None: not connected. Bounded by its writers: unacked messages, rooms joined.
        self._outgoing: asyncio.Queue[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server said hello and the connection is not known to be lost."""
        return self._outgoing is not None

    def send(self, kind: str, payload: dict[str, Any]) -> None:
        """Send a frame in turn; without a connection it is dropped, as all is asked for again on the next."""
        if self._outgoing is not None:
            self._outgoing.put_nowait(orjson.dumps({"type": kind, "payload": payload}).decode())

    def drop(self) -> None:
        """Cut the connection hard, as a lost network does. The link comes back by itself."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def run(self) -> None:
        """Connect and stay connected. Raises Disconnected when the server does not want this client."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            code, reason = await self._connected(next(self._urls))
            if code in FINAL_CODES:
                raise Disconnected(code, reason)
            if loop.time() - begun > STEADY_S:
                self._waits.reset()
            wait_s = self._waits.next_s()
            self._owner.on_lost(code, reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _connected(self, url: str) -> tuple[int, str]:
        """Live through one connection and return how it ended."""
        options = self._options
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
            ) as self._connection:
                return await self._live(self._connection)
        except InvalidStatus as e:
            status = e.response.status_code
            if status not in PASSING_STATUSES:
                raise Disconnected(status, str(e)) from None
            return ABNORMAL, str(e)
        except ConnectionClosed as e:
            return _how(e)
        except (OSError, TimeoutError, WebSocketException) as e:
            return ABNORMAL, str(e) or ("no answer in time" if isinstance(e, TimeoutError) else type(e).__name__)
        finally:
            self._connection = self._outgoing = None

    async def _live(self, connection: ClientConnection) -> tuple[int, str]:
        async with asyncio.timeout(self._options.open_timeout_s):
            hello = await self._hello(connection)
        self._outgoing = asyncio.Queue()
        self.opened += 1
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write(connection, self._outgoing))
            self._owner.on_open(hello)
            ended = await self._read(connection)
            self._outgoing = None
            writing.cancel()
        return ended

    async def _hello(self, connection: ClientConnection) -> dict[str, Any]:
        while True:
            frame = parse(await self._next(connection))
            if frame is not None and frame[0] == "hello":
                return frame[1]

    async def _read(self, connection: ClientConnection) -> tuple[int, str]:
        on_text = self._owner.on_text
        try:
            while True:
                on_text(await self._next(connection))
        except ConnectionClosed as e:
            return _how(e)

    async def _next(self, connection: ClientConnection) -> str:
        text = await connection.recv(decode=True)
        if self._options.trace is not None:
            self._options.trace("in", text)
        return text

    async def _write(self, connection: ClientConnection, outgoing: asyncio.Queue[str]) -> None:
        with suppress(ConnectionClosed):  # the reader tells
            while True:
                text = await outgoing.get()
                if self._options.trace is not None:
                    self._options.trace("out", text)
                await connection.send(text)


def with_query(url: str, uid: str | None, name: str | None) -> str:
    """Return the URL to connect to: no room is joined by connecting, each is joined where it stood.

    Raises ValueError where it is no WebSocket URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"{url!r} is no WebSocket URL such as ws://localhost:8082/")
    query = dict(parse_qsl(parts.query)) | {"rooms": ""}
    query |= {key: value for key, value in (("uid", uid), ("name", name)) if value is not None}
    return urlunsplit(parts._replace(path=parts.path or "/", query=urlencode(query)))


def parse(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return a frame's type and payload, or None for a text that is no frame."""
    if not text.startswith("{"):
        return None
    try:
        frame = orjson.loads(text)
        kind, payload = frame["type"], frame["payload"]
    except (orjson.JSONDecodeError, KeyError):
        return None
    return (kind, payload) if isinstance(kind, str) and isinstance(payload, dict) else None


def _how(lost: ConnectionClosed) -> tuple[int, str]:
    """Return the server's close code and reason; 1006 if it gave none."""
    return (lost.rcvd.code, lost.rcvd.reason) if lost.rcvd is not None else (ABNORMAL, str(lost))
