"""Hop 6 of 9: the PushMsg records of sends, pushes and broadcasts; from logic/service.py, to logic/producer.py. Pure.

A room's record is keyed by the room, so that all of a room go to one partition in order. A user's push is keyed by the
user and every broadcast by the same word, so that these keep their order too.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from common.errors import TooLarge
from common.store import Appended
from logic.models import Broadcast, Push, Send
from protos.job_pb2 import PushMsg

OPERATION = 4  # of every message that clients get
BROADCAST_KEY = b"broadcast"
# Tells our ids of pushes from anybody else's UUIDs made of the same ref.
_NAMESPACE = uuid.UUID("5b8f4b3e-9a1c-4d0e-8d67-2f2a51c0c8aa")

Messages = list[dict[str, Any]]


@dataclass(slots=True, frozen=True)
class ProducerRecord:
    """What goes into Kafka."""

    key: bytes
    value: bytes


def of_comet(send: Send, most_bytes: int) -> list[ProducerRecord]:
    """Return the records of a send whose messages are in the room's log already; raise TooLarge."""
    user = {"id": send.user_id, "username": send.user_name}
    messages = [
        {"id": one.id, "seq": one.seq, "timestamp": one.timestamp, "content": one.content, "user": user}
        for one in send.messages
    ]
    return _of_room(send.room_id, send.messages[0].epoch or 0, messages, most_bytes)


def of_backend(send: Send, appended: Appended, most_bytes: int) -> list[ProducerRecord]:
    """Return the records of a send that was just appended; raise TooLarge."""
    user = {"id": send.user_id, "username": send.user_name}
    messages = [
        {"id": one, "seq": seq, "timestamp": timestamp_of(one), "content": message.content, "user": user}
        for seq, (one, message) in enumerate(zip(appended.ids, send.messages, strict=True), appended.first_seq)
    ]
    return _of_room(send.room_id, appended.epoch, messages, most_bytes)


def of_log(room: str, epoch: int, stored: Sequence[bytes], most_bytes: int) -> list[ProducerRecord]:
    """Return the records of consecutive messages as their log holds them, one JSON each; raise TooLarge."""
    return _of_room(room, epoch, [orjson.loads(one) for one in stored], most_bytes)


def timestamp_of(message_id: str) -> int:
    """Return the ms part of a message's id."""
    return int(message_id.partition("-")[0])


def _of_room(room: str, epoch: int, messages: Messages, most_bytes: int) -> list[ProducerRecord]:
    """One record, or several where one would be larger than Kafka takes."""
    frame = {"type": "serverMessages", "payload": {"roomId": room, "epoch": epoch, "messages": messages}}
    message = PushMsg(
        type=PushMsg.ROOM,
        operation=OPERATION,
        room=room,
        msg=orjson.dumps(frame),
        epoch=epoch,
        first_seq=messages[0]["seq"],
        count=len(messages),
    )
    value = message.SerializeToString()
    if len(value) <= most_bytes:
        return [ProducerRecord(room.encode(), value)]
    half = len(messages) // 2
    if not half:
        raise TooLarge(f"a message must fit into {most_bytes} bytes for Kafka", field="messages")
    return _of_room(room, epoch, messages[:half], most_bytes) + _of_room(room, epoch, messages[half:], most_bytes)


def of_push(push: Push, push_id: str, partition_of: Callable[[bytes], int], most_bytes: int) -> list[ProducerRecord]:
    """Return one record a partition, each with an id of its own: nodes tell repeats by it, whoever they are for."""
    users: dict[int, list[str]] = {}
    for user in dict.fromkeys(push.user_ids):
        users.setdefault(partition_of(user.encode()), []).append(user)
    frame = text(push.body)
    return [
        _of_all(keys[0].encode(), most_bytes, type=PushMsg.PUSH, keys=keys, msg=frame, id=_id_of(push_id, partition))
        for partition, keys in users.items()
    ]


def of_broadcast(broadcast: Broadcast, push_id: str, most_bytes: int) -> ProducerRecord:
    """Return the record of a broadcast; raise TooLarge."""
    body = text(broadcast.body)
    return _of_all(BROADCAST_KEY, most_bytes, type=PushMsg.BROADCAST, speed=broadcast.speed, msg=body, id=push_id)


def _of_all(key: bytes, most_bytes: int, **fields: Any) -> ProducerRecord:  # noqa: ANN401 - PushMsg's fields, which it checks
    value = PushMsg(operation=OPERATION, **fields).SerializeToString()
    if len(value) > most_bytes:
        raise TooLarge(f"body must fit into {most_bytes} bytes for Kafka", field="body")
    return ProducerRecord(key, value)


def text(body: str | dict[str, Any]) -> bytes:
    """Return the frame that clients get."""
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def contents_of(push: Push | Broadcast) -> bytes:
    """Return all of a push but its ref, as JSON that is the same for the same push."""
    return orjson.dumps(push.model_dump(exclude={"ref"}), option=orjson.OPT_SORT_KEYS)


def push_id_of(kind: str, ref: str) -> str:
    """Return the id that tells a push or broadcast from its repeats: the same for the same ref."""
    return uuid.uuid5(_NAMESPACE, f"{kind}:{ref}").hex


def _id_of(push_id: str, partition: int) -> str:
    return uuid.uuid5(_NAMESPACE, f"{push_id}:{partition}").hex
