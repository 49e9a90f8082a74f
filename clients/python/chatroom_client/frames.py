"""Frames as text: `{"type": ..., "payload": {...}}`. Pure.

orjson encodes and decodes where it is installed, the standard library elsewhere. Both write the same text and refuse
the same texts.
"""

import json
import math
from typing import Any, NoReturn

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
    """Return the type and the payload of a frame, or None for a text that is not a frame."""
    if not text.startswith("{"):
        return None
    try:
        frame = _decode(text)
        kind, payload = frame["type"], frame["payload"]
    except (ValueError, KeyError):
        return None
    return (kind, payload) if isinstance(kind, str) and isinstance(payload, dict) else None


def number(value: object) -> float:
    """Return a number of a frame that must not be negative. Return 0 for one that is missing or is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value < math.inf else 0.0
