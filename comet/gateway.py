"""The gateway: all connections of a node, from accept to the last close.

Answers ordinary requests (comet/front.py) and opening handshakes, and sweeps over all connections: pings, and what
hangs in a handshake is hung up on.

The node's own limits: past `max_connections`, or so many that open files would run out, or past `max_memory_bytes`, a
new client gets 1013 and tries elsewhere or later. Sockets that come faster than they can be told so are hung up on.
While memory is used up the clients that have the most unsent are cut off, and nobody can open a further room.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final

from websockets.http11 import Request

from comet import front, memory, metrics, page
from comet.auth import Auth, Target
from comet.close_codes import CloseCode
from comet.config import CometSettings
from comet.context import Context
from comet.http_core import is_handshake
from comet.session import Session
from comet.transport import BUFFERED_BYTES, Transport
from common import lifecycle, logs
from common.errors import BadRequest, Forbidden
from common.health import Health

SWEEP_STEPS: Final = 100  # a sweep over all connections is spread over the ping interval in so many steps
DEADLINE_S: Final = 1.0  # between looks at handshakes that hang
CLOSING_S: Final = 5.0  # for a client's half of the closing handshake
LAST_ANSWERS_S: Final = 1.0
REASON_CHARS: Final = 120  # a close frame holds 123 bytes of reason
LOGGED_CHARS: Final = 200  # of the reason why a request was refused
OTHER_FILES: Final = 128  # open ones that are no clients': Redis, gRPC, metrics, and what Python opens
ENOUGH_CONNECTIONS: Final = 10_000  # with fewer an operator is warned who did not choose max_connections
TOLD_SOCKETS: Final = 64  # beyond the limit, to tell clients 1013
SPREAD_S: Final = 0.01  # between two rounds of closing: a shorter sleep costs more than it spreads

log = logs.get()


class Gateway:
    """All connections of this node."""

    def __init__(self, settings: CometSettings, context: Context, auth: Auth, health: Health) -> None:
        self.max_frame_bytes = settings.max_frame_bytes
        self.outbound_bytes = settings.outbound_bytes
        self.protocol_log = logging.getLogger("websockets.server")
        self._settings = settings
        self._context = context
        self._auth = auth
        self._transports: set[Transport] = set()
        self._hanging: set[Transport] = set()  # in an opening or closing handshake, which has a deadline
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None
        self._most = settings.max_connections  # less where open files are few
        self._memory_bytes = 0  # that the node may take; 0: unknown, or not listening yet
        self._front = front.Front(page.load(settings.rooms, guests=auth.takes_guests), health)

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on the socket."""
        files = lifecycle.file_limit()
        self._most = max(1, min(self._most, files - OTHER_FILES - TOLD_SOCKETS))
        if self._most < _expected(self._settings):
            log.warning("Open files are too few: raise their hard limit", connections=self._most, files=files)
        self._memory_bytes = memory.limit_bytes(self._settings.max_memory_bytes)
        loop = asyncio.get_running_loop()
        # Which listens once more, and with its own backlog of 100 would drop most of those who come back at once.
        self._server = await loop.create_server(lambda: Transport(self), sock=sock, backlog=lifecycle.BACKLOG)

    async def run(self) -> None:
        """Look after the connections, forever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ping())
            tasks.create_task(self._hang_up())

    def stop_listening(self) -> None:
        """Accept no more connections."""
        if self._server is not None:
            self._server.close()

    async def drain(self, seconds: float, answered: Callable[[], Awaitable[None]]) -> None:
        """Close all sessions with 1012, spread over so many seconds, and wait a moment for their answers.

        A session is read until its turn comes; then what it sent is `answered` before it is closed.
        """
        sessions = [transport for transport in self._transports if transport.session is not None]
        rounds = max(1, int(seconds / SPREAD_S))
        step = max(1, -(-len(sessions) // rounds))
        begun = time.monotonic()
        for i in range(0, len(sessions), step):
            await _close(sessions[i : i + step], answered)
            next_round = begun + seconds * (i + step) / len(sessions)  # the answers took a part of the round's time
            await asyncio.sleep(max(0.0, next_round - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LAST_ANSWERS_S, seconds)):
                await self._empty.wait()
        for transport in list(self._transports):
            transport.abort()

    # -- what transports report --------------------------------------------------------------------------------------

    def opened(self, transport: Transport) -> None:
        """Take note of a socket; its opening handshake has a deadline."""
        self._transports.add(transport)
        self._empty.clear()
        if len(self._transports) > self._most + TOLD_SOCKETS:
            metrics.REFUSED_SOCKETS.inc()
            transport.abort()
            return
        transport.deadline = asyncio.get_running_loop().time() + self._settings.handshake_seconds
        self._hanging.add(transport)

    def closing(self, transport: Transport) -> None:
        """Take note that a closing handshake began; it has a deadline."""
        transport.deadline = asyncio.get_running_loop().time() + CLOSING_S
        self._hanging.add(transport)

    def lost(self, transport: Transport) -> None:
        """Forget a connection."""
        self._transports.discard(transport)
        self._hanging.discard(transport)
        if not self._transports:
            self._empty.set()

    def requested(self, transport: Transport, request: Request) -> None:
        """Answer a request: a handshake, the page, or health."""
        try:
            target = Target(request.path)
        except BadRequest as e:
            self.refused(transport, e.http_status, e.message)
            transport.respond(e.http_status, front.TEXT, e.message.encode())
            return
        if not is_handshake(request):
            answer = self._front.answer(request, target.path)
            head = request.method == "HEAD"
            transport.respond(answer.status, answer.content_type, answer.body, answer.headers, head=head)
        elif transport.accept(request):
            self._begin(transport, request, target)

    def refused(self, transport: Transport, status: int, reason: str) -> None:
        """Count a request that was answered with an error, and log it: whoever sent it may not see the answer."""
        metrics.REFUSED_REQUESTS.get(status, metrics.REFUSED_REQUESTS_OTHER).inc()
        shown = reason.encode("unicode_escape").decode()[:LOGGED_CHARS]
        log.warning("A request was refused", status=int(status), reason=shown, peer=transport.peer)

    def _begin(self, transport: Transport, request: Request, target: Target) -> None:
        """Begin a session, or close with 1008: a browser would take an HTTP status for a lost connection and retry."""
        self._hanging.discard(transport)
        metrics.CONNECTED.inc()
        if len(self._transports) > self._most:
            metrics.REFUSED_CONNECTIONS.inc()
            transport.close(CloseCode.TRY_AGAIN_LATER, "too many connections")
            return
        if self._context.full:
            metrics.REFUSED_MEMORY.inc()
            transport.close(CloseCode.TRY_AGAIN_LATER, "no memory left")
            return
        try:
            user = self._auth.user(target, request.headers)
            rooms = target.rooms(self._settings.rooms, self._settings.max_rooms_per_session)
        except (BadRequest, Forbidden) as e:
            transport.close(CloseCode.POLICY_VIOLATION, e.message[:REASON_CHARS])
            return
        transport.session = Session(self._context, transport, user)
        transport.session.begin(rooms)

    # -- sweeps ------------------------------------------------------------------------------------------------------

    async def _ping(self) -> None:
        while True:
            transports = list(self._transports)
            step = max(1, -(-len(transports) // SWEEP_STEPS))
            begun = asyncio.get_running_loop().time()
            for i in range(0, len(transports), step):
                for transport in transports[i : i + step]:
                    transport.ping()
                await asyncio.sleep(self._settings.ping_seconds / SWEEP_STEPS)
            spent = asyncio.get_running_loop().time() - begun
            await asyncio.sleep(max(0.0, self._settings.ping_seconds - spent))

    async def _hang_up(self) -> None:
        while True:
            await asyncio.sleep(DEADLINE_S)
            now = asyncio.get_running_loop().time()
            for transport in [one for one in self._hanging if one.deadline < now]:
                transport.abort()
            self._look_at_memory()

    def _look_at_memory(self) -> None:
        """While more is taken than may be: let nobody in, and cut off those for whom the most lies unsent."""
        over = memory.resident_bytes() - self._memory_bytes if self._memory_bytes else 0
        if self._context.full != (over > 0):
            self._context.full = over > 0
            log.warning("Memory is used up" if over > 0 else "There is memory again", limit=self._memory_bytes)
        if over > 0:
            unsent = [(transport.unsent_bytes, transport) for transport in self._transports]
            slow = sorted((one for one in unsent if one[0] > BUFFERED_BYTES), key=lambda one: one[0])
            while slow and over > 0:
                size, transport = slow.pop()
                over -= size
                transport.cut_off()


def _expected(settings: CometSettings) -> int:
    """Return how many connections the operator counts on: those that were asked for, or enough for most."""
    asked = "max_connections" in settings.model_fields_set
    return settings.max_connections if asked else min(settings.max_connections, ENOUGH_CONNECTIONS)


async def _close(transports: list[Transport], answered: Callable[[], Awaitable[None]]) -> None:
    """Take nothing more from these clients, answer what they sent, and close."""
    for transport in transports:
        transport.pause_reading()
    await answered()
    for transport in transports:
        transport.close(CloseCode.SERVICE_RESTART)
        transport.resume_reading()  # for its half of the closing handshake
