"""Hop 7 of 9: the pending record, decoded and accounted for; from job/consumer.py, to job/dispatcher.py. Pure.

It holds what the record asks for, how many nodes still work on it and how it ended. It is finished when the last of
these nodes has it or was given up. Only then may its offset be committed.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from common.errors import BadRequest
from protos.job_pb2 import PushMsg
from protos.protocol_pb2 import Proto

# What can become of a record; where nodes differ the worst counts, and that is the greatest.
OFFLINE: Final = 0  # it was for nobody who is online
PUSHED: Final = 1
REFUSED: Final = 2  # a node will never take it
ABANDONED: Final = 3  # a node did not take it in time
DEAD_LETTER: Final = 4  # nobody can read it

PUSH, ROOM, BROADCAST = PushMsg.PUSH, PushMsg.ROOM, PushMsg.BROADCAST
MOST_BYTES: Final = 15 * 1024 * 1024  # Comet takes 16 MiB
_VERSION: Final = 1


class KafkaRecord(Protocol):
    """A record as it comes from Kafka: the fields of aiokafka's that Job reads."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def _id_of(source: KafkaRecord) -> str:
    """Make an id for what another implementation gave neither id nor position: its repeats stand where it stands.

    The timestamp tells it from what stood there before the topic was made anew.
    """
    return f"{source.topic}/{source.partition}/{source.offset}@{source.timestamp}"


class PendingRecord:
    """One record of Kafka, and after `decode` the push that it asks for."""

    __slots__ = (
        "_finished",
        "keys",
        "offset",
        "operation",
        "outstanding",
        "proto",
        "result",
        "room",
        "server",
        "size_bytes",
        "speed",
        "timestamp_ms",
        "type",
    )

    type: int
    operation: int
    speed: int
    server: str
    room: str
    keys: list[str]

    def __init__(
        self, offset: int, timestamp_ms: int, size_bytes: int, finished: "Callable[[PendingRecord], None]"
    ) -> None:
        self.offset = offset
        self.timestamp_ms = timestamp_ms
        self.size_bytes = size_bytes
        self._finished = finished  # told once, when nobody works on it any more
        self.outstanding = 1  # whoever read it, until it is given to those that it is for
        self.result = OFFLINE
        self.proto: Proto | None = None  # what Comet gets; let go of with the last push

    def decode(self, source: KafkaRecord) -> str:
        """Read the PushMsg and return its text; raise BadRequest if it is none, or none that can be pushed."""
        if not source.value:
            raise BadRequest("the record is empty", field="value")
        if len(source.value) > MOST_BYTES:
            raise BadRequest(f"the record is larger than the {MOST_BYTES} bytes that can be pushed", field="value")
        try:
            message = PushMsg.FromString(source.value)
            body = message.msg.decode()
        except DecodeError as e:
            raise BadRequest(f"not a PushMsg: {e}", field="value") from None
        except UnicodeDecodeError as e:
            raise BadRequest(f"msg is not UTF-8: {e}", field="msg") from None
        self._check(message)
        self.operation, self.speed, self.server = message.operation, message.speed, message.server
        epoch, first_seq, push_id = message.epoch, message.first_seq, message.id
        self.proto = Proto(
            ver=_VERSION,
            op=message.operation,
            body=body,
            epoch=epoch,
            first_seq=first_seq,
            count=message.count,
            id=push_id if push_id or first_seq else _id_of(source),
        )
        return body

    def _check(self, message: PushMsg) -> None:
        self.type, self.room, self.keys = message.type, message.room, []
        if self.type == PUSH:
            self.keys = list(message.keys)
            if not self.keys:
                raise BadRequest("a PUSH without keys", field="keys")
        elif self.type == ROOM:
            if not self.room:
                raise BadRequest("a ROOM without room", field="room")
        elif self.type != BROADCAST:
            raise BadRequest(f"unknown type {self.type}", field="type")

    def give_to(self, count: int) -> None:
        """Say how many nodes it goes to now; each settles it once. To none: it is finished."""
        self.outstanding = count
        if not count:
            self._finished(self)

    def settle(self, result: int) -> None:
        """Say what became of it at one of those that it was given to."""
        self.result = max(self.result, result)
        self.outstanding -= 1
        if not self.outstanding:
            self._finished(self)
