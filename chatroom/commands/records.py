"""A Kafka record as people read it: the PushMsg decoded, a dead letter with its reason. Pure."""

import json
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from google.protobuf.message import DecodeError

from chatroom import text
from protos.job_pb2 import PushMsg

SHOWN_BYTES: Final = 200  # of a value that is no PushMsg


class KafkaRecord(Protocol):
    """What is read of a record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """A record and what it carries; `push` is None where it is no PushMsg."""

    source: KafkaRecord
    push: PushMsg | None
    headers: dict[str, str]

    @classmethod
    def read(cls, source: KafkaRecord) -> Self:
        """Decode a record."""
        headers = {name: value.decode(errors="replace") for name, value in source.headers}
        try:
            push = PushMsg.FromString(source.value or b"") if source.value else None
        except DecodeError:
            push = None
        return cls(source, push, headers)

    def line(self) -> str:
        """Return it in one line."""
        source = self.source
        where = f"{text.moment(source.timestamp)}  {source.topic}[{source.partition}]@{source.offset}"
        what = f"not a PushMsg: {_head(source.value)}" if self.push is None else _push(self.push)
        reason = f"  dead letter ({text.plain(self.headers['reason'])})" if "reason" in self.headers else ""
        return f"{where}{reason}  {what}"

    def as_json(self) -> str:
        """Return it as a JSON object in one line; a value that is no PushMsg stands as hex digits."""
        source = self.source
        shown: dict[str, Any] = {
            "topic": source.topic,
            "partition": source.partition,
            "offset": source.offset,
            "timestamp": source.timestamp,
            "key": None if source.key is None else source.key.decode(errors="replace"),
            "headers": self.headers,
            "pushMsg": None if self.push is None else _fields(self.push),
        }
        if self.push is None:
            shown["value"] = (source.value or b"").hex()
        return text.dumps(shown)


def _push(push: PushMsg) -> str:
    target = {PushMsg.ROOM: push.room, PushMsg.PUSH: ",".join(push.keys)}.get(push.type, "everyone")
    if push.count > 1:
        position = f" seq {push.first_seq} to {push.first_seq + push.count - 1}"
    else:
        position = f" seq {push.first_seq}" if push.count else ""
    return f"{_type(push)} to {text.plain(target)}{position}  {_said(push.msg)}"


def _said(msg: bytes) -> str:
    """Return who says what in a frame, or the text itself where it is no frame of messages."""
    try:
        messages = json.loads(msg)["payload"]["messages"]
        said = [f"{one['user']['username'] or one['user']['id']}: {one['content']}" for one in messages]
    except (ValueError, KeyError, TypeError):
        return text.plain(msg.decode(errors="replace"))
    return text.plain(" | ".join(said))


def _fields(push: PushMsg) -> dict[str, Any]:
    """Return all fields by their names, `msg` as JSON where it is any."""
    try:
        msg = json.loads(push.msg)
    except ValueError:
        msg = push.msg.decode(errors="replace")
    target = {"room": push.room, "keys": list(push.keys), "server": push.server}
    position = {"epoch": push.epoch, "firstSeq": push.first_seq, "count": push.count, "id": push.id}
    return {"type": _type(push), "operation": push.operation, "speed": push.speed, **target, **position, "msg": msg}


def _type(push: PushMsg) -> str:
    """Return the type's name; another implementation may know more of them."""
    return PushMsg.Type.Name(push.type) if push.type in PushMsg.Type.values() else f"type {push.type}"


def _head(value: bytes | None) -> str:
    if not value:
        return "empty"
    shown = repr(value[:SHOWN_BYTES])[2:-1]
    return f"{shown}... ({len(value)} bytes)" if len(value) > SHOWN_BYTES else shown
