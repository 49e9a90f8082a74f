"""The table of routes: aiohttp's routing and the OpenAPI document come from it, so that they can't differ. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from common import ids
from logic import examples, models, replies

ROOM_PATH = {"type": "string", "minLength": 1, "maxLength": ids.ROOM_ID_CHARS}
KEY_HEADER = "Idempotency-Key"

SENDING, PUSHING, ASKING, RUNNING = "Messages", "Pushes", "Rooms", "Service"
TAGS = {
    SENDING: "Send messages to rooms. They are stored, published to who is there, and produced to Kafka",
    PUSHING: "Send a frame to users or to everyone. It is stored nowhere",
    ASKING: "Ask about rooms: history, and who is online",
    RUNNING: "Health, metrics and this document",
}

BAD = {400: "a field is missing, ill-typed or past its limit; `field` names it and `message` tells the rule"}
REUSED = {422: "the ref was used for other contents before; nothing is stored, take another ref"}
LARGE = {413: "the body, or a field of it, is too large"}
AWAY = {503: "Kafka or Redis is away, or too much waits; try again after `Retry-After` seconds, with this `ref` if any"}
ODD = {500: "a fault of Logic's own, which its log explains"}


@dataclass(slots=True, frozen=True)
class Parameter:
    """A parameter outside the body."""

    name: str
    where: str  # path, query or header
    schema: Mapping[str, Any]
    text: str
    example: str | None = None  # where the operation needs one


@dataclass(slots=True, frozen=True)
class Route:
    """One operation. `operation` names the method of logic/api.py that carries it out, too."""

    method: str
    path: str
    operation: str
    tag: str
    summary: str
    reply: type[BaseModel] | None = None  # None: not JSON, or made elsewhere
    media: str = "application/json"
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    faults: Mapping[int, str] = field(default_factory=dict)
    elsewhere: bool = False  # common/health.py answers it


_REF = Parameter(KEY_HEADER, "header", {"type": "string", "maxLength": ids.REF_CHARS}, "as `ref`, which goes before it")
_ROOM = Parameter("roomId", "path", ROOM_PATH, "the room, percent-encoded", examples.ROOM)

ROUTES = (
    Route(
        "POST",
        "/logic/send",
        "send",
        SENDING,
        "Send messages to a room. What has no ids comes from a backend: it is stored and published first",
        reply=replies.Sent,
        body=models.Send,
        parameters=(_REF,),
        faults=BAD | REUSED | LARGE | AWAY | ODD,
    ),
    Route(
        "POST",
        "/logic/send/batch",
        "send_batch",
        SENDING,
        "Send many, each with a result of its own; a room's sends stay in order",
        reply=replies.BatchSent,
        body=models.Batch,
        faults=BAD | LARGE | AWAY | ODD,
    ),
    Route(
        "POST",
        "/logic/push",
        "push",
        PUSHING,
        "Push a frame to all sessions of some users",
        reply=replies.Pushed,
        body=models.Push,
        parameters=(_REF,),
        faults=BAD | REUSED | LARGE | AWAY | ODD,
    ),
    Route(
        "POST",
        "/logic/broadcast",
        "broadcast",
        PUSHING,
        "Push a frame to everyone",
        reply=replies.Pushed,
        body=models.Broadcast,
        parameters=(_REF,),
        faults=BAD | REUSED | LARGE | AWAY | ODD,
    ),
    Route(
        "GET",
        "/logic/rooms",
        "rooms",
        ASKING,
        "List the rooms that have a log",
        reply=replies.Rooms,
        parameters=(
            Parameter("cursor", "query", {"type": "string", "default": "0"}, "the last page's cursor"),
            Parameter("limit", "query", {"type": "integer", "minimum": 1}, "rooms in the page, about"),
        ),
        faults=BAD | AWAY | ODD,
    ),
    Route(
        "GET",
        "/logic/rooms/{roomId}/messages",
        "messages",
        ASKING,
        "Read a room's history",
        reply=replies.History,
        parameters=(
            _ROOM,
            Parameter("before", "query", {"type": "string"}, "id of a message; the page ends before it"),
            Parameter("limit", "query", {"type": "integer", "minimum": 1}, "most messages in the page"),
        ),
        faults=BAD | AWAY | ODD,
    ),
    Route(
        "GET",
        "/logic/rooms/{roomId}/online",
        "room_online",
        ASKING,
        "Tell who is in a room",
        reply=replies.RoomOnline,
        parameters=(_ROOM,),
        faults=BAD | AWAY | ODD,
    ),
    Route(
        "GET",
        "/logic/online",
        "online",
        ASKING,
        "Count connections over all nodes",
        reply=replies.Online,
        faults=AWAY | ODD,
    ),
    Route("GET", "/openapi.json", "openapi", RUNNING, "This document", faults=ODD),
    Route("GET", "/docs", "docs", RUNNING, "This document, to read and try", media="text/html", faults=ODD),
    Route("GET", "/healthz", "healthz", RUNNING, "Whether Logic is alive", elsewhere=True),
    Route(
        "GET",
        "/readyz",
        "readyz",
        RUNNING,
        "Whether Logic can work, and if not why",
        faults={503: "not ready; `reasons` says why"},
        elsewhere=True,
    ),
    Route("GET", "/metrics", "metrics", RUNNING, "Metrics for Prometheus", media="text/plain", elsewhere=True),
)
