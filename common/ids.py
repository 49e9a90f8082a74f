"""Ids: what makes a valid one, and how new ones are made. Pure.

Rooms and users are named by clients, so the rules for ids and names live here and nowhere else. An id means the same
to every reader: NFC, no control or invisible character. It is taken as it is or refused, never changed. A name to show
is normalized instead. The `stored_` checks are the rules of earlier versions: for what was accepted under them.
"""

import itertools
import re
import unicodedata
import uuid
import zlib
from functools import lru_cache

from common.characters import CONTROL, INVISIBLE, JOINERS, SURROGATES, described
from common.errors import BadRequest

ROOM_ID_CHARS = 128
USER_ID_CHARS = 128
USERNAME_CHARS = 64
REF_CHARS = 128

_ASCII_ROOM_ID = re.compile(rf"[!-+\--~]{{1,{ROOM_ID_CHARS}}}")  # printable, no comma: needs no further check
_UNSEEN = f"{CONTROL}{SURROGATES}{INVISIBLE}"
_NOT_IN_ROOM_ID = re.compile(rf"[\s,{_UNSEEN}{JOINERS}]")  # lists of rooms are split by commas
_NOT_IN_USER_ID = re.compile(rf"[{_UNSEEN}{JOINERS}]|[^\S ]|\A | \Z")
_NOT_IN_NAME = re.compile(rf"[{_UNSEEN}]")
_BLANK_NAME = re.compile(rf"[\s{JOINERS}]*")
_MOST_DECOMPOSED = 4  # characters that NFC makes one of; longer texts are refused before the work of normalizing them

_STORED_ROOM_ID = re.compile(rf"[^\s,\x00-\x1f\x7f]{{1,{ROOM_ID_CHARS}}}")
_MESSAGE_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
_STORED_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def room_id(value: object, field: str = "roomId") -> str:
    """Return the value if it is a room id; raise BadRequest naming the field, and the character that is in the way."""
    if isinstance(value, str) and _ASCII_ROOM_ID.fullmatch(value):
        return value  # almost all, and this is asked for every frame
    if not isinstance(value, str) or not 1 <= len(value) <= ROOM_ID_CHARS:
        raise BadRequest(
            f"{field} must be a string of 1 to {ROOM_ID_CHARS} characters without spaces or commas", field=field
        )
    return _unicode_room_id(value, field)


@lru_cache(maxsize=4096)
def _unicode_room_id(value: str, field: str) -> str:
    _refuse(_NOT_IN_ROOM_ID, value, field, "a room id holds no spaces, commas, control or invisible characters")
    return _composed(value, field)


def user_id(value: object, field: str = "userId") -> str:
    """Return the value as a user id (an integer becomes a string); raise BadRequest as room_id does."""
    text = _user_id_text(value, field)
    _refuse(_NOT_IN_USER_ID, text, field, "a user id holds spaces only inside, no control or invisible characters")
    return _composed(text, field)


def username(value: object, field: str = "userName") -> str:
    """Return the value as a name to show, in NFC and without blanks around it; raise BadRequest as room_id does."""
    if isinstance(value, str) and len(value) <= USERNAME_CHARS * _MOST_DECOMPOSED:
        _refuse(_NOT_IN_NAME, value, field, "a name holds no control or invisible characters")
        name = unicodedata.normalize("NFC", value).strip()
        if len(name) <= USERNAME_CHARS and not _BLANK_NAME.fullmatch(name):
            return name
    raise BadRequest(f"{field} must be a string of 1 to {USERNAME_CHARS} characters, not only blanks", field=field)


def stored_room_id(value: object, field: str = "roomId") -> str:
    """Return the value if a room may be stored under it, also by an earlier version; raise BadRequest if not."""
    if not isinstance(value, str) or not _STORED_ROOM_ID.fullmatch(value):
        raise BadRequest(
            f"{field} must be a string of 1 to {ROOM_ID_CHARS} characters without spaces or commas", field=field
        )
    return _encodable(value, field)


def stored_user_id(value: object, field: str = "userId") -> str:
    """Return the value as a user id if a stored message may carry it; raise BadRequest if not."""
    text = _user_id_text(value, field)
    if _STORED_CONTROL.search(text):
        raise BadRequest(f"{field} must hold no control characters", field=field)
    return _encodable(text, field)


def stored_username(value: object, field: str = "userName") -> str:
    """Return the value if a stored message may carry it as a name; raise BadRequest if not."""
    if not isinstance(value, str) or not 1 <= len(value) <= USERNAME_CHARS or _STORED_CONTROL.search(value):
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


def _user_id_text(value: object, field: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= USER_ID_CHARS:
        raise BadRequest(f"{field} must be a string or an integer of 1 to {USER_ID_CHARS} characters", field=field)
    return value


def _refuse(unwanted: re.Pattern[str], text: str, field: str, rule: str) -> None:
    """Raise BadRequest for the first unwanted character. Positions count characters from 1."""
    if found := unwanted.search(text):
        raise BadRequest(f"{field} holds {described(found[0])} at position {found.start() + 1}; {rule}", field=field)


def _composed(text: str, field: str) -> str:
    """Return the text if it is in NFC; raise BadRequest that names the first character that is not."""
    composed = unicodedata.normalize("NFC", text)
    if composed == text:
        return text
    at = next(i for i, (one, wanted) in enumerate(zip(text, composed, strict=False)) if one != wanted)
    raise BadRequest(
        f"{field} is not in Unicode's form NFC: {described(text[at])} at position {at + 1} "
        f"should be U+{ord(composed[at]):04X}",
        field=field,
    )


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
