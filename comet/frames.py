"""Hop 2 of 9: the frames of the client protocol, read and written as text; for comet/session.py. Pure.

No function here does I/O. Every text frame that Comet sends is made here. Only the text of a raw push is its sender's.
A frame that can't be read raises BadRequest, UnknownType or TooLarge, which names the field
and the limit.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from common import ids
from common.errors import BadRequest, ChatError, TooLarge, UnknownType
from common.positions import Position

try:
    from websockets.speedups import apply_mask
except ImportError:  # where its wheel has no C code
    from websockets.utils import apply_mask

TYPES = frozenset(("hello", "ping", "joinRoom", "leaveRoom", "clientMessages", "requestRoomHistory", "requestPresence"))
MAX_SEQ = 2**53  # what a JavaScript client can count to
# RFC 6455, 5.2: a whole text frame begins with FIN and opcode 1; the length of its payload takes 1, 3 or 9 bytes.
TEXT_FRAME = 0x81
SHORT_BYTES, MEDIUM_BYTES = 126, 65_535
MASKED = 0x80
PONG = b'{"type":"pong","payload":{}}'


@dataclass(slots=True, frozen=True)
class Limits:
    """How large a client's messages may be."""

    content_bytes: int
    messages: int


def load(text: bytes | None) -> dict[str, Any]:
    """Return a frame as an object, unchecked; None is one that is not text."""
    if text is None:
        raise BadRequest("frames must be text")
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise BadRequest(f"a frame must be JSON text: {e}") from None
    if not isinstance(frame, dict):
        raise BadRequest("a frame must be a JSON object with type and payload")
    return frame


def parse(frame: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a frame's type and payload."""
    kind, payload = frame.get("type"), frame.get("payload", {})
    if not isinstance(kind, str):
        raise BadRequest("type must be a string", field="type")
    if kind not in TYPES:
        raise UnknownType(f"type {kind[:40]!r} is unknown; known are {', '.join(sorted(TYPES))}", field="type")
    if not isinstance(payload, dict):
        raise BadRequest("payload must be an object", field="payload")
    return kind, payload


def ref_of(frame: dict[str, Any]) -> str | None:
    """Return the ref in a frame's payload, if it has one."""
    payload = frame.get("payload")
    value = payload.get("ref") if isinstance(payload, dict) else None
    return None if value is None else ids.ref(value)


def cost_of(frame: dict[str, Any]) -> int:
    """Return how many messages a frame counts for: each that it carries, and one if none."""
    payload = frame.get("payload")
    messages = payload.get("messages") if isinstance(payload, dict) else None
    return max(1, len(messages)) if isinstance(messages, list) else 1


def room_of(payload: dict[str, Any]) -> str:
    """Return the payload's room id."""
    return ids.room_id(payload.get("roomId"))


def since_of(payload: dict[str, Any]) -> Position | None:
    """Return the position to resume from, if the payload has one."""
    since = payload.get("since")
    if since is None:
        return None
    if not isinstance(since, dict):
        raise BadRequest("since must be an object with epoch and seq", field="since")
    return Position(_count(since.get("epoch"), "since.epoch"), _count(since.get("seq"), "since.seq"))


def contents_of(payload: dict[str, Any], limits: Limits) -> list[str]:
    """Return the contents of a clientMessages payload: its `content`, or those of its `messages`."""
    if "messages" not in payload:
        return [_content(payload.get("content"), "content", limits)]
    messages = payload["messages"]
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message", field="messages")
    if len(messages) > limits.messages:
        raise TooLarge(f"messages must hold at most {limits.messages} messages", field="messages")
    return [
        _content(one.get("content") if isinstance(one, dict) else None, f"messages[{i}].content", limits)
        for i, one in enumerate(messages)
    ]


def history_of(payload: dict[str, Any], most: int) -> tuple[str | None, int]:
    """Return which message a history page ends before (None: the newest page) and how many messages it holds."""
    before, limit = payload.get("firstMessageId"), payload.get("limit", most)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise BadRequest(f"limit must be a number from 1 to {most}", field="limit")
    return None if before is None else ids.message_id(before, "firstMessageId"), limit


def watch_of(payload: dict[str, Any]) -> bool | None:
    """Return whether the client wants to be told of changes, or None if it does not say."""
    watch = payload.get("watch")
    if watch is not None and not isinstance(watch, bool):
        raise BadRequest("watch must be true or false", field="watch")
    return watch


def _content(value: object, field: str, limits: Limits) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{field} must be a string that is not empty", field=field)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadRequest(f"{field} holds a character that is not valid Unicode", field=field) from None
    if size > limits.content_bytes:
        raise TooLarge(f"{field} must hold at most {limits.content_bytes} bytes of UTF-8", field=field)
    return value


def _count(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEQ:
        raise BadRequest(f"{field} must be a whole number from 0 on", field=field)
    return value


def websocket(payload: bytes) -> bytes:
    """Return the text as a WebSocket frame, ready to be written."""
    size = len(payload)
    if size < SHORT_BYTES:
        return b"\x81%c%b" % (size, payload)
    if size <= MEDIUM_BYTES:
        return b"\x81\x7e%b%b" % (size.to_bytes(2), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8), payload)


def take_text(data: bytes, begin: int, most: int) -> tuple[bytes, int] | None:
    """Return the text of the client's frame at `begin` and where the next one begins.

    None where there is none that is whole, unfragmented and of at most `most` (less than 64 KiB) bytes: that is for the
    library, which takes six times as long.
    """
    if len(data) < begin + 8 or data[begin] != TEXT_FRAME:
        return None
    size, start = data[begin + 1] - MASKED, begin + 6
    if size == SHORT_BYTES:
        size, start = data[begin + 2] << 8 | data[begin + 3], begin + 8
    end = start + size
    if size < 0 or size > most or data[begin + 1] == MASKED | 0x7F or end > len(data):
        return None
    return apply_mask(data[start:end], data[start - 4 : start]), end


def json_text(text: str) -> bytes:
    """Return a string as JSON."""
    return orjson.dumps(text)


def error(fault: ChatError, ref: str | None) -> bytes:
    """Return the error frame's text."""
    payload: dict[str, Any] = {"code": fault.code, "message": fault.message, "ref": ref}
    if fault.retry_after_ms is not None:
        payload["retryAfterMs"] = fault.retry_after_ms
    return _frame("error", payload)


def left(room_id: str) -> bytes:
    """Return the left frame's text."""
    return _frame("left", {"roomId": room_id})


def ack(ref: str | None, room_id: str, epoch: int, first_seq: int, message_ids: list[str]) -> bytes:
    """Return the ack frame's text for consecutive messages from `first_seq` on."""
    messages = ",".join(
        [
            f'{{"id":"{one}","seq":{seq},"timestamp":{one.partition("-")[0]}}}'
            for seq, one in enumerate(message_ids, first_seq)
        ]
    )
    return b'{"type":"ack","payload":{"ref":%b,"roomId":%b,"epoch":%d,"messages":[%b]}}' % (
        orjson.dumps(ref),
        orjson.dumps(room_id),
        epoch,
        messages.encode(),
    )


def server_messages(room_json: bytes, epoch: int, messages: bytes) -> bytes:
    """Return the serverMessages frame's text around messages' JSON."""
    return b'{"type":"serverMessages","payload":{"roomId":%b,"epoch":%d,"messages":[%b]}}' % (
        room_json,
        epoch,
        messages,
    )


def hello_room(room_json: bytes, position: Position, messages: bytes, *, tail: Position, more: bool) -> bytes:
    """Return one room of a hello. Messages up to `tail` that are not in it follow as serverMessages."""
    head = b'{"id":%b,"name":%b,"epoch":%d,"seq":%d,' % (room_json, room_json, position.epoch, position.seq)
    flag = b"true" if more else b"false"
    return head + b'"tail":%b,"messages":[%b],"hasMoreMessages":%b}' % (_position(tail), messages, flag)


def hello(me: bytes, node: str, limits: bytes, rooms: list[bytes]) -> bytes:
    """Return the hello frame's text around the JSON of the user, of the session's limits and of the rooms."""
    head = b'{"type":"hello","payload":{"me":%b,"node":"%b","limits":%b,' % (me, node.encode(), limits)
    return head + b'"rooms":[%b]}}' % b",".join(rooms)


def joined(  # noqa: PLR0913 - one for each field
    room_json: bytes, position: Position, messages: bytes, online: int, *, tail: Position, recovered: bool
) -> bytes:
    """Return the joined frame's text. Messages up to `tail` that are not in it follow as serverMessages."""
    flag = b"true" if recovered else b"false"
    head = b'{"roomId":%b,"epoch":%d,"seq":%d,"tail":%b,' % (room_json, position.epoch, position.seq, _position(tail))
    rest = b'"recovered":%b,"messages":[%b],"onlineCount":%d}' % (flag, messages, online)
    return b'{"type":"joined","payload":%b%b}' % (head, rest)


def room_history(room_json: bytes, epoch: int, messages: bytes, *, more: bool) -> bytes:
    """Return the roomHistory frame's text."""
    flag = b"true" if more else b"false"
    return b'{"type":"roomHistory","payload":{"roomId":%b,"epoch":%d,"messages":[%b],"hasMoreMessages":%b}}' % (
        room_json,
        epoch,
        messages,
        flag,
    )


def presence(room_json: bytes, online: int, users: list[tuple[str, str]]) -> bytes:
    """Return the presence frame's text."""
    listed = orjson.dumps([{"id": user_id, "username": username} for user_id, username in users])
    return b'{"type":"presence","payload":{"roomId":%b,"onlineCount":%d,"users":%b}}' % (room_json, online, listed)


def _position(position: Position) -> bytes:
    return b'{"epoch":%d,"seq":%d}' % (position.epoch, position.seq)


def _frame(kind: str, payload: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "payload": payload})
