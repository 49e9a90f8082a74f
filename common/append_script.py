"""Hop 3 of 9: the append script as it is asked; from common/append_lane.py, to common/append.lua.

Owns what append.lua is told (its arguments, with the StoreLimits among them) and what its answer means (Appended, or
why nothing was stored). It promises that every append carries a ref: the sender's, or one of our own.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson
from redis.exceptions import OutOfMemoryError, RedisError

from common import ids, keys
from common.envelope import User
from common.errors import Overloaded, RefReused, Unavailable
from common.scripts import room_script
from common.shards import Shards

KEYS: Final = 5  # so many of the arguments, the first, are keys
APPEND_BYTES: Final = 512  # about what an append takes besides its messages
DIGEST_BYTES: Final = 8  # of contents: they only have to differ from others of the same user, room and ref
REUSED: Final = 2  # the script's word for a ref that is known with other contents
OWN_REF_SECONDS: Final = 30  # at least: our own refs guard our own retries, which end with the append's deadline


@dataclass(slots=True, frozen=True)
class StoreLimits:
    """How much of a log is kept, and for how long an append is tried."""

    max_messages: int = 10_000
    max_age_s: int = 604_800
    room_ttl_s: int = 604_800
    ref_window_s: int = 300
    append_timeout_s: float = 5.0
    append_queue: int = 10_000
    append_queue_bytes: int = 67_108_864


@dataclass(slots=True)
class Appended:
    """Where the messages of one append stand: consecutive from `first_seq`, an id each."""

    epoch: int
    first_seq: int
    ids: list[str]
    repeat: bool = field(default=False, compare=False)  # the ref was known: this is the first answer

    @classmethod
    def parse(cls, ack: bytes, *, repeat: bool) -> Self:
        """Read the script's `<epoch> <first seq> <id> <id> ...`."""
        epoch, first_seq, *found = ack.decode("ascii").split(" ")
        return cls(int(epoch), int(first_seq), found, repeat=repeat)


class AppendScript:
    """append.lua with the limits of this store."""

    def __init__(self, shards: Shards, limits: StoreLimits) -> None:
        self.text = room_script("append.lua")
        self._shards = shards
        self._limits = limits
        self._refs = ids.Refs()
        self._own_ref_s = max(OWN_REF_SECONDS, int(limits.append_timeout_s * 2))

    def arguments(
        self, room: str, user: User, contents: list[str], ref: str | None, *, forward: bool
    ) -> tuple[tuple[Any, ...], int]:
        """Return the script's keys and values, in its order, and about how many bytes they take."""
        limits = self._limits
        shard = self._shards.of(room)
        room_keys = keys.room_keys(shard, room)
        key_ref = ref if ref is not None else self._refs.new()
        arguments: list[Any] = [
            room_keys.stream,
            room_keys.meta,
            room_keys.nodes,
            room_keys.outbox,
            keys.ref(shard, room, user.id, key_ref),
            room_keys.channel,
            room,
            user.id,
            user.username,
            key_ref,
            limits.ref_window_s if ref is not None else self._own_ref_s,
            1 if forward else 0,
            limits.max_messages,
            limits.max_age_s * 1000,
            limits.room_ttl_s,
            user.to_json(),
        ]
        written = [orjson.dumps(content) for content in contents]
        return (*arguments, *written, digest_of(written)), APPEND_BYTES + sum(map(len, written))


def digest_of(contents: list[bytes]) -> str:
    """Return what tells contents (JSON, which holds no line end) from others under the same ref."""
    return hashlib.blake2b(b"\n".join(contents), digest_size=DIGEST_BYTES).hexdigest()


def fault_in(answer: Any) -> Overloaded | Unavailable | RefReused | None:  # noqa: ANN401 - whatever the script returned or raised
    """Return why an append was refused; None if it was not, and the answer is what append.lua says that it returns."""
    if isinstance(answer, OutOfMemoryError) or "-OOM " in str(answer):  # the latter is how Redis 6.2 tells of a script
        return Overloaded("Redis is full; nothing was stored")
    if isinstance(answer, RedisError):
        return Unavailable(f"Redis refused the message ({answer})")
    return RefReused() if answer[0] == REUSED else None
