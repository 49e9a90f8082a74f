"""The transport without a socket: whatever way a client's bytes come, the session gets the same frames."""

import asyncio
import itertools
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from comet.transport import FRAGMENTS, SLICE_BYTES, Transport
from testbed.kafka_server import run_aside
from testbed.raw_client import HANDSHAKE
from tests.support.eventually import eventually

MOST_BYTES = 70_000
REQUEST = HANDSHAKE.format(query="").encode()


class Tcp:
    """A socket that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.eof = False
        self.reading = True
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        """As asyncio's transports have it."""
        return self.unsent

    def set_write_buffer_limits(self, *, high: int) -> None:
        """As asyncio's transports have it."""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def write_eof(self) -> None:
        """Take note."""
        self.eof = True

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        """Where the client is."""
        return "192.0.2.1", 5

    def close(self) -> None:
        """Take note."""
        self.closed = True

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def pause_reading(self) -> None:
        """Take note."""
        self.reading = False

    def resume_reading(self) -> None:
        """Take note."""
        self.reading = True

    def abort(self) -> None:
        """Take note."""
        self.closed = True


class Session:
    """Notes what it gets."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, bool]] = []

    def receive(self, data: bytes, *, text: bool) -> None:
        """Note it."""
        self.received.append((bytes(data), text))

    def end(self) -> None:
        """Nothing to let go of."""


class Gateway(SimpleNamespace):
    """Accepts whoever comes."""

    def __init__(self, session: Session) -> None:
        super().__init__(max_frame_bytes=MOST_BYTES, outbound_bytes=1, protocol_log=None, session=session)

    def opened(self, transport: Transport) -> None:
        """Nothing to look after."""

    closing = opened

    def requested(self, transport: Transport, request: Request) -> None:
        """Begin the session."""
        assert transport.accept(request)
        transport.session = self.session


def connect() -> tuple[Transport, Session, Tcp]:
    """Return a transport whose handshake has not come yet."""
    session, tcp = Session(), Tcp()
    transport = Transport(cast("Any", Gateway(session)))
    transport.connection_made(cast("Any", tcp))
    return transport, session, tcp


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """Return a client's frame."""
    return Frame(opcode, data, fin=fin).serialize(mask=True)


async def feed(stream: bytes, cuts: list[int]) -> tuple[Session, Tcp]:
    """Let a client's bytes come in the pieces between the cuts, after its handshake was answered."""
    transport, session, tcp = connect()
    transport.data_received(REQUEST)
    ends = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    for begin, end in itertools.pairwise(ends):
        transport.data_received(stream[begin:end])
        while not tcp.reading and not tcp.closed:  # what is too much for one turn goes on in the next
            await asyncio.sleep(0)
    return session, tcp


# As they are drawn: a text's size, or another frame.
SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 128, 1000, 65_535, 65_536])
OTHERS = st.sampled_from(
    [
        frame(Opcode.PING, b"p"),
        frame(Opcode.PONG, b""),
        frame(Opcode.BINARY, b"\x00\x01"),
        frame(Opcode.TEXT, b"in ", fin=False) + frame(Opcode.PING, b"between") + frame(Opcode.CONT, b"parts"),
    ]
)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["chatroom.v1"], "chatroom.v1"),
        (["graphql-ws, chatroom.v1, mqtt"], "chatroom.v1"),
        (["mqtt", "chatroom.v1"], "chatroom.v1"),
        (["graphql-ws, mqtt"], None),
        (["chatroom.v2"], None),
        (["CHATROOM.V1"], None),
    ],
)
def test_the_subprotocol_is_selected_where_it_is_offered(offered: list[str], selected: str | None) -> None:
    """At any place of the list, and of several headers. Without it the handshake succeeds and selects none."""
    transport, _, tcp = connect()
    headers = "".join(f"Sec-WebSocket-Protocol: {one}\r\n" for one in offered)
    transport.data_received(REQUEST.replace(b"\r\n\r\n", f"\r\n{headers}\r\n".encode()))
    response = tcp.written.decode()
    assert response.startswith("HTTP/1.1 101 ")
    assert re.findall(r"(?im)^sec-websocket-protocol: (.*?)\r$", response) == ([selected] if selected else [])


@given(st.lists(st.one_of(SIZES, OTHERS), max_size=6), st.lists(st.integers(0, 3000), max_size=8))
def test_frames_arrive_the_same_however_they_are_cut(drawn: list[int | bytes], cuts: list[int]) -> None:
    """In any pieces the session gets what the library alone would have given it, and the client the same answers."""
    sent = [frame(Opcode.TEXT, b"x" * one) if isinstance(one, int) else one for one in drawn]
    reference = ServerProtocol(max_size=MOST_BYTES)
    reference.receive_data(REQUEST)
    [request] = reference.events_received()
    assert isinstance(request, Request)
    reference.send_response(reference.accept(request))
    reference.receive_data(b"".join(sent))
    expected: list[tuple[bytes, bool]] = []
    for event in reference.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.CONT:
            expected[-1] = (expected[-1][0] + bytes(event.data), True)
        elif event.opcode in {Opcode.TEXT, Opcode.BINARY}:
            expected.append((bytes(event.data), event.opcode is Opcode.TEXT))
    session, tcp = run_aside(feed(b"".join(sent), cuts))
    assert session.received == expected
    assert tcp.written.endswith(b"".join(reference.data_to_send()[1:]))


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x81\x01x", 1002),  # not masked
        (b"\xc1\x81\x00\x00\x00\x00x", 1002),  # a reserved bit
        (b"\x83\x81\x00\x00\x00\x00x", 1002),  # no such opcode
        (b"\x80\x81\x00\x00\x00\x00x", 1002),  # a continuation of nothing
        (frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"), 1002),  # a text within a text
        (b"\x81\xff" + (MOST_BYTES + 1).to_bytes(8) + b"\x00\x00\x00\x00", 1009),
    ],
    ids=["not masked", "reserved bit", "no such opcode", "continues nothing", "text within a text", "too long"],
)
def test_what_the_protocol_forbids_ends_the_connection(bad: bytes, code: int) -> None:
    """Also behind frames that were taken past the library, and nothing that follows is heard."""
    good = frame(Opcode.TEXT, b"good")
    session, tcp = run_aside(feed(good + good + bad + good, [20]))
    assert session.received == [(b"good", True)] * 2
    assert b"\x88" + bytes([len(tcp.written.rpartition(b"\x88")[2]) - 1]) + code.to_bytes(2) in tcp.written


def test_whole_texts_bypass_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that comes in two pieces is the library's, the next is not."""
    transport, session, _tcp = connect()
    good = frame(Opcode.TEXT, b"x" * 200)
    transport.data_received(REQUEST)
    transport.data_received(good)
    heard: list[bytes] = []
    receive = ServerProtocol.receive_data

    def listen(protocol: ServerProtocol, data: bytes) -> None:
        heard.append(data)
        receive(protocol, data)

    monkeypatch.setattr(ServerProtocol, "receive_data", listen)
    transport.data_received(good * 3)
    assert heard == []
    transport.data_received(good[:50])
    transport.data_received(good[50:])
    assert heard == [good[:50], good[50:]]
    transport.data_received(good)
    assert len(heard) == 2
    assert session.received == [(b"x" * 200, True)] * 6
    assert len(good) * 3 < SLICE_BYTES


def test_a_message_of_too_many_fragments_ends_the_connection() -> None:
    """However small they are: each costs memory."""
    transport, session, tcp = connect()
    transport.data_received(REQUEST)
    transport.data_received(frame(Opcode.TEXT, b"", fin=False))
    for _ in range(FRAGMENTS):
        transport.data_received(frame(Opcode.CONT, b"", fin=False))
    assert tcp.written.endswith(Frame(Opcode.CLOSE, b"\x03\xf1more than 1024 fragments").serialize(mask=False))
    assert session.received == []


async def test_who_sends_too_fast_is_not_read_for_a_while() -> None:
    """What came meanwhile is dealt with then, also where the session would read on."""
    transport, session, tcp = connect()
    transport.data_received(REQUEST)
    transport.rest(0.05)
    assert not tcp.reading
    transport.pause_reading()
    transport.resume_reading()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not tcp.reading
    await eventually(lambda: tcp.reading)
    transport.data_received(frame(Opcode.TEXT, b"now"))
    assert session.received == [(b"now", True)]


def test_who_does_not_answer_pings_is_given_up() -> None:
    """The third time; anything that is heard counts for an answer."""
    transport, _session, tcp = connect()
    transport.data_received(REQUEST)
    for heard in (True, False):
        transport.ping()
        transport.ping()
        if heard:
            transport.data_received(frame(Opcode.TEXT, b"here"))
    assert not tcp.closed
    transport.ping()
    assert tcp.closed


async def test_while_nothing_is_read_no_answer_is_expected() -> None:
    """It would lie behind what waits: a client that answers is never given up."""
    transport, _session, tcp = connect()
    transport.data_received(REQUEST)
    transport.pause_reading()
    written = tcp.written
    for _ in range(5):
        transport.ping()
    assert (tcp.closed, tcp.written) == (False, written)
    transport.resume_reading()
    transport.ping()
    assert tcp.written != written


def test_who_is_waited_for_is_given_up_like_any_other() -> None:
    """Nothing is read from it because it takes nothing: a client that is gone would hold its session for ever."""
    transport, _session, tcp = connect()
    transport.data_received(REQUEST)
    tcp.unsent = 1_000_000
    transport.pause_reading()
    for _ in range(3):
        transport.ping()
    assert tcp.closed
