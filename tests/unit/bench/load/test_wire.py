"""WebSocket by hand, held against the library."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from bench.load import wire


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_are_those_of_the_library(size: int) -> None:
    """A server's frame of any size; its end is found once all of it is there."""
    text = b"x" * size
    made = wire.frame(text)
    assert made == Frame(Opcode.TEXT, text).serialize(mask=False)
    assert wire.frame_end(b"??" + made + b"?", 2) == 2 + len(made)
    assert wire.frame_end(made[:-1] if size else made[:1]) == 0
    masked = wire.frame(text, masked=True)
    assert wire.frame_end(masked) == len(masked)


def test_the_handshake_is_accepted() -> None:
    """The library takes our request, answers as our constant answer does, and reads our masked frames."""
    server = ServerProtocol()
    server.receive_data(wire.request("/?rooms=r"))
    (request,) = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]  # the first event is the request
    (answer,) = server.data_to_send()
    assert f"Sec-WebSocket-Accept: {wire.ACCEPT}".encode() in answer
    assert f"Sec-WebSocket-Accept: {wire.ACCEPT}".encode() in wire.ANSWER
    server.receive_data(wire.frame(b"hello", masked=True))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert frame.data == b"hello"


def test_a_send_is_marked_anew_each_time() -> None:
    """Every message of the frame has the mark of the moment, and the frame keeps its size."""
    sends = wire.Sends("room", burst=3, content_bytes=40)
    first, second = bytes(sends.now()), bytes(sends.now())
    found = [[int(sent[at + 4 : at + 4 + wire.DIGITS]) for at in wire.marks(sent)] for sent in (first, second)]
    assert [len(one) for one in found] == [3, 3]
    assert len(set(found[0])) == len(set(found[1])) == 1
    assert found[0][0] < found[1][0]
    assert len(first) == len(second)
