"""WebSocket by hand, held against the library."""

import orjson
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
    assert all(wire.frame_end(made[:part]) == 0 for part in range(min(len(made), 5)))
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


def test_a_frame_is_filled_with_its_number_and_the_moment() -> None:
    """Every message of the frame has the mark and the number, the ref is the number, and the frame keeps its size."""
    template = wire.send_template("100%", burst=3, content_bytes=40)
    first, second = (wire.filled(template, 3, number, at_ns) for number, at_ns in ((7, 10**18), (8, 2)))
    assert wire.frame_end(first) == len(first) == len(second)
    payload = orjson.loads(first[first.find(b"{") :])["payload"]
    assert (payload["roomId"], payload["ref"]) == ("100%", f"{7:012d}")
    assert [one["content"] for one in payload["messages"]] == [f"~at~{10**18}{7:012d}....."] * 3
    assert len(wire.marks(second)) == 3
    assert second.count(b"~at~%019d%012d" % (2, 8)) == 3
