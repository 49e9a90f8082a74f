"""WebSocket by hand, as much as the load generator and the bare server need: bytes made once, and found by searching.

A message that is measured carries a mark in its content, MARK and the sender's clock (19 digits of CLOCK_MONOTONIC in
ns, one clock for all programs of the machine), so a receiver needs no parser to count messages and to take their age.
"""

import base64
import hashlib
import struct
import time
from typing import Final

import orjson

KEY: Final = base64.b64encode(bytes(16)).decode()  # of every client: a server can't tell, and needs no random bytes
ACCEPT: Final = base64.b64encode(
    hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
).decode()  # RFC 6455, 4.2.2
DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"  # what browsers offer
ANSWER: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()
MARK: Final = b"~at~"
DIGITS: Final = 19
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)  # masking with zeros changes nothing, so what is sent can be searched as well
_SHORT, _LONG = 126, 65_536  # payload lengths from which the length takes 2 and 8 more bytes


def request(path: str, *, deflate: bool = False) -> bytes:
    """Return the opening handshake of a client."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{DEFLATE if deflate else ''}\r\n"
    ).encode()


def frame(payload: bytes, *, opcode: int = TEXT, masked: bool = False) -> bytes:
    """Return one whole frame, as a server sends it or (masked) a client."""
    size, mask = len(payload), _MASKED if masked else 0
    if size < _SHORT:
        head = struct.pack("!BB", opcode, mask | size)
    elif size < _LONG:
        head = struct.pack("!BBH", opcode, mask | 126, size)
    else:
        head = struct.pack("!BBQ", opcode, mask | 127, size)
    return head + (_NO_MASK if masked else b"") + payload


def frame_end(unread: bytes | bytearray, at: int = 0) -> int:
    """Return where the frame that begins at `at` ends, a server's or a client's; 0 while not all of it is there."""
    if len(unread) < at + 2:
        return 0
    size, begin = unread[at + 1] & ~_MASKED, at + 2
    if size >= _SHORT:
        begin = at + (4 if size == _SHORT else 10)
        size = int.from_bytes(unread[at + 2 : begin], "big")
    if unread[at + 1] & _MASKED:
        begin += len(_NO_MASK)
    return begin + size if len(unread) >= begin + size else 0


def stamp() -> bytes:
    """Return the mark of this moment."""
    return b"%b%019d" % (MARK, time.monotonic_ns())


class Sends:
    """`clientMessages` frames of so many messages, made once; only the marks in them change."""

    def __init__(self, room: str, burst: int, content_bytes: int) -> None:
        self.burst = burst
        content = (MARK + b"0" * DIGITS).ljust(content_bytes, b".").decode()
        payload = {"roomId": room, "messages": [{"content": content}] * burst}
        self._frame = bytearray(frame(orjson.dumps({"type": "clientMessages", "payload": payload}), masked=True))
        self._at = marks(self._frame)

    def now(self) -> bytearray:
        """Return the frame, marked with this moment."""
        mark = stamp()
        for at in self._at:
            self._frame[at : at + len(mark)] = mark
        return self._frame


def marks(text: bytes | bytearray) -> list[int]:
    """Return where the marks are."""
    found: list[int] = []
    at = text.find(MARK)
    while at >= 0:
        found.append(at)
        at = text.find(MARK, at + len(MARK))
    return found
