"""Ids: what makes a valid one, and how new ones are made. Pure.

Rooms and users are named by the client, so their limits live here and nowhere else.
"""

import itertools
import re
import uuid
import zlib

from common.errors import BadRequest

ROOM_ID_CHARS = 128
USER_ID_CHARS = 128
USERNAME_CHARS = 64
REF_CHARS = 128

# No comma (lists of rooms are split by it), no white space, no control characters.
_ROOM_ID = re.compile(rf"[^\s,\x00-\x1f\x7f]{{1,{ROOM_ID_CHARS}}}")
_MESSAGE_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def room_id(value: object, field: str = "roomId") -> str:
    """Return the value if it is a room id; raise BadRequest naming the field if not."""
    if not isinstance(value, str) or not _ROOM_ID.fullmatch(value):
        raise BadRequest(
            f"{field} must be a string of 1 to {ROOM_ID_CHARS} characters without spaces or commas", field=field
        )
    return _encodable(value, field)


def user_id(value: object, field: str = "userId") -> str:
    """Return the value as a user id (an integer becomes a string); raise BadRequest naming the field if it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= USER_ID_CHARS or _CONTROL.search(value):
        raise BadRequest(f"{field} must be a string or an integer of 1 to {USER_ID_CHARS} characters", field=field)
    return _encodable(value, field)


def username(value: object, field: str = "userName") -> str:
    """Return the value if it is a name to show; raise BadRequest naming the field if not."""
    if not isinstance(value, str) or not 1 <= len(value) <= USERNAME_CHARS or _CONTROL.search(value):
        raise BadRequest(f"{field} must be a string of 1 to {USERNAME_CHARS} characters", field=field)
    return _encodable(value, field)


def ref(value: object, field: str = "ref") -> str:
    """Return the value if it can be an idempotency key; raise BadRequest naming the field if not."""
    if not isinstance(value, str) or not 1 <= len(value) <= REF_CHARS:
        raise BadRequest(f"{field} must be a string of 1 to {REF_CHARS} characters", field=field)
    return _encodable(value, field)


def message_id(value: object, field: str = "id") -> str:
    """Return the value if it looks like `1635724800123-0`; raise BadRequest naming the field if not."""
    if not isinstance(value, str) or not _MESSAGE_ID.fullmatch(value):
        raise BadRequest(f"{field} must be a message's id such as 1635724800123-0", field=field)
    return value


def _encodable(value: str, field: str) -> str:
    """JSON can smuggle in lone surrogates, which no UTF-8 holds."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{field} holds a character that is not valid Unicode", field=field) from None
    return value


def shard_of(room: str, shards: int) -> int:
    """Return the shard that holds a room's keys: the same for every service, forever."""
    return zlib.crc32(room.encode()) % shards


def new_incarnation() -> str:
    """Return a fresh name for a node's life."""
    return uuid.uuid4().hex


class Refs:
    """Makes refs that no other Refs object makes: a random part once, then a counter, which costs next to nothing."""

    def __init__(self) -> None:
        self._prefix = f"~{uuid.uuid4().hex[:16]}-"
        self._counter = itertools.count()

    def new(self) -> str:
        """Return a ref that was never returned before, by anyone."""
        return f"{self._prefix}{next(self._counter)}"
