"""Hop 1 of 9: the transport, one WebSocket connection; from the client's socket, to comet/session.py.

`websockets`' sans-I/O core does the protocol, this class moves its bytes. What nearly every frame is, a whole text in
one piece, is taken past the core where that stands between two frames. An idle connection has no task, no timer and no
queue of its own: the gateway's sweep pings all of them and looks after what hangs.

What comes is dealt with in slices, and a client that sends more than TURN_S's worth waits for its next turn, so that no
flood of frames freezes the others. What is written goes straight to the asyncio transport. When a client does not
read: past `outbound_bytes` unsent, the connection is cut off (4001, best effort) and the client resumes; nobody else
notices.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.streams import StreamReader

from comet import address, frames, metrics
from comet.close_codes import CloseCode
from comet.http_core import HttpCore, RequestFault
from comet.session import Session

KNOWN_CODES: Final = frozenset(CloseCode)  # labels of a metric; any other code is a client's own
PING: Final = Frame(Opcode.PING, b"").serialize(mask=False)
MISSED_PINGS: Final = 2
SLICE_BYTES: Final = 2048  # of what came are dealt with between two looks at the clock
TURN_S: Final = 0.002
FRAGMENTS: Final = 1024  # of one message; more are a waste of everybody's time
BUFFERED_BYTES: Final = 65_536  # unsent, below which the next page of a recovery may follow
BUFFERED_LOOK_S: Final = 0.005  # at first; a client that takes long is looked at ever more rarely,
BUFFERED_LOOK_MOST_S: Final = 0.2  # so that many that are stuck cost nothing
_MESSAGE_OPCODES: Final = (Opcode.TEXT, Opcode.CONT, Opcode.BINARY)


class TransportOwner(Protocol):
    """The part of the gateway that a transport uses."""

    max_frame_bytes: int
    outbound_bytes: int
    protocol_log: logging.Logger

    def opened(self, transport: "Transport") -> None:
        """Take note of a socket."""

    def requested(self, transport: "Transport", request: Request) -> None:
        """Answer an HTTP request, the opening handshake among them."""

    def refused(self, transport: "Transport", status: int, reason: str) -> None:
        """Take note that a request was answered with an error."""

    def closing(self, transport: "Transport") -> None:
        """Take note that a closing handshake began."""

    def lost(self, transport: "Transport") -> None:
        """Forget a connection."""


class Transport(asyncio.Protocol):
    """One connection: HTTP at first, WebSocket after the opening handshake."""

    __slots__ = (
        "_between",
        "_fragments",
        "_held_back",
        "_owner",
        "_protocol",
        "_resting",
        "_tcp",
        "_unread",
        "deadline",
        "session",
        "unanswered",
    )

    def __init__(self, owner: TransportOwner) -> None:
        self._owner = owner
        self._protocol = HttpCore(max_size=owner.max_frame_bytes, logger=owner.protocol_log)
        self._tcp: asyncio.Transport | None = None
        self._between = False  # the core stands between two frames
        self._fragments: list[bytes] = []  # of a message that comes in several frames
        self._unread = b""  # came, but its turn has not come yet
        self._held_back = False  # the session has enough to deal with
        self._resting = False  # the client sends too fast
        self.session: Session | None = None  # from the opening handshake on
        self.deadline = 0.0  # loop time by which the handshake, opening or closing, must be over; 0: no handshake
        self.unanswered = 0  # pings since the client was last heard

    # -- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the socket; the request follows."""
        self._tcp = cast("asyncio.Transport", transport)  # uvloop's own class, registered nowhere
        self._tcp.set_write_buffer_limits(high=self._owner.outbound_bytes)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Deal with what came, or with as much of it as one turn allows."""
        self.unanswered = 0
        if self._unread or len(data) > SLICE_BYTES:
            self._unread += data
            self._take_turn()
        else:
            self._feed(data)

    def _take_turn(self) -> None:
        until = time.monotonic() + TURN_S
        while self._unread and self._tcp is not None and not self._held_back and not self._resting:
            if time.monotonic() > until:
                asyncio.get_running_loop().call_soon(self._take_turn)
                break
            part, self._unread = self._unread[:SLICE_BYTES], self._unread[SLICE_BYTES:]
            self._feed(part)
        self._read_or_not()

    def _read_or_not(self) -> None:
        """Read from the socket exactly while nothing is in the way."""
        if self._tcp is None or self._tcp.is_closing():
            self._unread = b""
        elif self._unread or self._held_back or self._resting:
            self._tcp.pause_reading()
        else:
            self._tcp.resume_reading()

    def _feed(self, part: bytes) -> None:
        """Take whole texts; what is left, if anything, is the core's."""
        begin = self._take_texts(part) if self._between and not self._fragments else 0
        if begin < len(part):
            self._run_core(part[begin:] if begin else part)

    def _take_texts(self, part: bytes) -> int:
        """Hand on the whole text frames that the part begins with; return where they end."""
        begin, session = 0, self.session
        while session is not None and (taken := frames.take_text(part, begin, self._owner.max_frame_bytes)):
            text, begin = taken
            session.receive(text, text=True)
            session = self.session  # it may have ended itself
        return begin

    def _run_core(self, part: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(part)
        if protocol.events:
            for event in protocol.events_received():
                if isinstance(event, Request):
                    self._owner.requested(self, event)
                elif isinstance(event, Frame) and event.opcode in _MESSAGE_OPCODES:
                    self._frame(event)
        if protocol.fault is not None:
            fault, protocol.fault = protocol.fault, None
            self._refuse(fault)
        if protocol.writes:
            self._send_protocol()
        if protocol.state is not State.OPEN and self.session is not None:
            self._end()
        self._between = protocol.state is State.OPEN and _is_between_frames(protocol)

    def eof_received(self) -> bool:
        """Close: half-open connections are not for us."""
        self._protocol.receive_eof()
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget the connection."""
        self._end()
        self._owner.lost(self)
        self._tcp = None

    def pause_writing(self) -> None:
        """Cut off a slow consumer: more than its limit lies unsent."""
        self.cut_off()

    # -- what the gateway and the session call -----------------------------------------------------------------------

    def accept(self, request: Request) -> bool:
        """Answer the opening handshake; whether it succeeded."""
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._send_protocol()
        if self._protocol.state is not State.OPEN:
            self._owner.refused(self, response.status_code, str(self._protocol.handshake_exc))
        return self._protocol.state is State.OPEN

    def respond(
        self,
        status: int,
        content_type: str,
        body: bytes,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        head: bool = False,
    ) -> None:
        """Answer an ordinary HTTP request and hang up; `head` leaves out the body and keeps its length."""
        response = self._protocol.reject(status, "")
        response.body = b"" if head else body
        for name in ("Content-Type", "Content-Length"):
            del response.headers[name]
        response.headers["Content-Type"] = content_type
        if body:  # a 304 has none, and its length would be taken for the file's
            response.headers["Content-Length"] = str(len(body))
        response.headers["Cache-Control"] = "no-cache"
        response.headers.update(headers)
        self._protocol.send_response(response)
        self._send_protocol()

    @property
    def peer(self) -> str:
        """The client's address, host:port; '' once it is gone. Behind a proxy it is the proxy's."""
        found = self._tcp.get_extra_info("peername") if self._tcp is not None else None
        return address.joined(*found[:2]) if found else ""

    def write(self, data: bytes) -> None:
        """Write WebSocket frames."""
        if self._tcp is not None:
            self._tcp.write(data)

    @property
    def writer(self) -> Any:  # noqa: ANN401 - asyncio's own bound method, kept for its speed
        """The method that writes to the socket without a detour."""
        return self._tcp.write if self._tcp is not None else _discard

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin the closing handshake and end the session; the sweep hangs up on who does not answer."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason or code.reason)
            self._send_protocol()
            if self.session is None:
                self._owner.closing(self)
        self._end()

    def fail(self, code: CloseCode, reason: str = "") -> None:
        """Close without waiting for the client's half of the handshake."""
        self._protocol.fail(code, reason or code.reason)
        self._send_protocol()
        self._end()

    def ping(self) -> None:
        """Ask whether the client is still there; close when it did not answer the last two times."""
        if self.session is None:
            return
        if (self._held_back or self._unread) and self.unsent_bytes <= BUFFERED_BYTES:
            return  # its answer would wait unread, and it is not the client that is waited for
        if self.unanswered >= MISSED_PINGS:
            self.fail(CloseCode.INTERNAL_ERROR, "ping timeout")
            if self._tcp is not None:
                self._tcp.abort()
            return
        self.unanswered += 1
        self.write(PING)

    @property
    def unsent_bytes(self) -> int:
        """What was written and the system did not take yet."""
        return self._tcp.get_write_buffer_size() if self._tcp is not None and not self._tcp.is_closing() else 0

    def cut_off(self) -> None:
        """Hang up on a slow consumer; the close frame (4001) reaches it only if it reads after all."""
        if self._protocol.state is State.OPEN:
            metrics.SLOW_CONSUMERS.inc()
            self.close(CloseCode.SLOW_CONSUMER)
        self.abort()

    def abort(self) -> None:
        """Hang up at once."""
        if self._tcp is not None:
            self._tcp.abort()

    def pause_reading(self) -> None:
        """Read no more from the client: what it sent already waits for its turn."""
        self._held_back = True
        self._read_or_not()

    def resume_reading(self) -> None:
        """Read on."""
        self._held_back = False
        asyncio.get_running_loop().call_soon(self._take_turn)

    def rest(self, seconds: float) -> None:
        """Read nothing from the client for so long: it sends too fast."""
        if not self._resting:
            self._resting = True
            self._read_or_not()
            asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._take_turn()

    async def drained(self) -> None:
        """Return once the client has taken most of what was written, or is gone."""
        look_s = BUFFERED_LOOK_S
        while self.unsent_bytes > BUFFERED_BYTES:
            await asyncio.sleep(look_s)  # asyncio tells only of the limit at which we cut off
            look_s = min(BUFFERED_LOOK_MOST_S, look_s * 1.5)

    # -- within ------------------------------------------------------------------------------------------------------

    def _frame(self, frame: Frame) -> None:
        if self.session is None:
            return
        if frame.fin and not self._fragments:
            self.session.receive(frame.data, text=frame.opcode is Opcode.TEXT)
            return
        if frame.opcode is not Opcode.CONT:
            self._fragments.append(b"t" if frame.opcode is Opcode.TEXT else b"b")
        self._fragments.append(bytes(frame.data))
        if len(self._fragments) > FRAGMENTS:
            self.fail(CloseCode.MESSAGE_TOO_BIG, f"more than {FRAGMENTS} fragments")
        elif frame.fin:
            kind, *parts = self._fragments
            self._fragments = []
            self.session.receive(b"".join(parts), text=kind == b"t")

    def _refuse(self, fault: RequestFault) -> None:
        self._owner.refused(self, fault.status, fault.text)
        self.respond(fault.status, "text/plain; charset=utf-8", f"{fault.text}\n".encode())

    def _send_protocol(self) -> None:
        if self._tcp is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                self._tcp.write(data)
            elif self._protocol.state is State.CONNECTING and not self._tcp.is_closing():
                self._tcp.write_eof()  # to hang up now would destroy the answer while the client still sends
            else:  # the end of what we send, and a server hangs up first
                self._tcp.close()

    def _end(self) -> None:
        if self.session is not None:
            session, self.session = self.session, None
            if self._tcp is not None:
                self._owner.closing(self)  # whoever began it: it has a deadline
            code = self._protocol.close_code if self._protocol.state is State.CLOSED else self._closing_code()
            metrics.CLOSED.labels(str(code) if code in KNOWN_CODES else "other").inc()
            session.end()

    def _closing_code(self) -> int | None:
        close = self._protocol.close_sent or self._protocol.close_rcvd
        return close.code if close is not None else CloseCode.ABNORMAL_CLOSURE


def _is_between_frames(protocol: HttpCore) -> bool:
    """Whether the core has nothing of the next frame yet: it then waits to see whether there is another at all.

    Should a later version of the library wait in another place, every frame is the core's again; a test would tell.
    """
    waits_in: Any = protocol.parser
    while (inner := getattr(waits_in, "gi_yieldfrom", None)) is not None:
        waits_in = inner
    return getattr(waits_in, "gi_code", None) is StreamReader.at_eof.__code__


def _discard(_data: bytes) -> None:
    """Take the place of a closed connection's write."""
