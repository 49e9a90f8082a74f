"""Frames as text: `{"type": ..., "payload": {...}}`. Pure.

`parse` checks the fields of each frame type, because an operator can push any text to every client. orjson encodes and
decodes where it is installed, the standard library elsewhere. Both write the same text and refuse the same texts.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeGuard

from chatroom_client.types import User

LAST_SEQ: Final = 2**53 - 1  # the largest integer that each JSON parser reads exactly
LAST_TIME_MS: Final = 8_640_000_000_000_000  # the last time that a Date of JavaScript can hold

try:
    import orjson
except ImportError:

    def _encode(value: object) -> str:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError as e:  # orjson raises TypeError for it
            raise TypeError(f"a text is not valid Unicode: {e.reason}") from None
        return text

    def _decode(text: str) -> Any:  # noqa: ANN401 - any JSON
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
            if r"\ud" in text.lower():  # only such an escape yields half of a surrogate pair, which orjson refuses
                json.dumps(value, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None
        return value

    def _refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

else:

    def _encode(value: object) -> str:
        return orjson.dumps(value).decode()

    def _decode(text: str) -> Any:  # noqa: ANN401 - any JSON
        return orjson.loads(text)


def encode(kind: str, payload: dict[str, Any]) -> str:
    """Return the text of a frame. Raises TypeError for a text that is not valid Unicode."""
    return _encode({"type": kind, "payload": payload})


def parse(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return the type and the payload of a frame, or None for a text that is not a valid frame."""
    if not text.startswith("{"):
        return None
    try:
        frame = _decode(text)
        kind, payload = frame["type"], frame["payload"]
    except (ValueError, KeyError):
        return None
    if not isinstance(kind, str) or not isinstance(payload, dict):
        return None
    shape = _SHAPES.get(kind, {})
    return (kind, payload) if all(fits(payload.get(name)) for name, fits in shape.items()) else None


def count(value: object, most: int = LAST_SEQ) -> int:
    """Return a whole number from 0 to `most`, and 0 if it is missing. Raises ValueError."""
    if value is None:
        return 0
    if not _is_count(value, most):
        raise ValueError(f"{str(value)[:40]!r} is not a whole number from 0 to {most}")
    return value


def text_of(value: object) -> str:
    """Return a text or a number as text, and '' if it is missing. Raises ValueError."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{str(value)[:40]!r} is not a text")  # noqa: TRY004 - one error for each field that is not valid
    return str(value)


def user_of(value: object) -> User:
    """Return a user, with '' for each missing field. Raises ValueError."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ValueError(f"{str(value)[:40]!r} is not a user")  # noqa: TRY004 - as above
    return User(text_of(value.get("id")), text_of(value.get("username")))


def number(value: object) -> float:
    """Return a number of a frame that must not be negative. Return 0 for one that is missing or is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < math.inf else 0.0


def _is_count(value: object, most: int = LAST_SEQ) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_optional_count(value: object) -> bool:
    return value is None or _is_count(value)


def _is_optional_position(value: object) -> bool:
    return value is None or (isinstance(value, dict) and _is_count(value.get("epoch")) and _is_count(value.get("seq")))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


_SHAPES: Final[dict[str, dict[str, Callable[[object], bool]]]] = {
    "serverMessages": {"roomId": _is_text, "epoch": _is_optional_count, "messages": _is_list},
    "joined": {
        "roomId": _is_text,
        "epoch": _is_count,
        "seq": _is_count,
        "tail": _is_optional_position,
        "recovered": _is_flag,
        "messages": _is_list,
        "onlineCount": _is_optional_count,
    },
    "left": {"roomId": _is_text},
    "ack": {"epoch": _is_count, "messages": _is_list},
    "roomHistory": {"roomId": _is_text, "epoch": _is_count, "messages": _is_list},
    "presence": {"roomId": _is_text, "onlineCount": _is_count, "users": _is_list},
    "error": {"code": _is_text, "message": _is_text},
}
