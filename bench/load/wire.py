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
DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"  # as browsers offer
ANSWER: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()
MARK: Final = b"~at~"
DIGITS: Final = 19
NUMBER_DIGITS: Final = 12  # of the number of the frame, which stands behind the mark
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
# Nearly all frames of a server are texts of 126 to 65,535 bytes: two bytes that are always the same, and two of length.
HEAD: Final = struct.Struct("!I")
MEDIUM: Final = (TEXT << 8 | 126) << 16
_LENGTH: Final = 0xFFFF
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)  # masking with zeros changes nothing, so that masked frames can be searched
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
    size = len(unread)
    if size >= at + HEAD.size:
        (head,) = HEAD.unpack_from(unread, at)
        if head & ~_LENGTH == MEDIUM:
            end = at + HEAD.size + (head & _LENGTH)
            return end if end <= size else 0
    return _any_frame_end(unread, at)


def _any_frame_end(unread: bytes | bytearray, at: int) -> int:
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


def send_template(room: str, burst: int, content_bytes: int) -> bytes:
    """Return a `clientMessages` frame of `burst` messages, to be filled in by `filled`."""
    number = "0" * NUMBER_DIGITS
    content = (MARK.decode() + "0" * DIGITS + number).ljust(content_bytes, ".")
    payload = {"ref": number, "roomId": room, "messages": [{"content": content}] * burst}
    template = frame(orjson.dumps({"type": "clientMessages", "payload": payload}), masked=True).replace(b"%", b"%%")
    marked = MARK + b"0" * (DIGITS + NUMBER_DIGITS)
    ref = b'"ref":"%b"'
    return template.replace(marked, MARK + b"%019d%012d").replace(ref % number.encode(), ref % b"%012d")


def filled(template: bytes, burst: int, number: int, at_ns: int) -> bytes:
    """Return the frame with that number as its ref, and in each content the mark of that moment and the number."""
    return template % (number, *(at_ns, number) * burst)


def marks(text: bytes | bytearray) -> list[int]:
    """Return where the marks are."""
    found: list[int] = []
    at = text.find(MARK)
    while at >= 0:
        found.append(at)
        at = text.find(MARK, at + len(MARK))
    return found
