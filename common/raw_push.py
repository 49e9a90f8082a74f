r"""The raw push: the bodies that an operator or a backend may push to clients as they are. Pure.

A client obeys a frame of the protocol, whoever made it. After a forged `joined` with a large seq it would drop real
messages. So Comet and Logic refuse each body that a client would take as Comet's own frame. All other texts pass.
"""

import json
from typing import Any, Final

import orjson

from common.errors import BadRequest

# The frames that only Comet sends. A `serverMessages` is one of them only where it names an epoch.
COMET_TYPES: Final = frozenset(("hello", "joined", "left", "ack", "roomHistory", "presence", "pong", "error"))
_ALLOWED: Final = "push text, a JSON object with a type of your own, or serverMessages without epoch"
_TOO_DEEP: Final = "body must nest JSON at most 1024 levels deep"


def check_text(body: str) -> None:
    """Raise BadRequest if clients would take the text as a frame of Comet's own."""
    if body.lstrip(" \t\r\n").startswith("{") and ('"type"' in body or "\\u" in body):  # a key may be escaped
        frame = _decode(body)
        if isinstance(frame, dict):
            check_frame(frame)


def check_frame(frame: dict[str, Any]) -> None:
    """Raise BadRequest if clients would take the object as a frame of Comet's own."""
    kind, payload = frame.get("type"), frame.get("payload")
    if not isinstance(kind, str):
        return
    if kind in COMET_TYPES:
        raise BadRequest(f"body must not be a frame of type {kind}, which only Comet sends: {_ALLOWED}", field="body")
    if kind == "serverMessages" and isinstance(payload, dict) and payload.get("epoch") is not None:
        raise BadRequest(
            "body must not be a frame of type serverMessages with payload.epoch, "
            f"which only messages of a room's log have: {_ALLOWED}",
            field="body",
        )


def _decode(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON that some client's parser reads in the text, or None if it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:  # half of a surrogate pair and 1e999, which a browser reads and orjson refuses
        return json.loads(text, parse_int=float)
    except RecursionError:
        raise BadRequest(_TOO_DEEP, field="body") from None
    except ValueError:
        return None
