r"""The envelope: a message as text, in each of the shapes that it takes on its way. Pure.

A message's JSON is put together once, by append.lua, and from there on only joined with others, never parsed:

    message   {"id": ..., "seq": ..., "timestamp": ..., "content": ..., "user": {"id": ..., "username": ...}}
    body      the part that the sender determines: "content": ..., "user": {...}}
    burst     what PubSub carries: "<epoch> <first seq> <count>\n" and the messages' JSON, joined by commas
    frame     {"type": "serverMessages", "payload": {"roomId": ..., "epoch": ..., "messages": [...]}}
"""

from dataclasses import dataclass
from typing import Any

import orjson

from common.errors import BadRequest


@dataclass(slots=True, frozen=True)
class User:
    """Who sent a message."""

    id: str
    username: str

    def to_json(self) -> bytes:
        """Return the user as a message carries it."""
        return orjson.dumps({"id": self.id, "username": self.username})


@dataclass(slots=True)
class Burst:
    """Consecutive messages of one room: `count` of them from (`epoch`, `first_seq`) on, as JSON joined by commas."""

    epoch: int
    first_seq: int
    count: int
    messages: bytes

    @property
    def last_seq(self) -> int:
        """The seq of the last message."""
        return self.first_seq + self.count - 1

    def after(self, seq: int) -> "Burst":
        """Return the messages behind `seq`, which lies inside the burst. Raises ValueError for a wrong count."""
        parts = split(self.messages)
        if len(parts) != self.count:
            raise ValueError(f"{len(parts)} messages where {self.count} were announced")
        parts = parts[seq - self.first_seq + 1 :]
        return Burst(self.epoch, seq + 1, len(parts), b",".join(parts))


def message(message_id: bytes, seq: int, body_json: bytes) -> bytes:
    """Return a message's JSON from its entry in the stream; the timestamp is the ms part of its id."""
    return b'{"id":"%b","seq":%d,"timestamp":%b,%b' % (message_id, seq, message_id.partition(b"-")[0], body_json)


def parse_burst(payload: bytes) -> Burst:
    """Read what PubSub carries; raise ValueError for anything else."""
    head, _, messages = payload.partition(b"\n")
    epoch, first_seq, count = head.split(b" ")
    return Burst(int(epoch), int(first_seq), int(count), messages)


def messages_of(frame_text: bytes | str, first_seq: int) -> bytes:
    """Return the messages' JSON inside a serverMessages frame.

    Raises BadRequest if it is no such frame, or the messages' seqs do not count up from `first_seq`.
    """
    try:
        found: Any = orjson.loads(frame_text)["payload"]["messages"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise BadRequest("body must be a serverMessages frame where it has a position", field="body")
    if any(one.get("seq") != seq for seq, one in enumerate(found, first_seq)):
        raise BadRequest(f"the seqs in body must count up from {first_seq}, its position", field="body")
    return b",".join(orjson.dumps(one) for one in found)


def split(messages: bytes) -> list[bytes]:
    """Return the single messages' JSON again (only where a burst has to be cut: this parses)."""
    return [orjson.dumps(one) for one in orjson.loads(b"[%b]" % messages)]
