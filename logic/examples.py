"""Examples of what Logic is asked and answers, by operation. Pure.

Each request works as it stands against a fresh stack, also twice: "Try it out" on /docs sends it, and a test does.
"""

from collections.abc import Mapping
from typing import Any, Final

ROOM: Final = "room_001"
_ID, _TIMESTAMP, _EPOCH = "1635724800123-0", 1_635_724_800_123, 1_635_724_700_000
_STORED = {"id": _ID, "seq": 1, "timestamp": _TIMESTAMP}
_ALICE = {"id": "1001", "username": "Alice"}

BODIES: Final[Mapping[str, dict[str, Any]]] = {
    "send": {
        "roomId": ROOM,
        "userId": "1001",
        "userName": "Alice",
        "messages": [{"content": "Hello from a backend"}],
    },
    "send_batch": {
        "sends": [
            {
                "roomId": ROOM,
                "userId": "shop",
                "userName": "Shop",
                "messages": [{"content": f"Order {number} has shipped"}],
                "ref": f"order-{number}-shipped",
            }
            for number in (71, 72)
        ]
    },
    "push": {"userIds": ["1001", "1002"], "body": "Your order has shipped"},
    "broadcast": {"body": "Maintenance begins at 22:00"},
}

ANSWERS: Final[Mapping[str, Any]] = {
    "send": {"status": "success", "roomId": ROOM, "epoch": _EPOCH, "messages": [_STORED]},
    "send_batch": {"status": "success", "results": [{"status": "success", "reason": ""}] * 2},
    "push": {"status": "success", "id": "0e6d8e5a6f5b5c0d9d0f4c1b2a3e4d5f"},
    "broadcast": {"status": "success", "id": "7c9e6679742f5a8e944be07fc1f90ae7"},
    "rooms": {"rooms": [{"id": ROOM, "onlineCount": 2}], "cursor": "0"},
    "messages": {
        "roomId": ROOM,
        "epoch": _EPOCH,
        "messages": [{**_STORED, "content": "Hello from a backend", "user": _ALICE}],
        "hasMoreMessages": False,
    },
    "room_online": {"roomId": ROOM, "onlineCount": 1, "users": [_ALICE]},
    "online": {
        "onlineCount": 2,
        "nodes": [
            {"incarnation": "3f2504e04f8911d39a0c0305e82c3301", "grpc": "127.0.0.1:50051", "connections": 2, "rooms": 1}
        ],
    },
    "openapi": {"openapi": "3.1.0", "info": {"title": "ChatRoom Logic", "version": "1.0.0"}, "paths": {}},
    "docs": "<!DOCTYPE html> ...",
    "healthz": {"status": "ok"},
    "readyz": {"status": "ok", "reasons": {}, "warnings": {}},
    "metrics": 'logic_sends_total{result="success",source="backend"} 1.0',
}


def _error(code: str, message: str, field: str = "", ref: str = "") -> dict[str, str]:
    return {"status": "error", "code": code, "message": message, "field": field, "ref": ref}


ERRORS: Final[Mapping[int, dict[str, str]]] = {
    400: _error("bad_request", "roomId holds U+200B ZERO WIDTH SPACE at position 3; ...", "roomId"),
    413: _error("too_large", "messages[0].content must hold at most 16384 bytes of UTF-8", "messages[0].content"),
    422: _error("bad_request", "ref was used for other contents before; every send needs a ref of its own", "ref"),
    500: _error("internal", "Logic failed to carry the request out"),
    503: _error("unavailable", "Kafka is away: no broker answers", "", "~6f1c2d3e4b5a6978-17"),
}
NOT_READY: Final = {"status": "unavailable", "reasons": {"kafka": "no broker answers"}, "warnings": {}}
