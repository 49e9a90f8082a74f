"""What Logic answers, as pydantic models: the OpenAPI document comes from them, and tests hold the answers to them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Reply(BaseModel):
    """Base of all: camelCase outside, and nothing that is not written here."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid")


class Stored(Reply):
    """Where one message stands in its room's log."""

    id: str = Field(examples=["1635724800123-0"])
    seq: int
    timestamp: int = Field(description="ms")


class Sent(Reply):
    """Kafka acknowledged the messages."""

    status: Literal["success"] = "success"
    room_id: str
    epoch: int
    messages: list[Stored]


class SendResult(Reply):
    """What became of one send of a batch."""

    status: Literal["success", "rejected", "failed", "skipped"] = Field(
        description="rejected: bad input, never send it again; failed: send it again; "
        "skipped: not tried, as an earlier send of the room failed"
    )
    reason: str = ""


class BatchSent(Reply):
    """What became of each send, in order."""

    status: Literal["success", "partial"]
    results: list[SendResult]


class Pushed(Reply):
    """Kafka acknowledged the push."""

    status: Literal["success"] = "success"
    id: str = Field(description="the same for the same ref")


class RoomSummary(Reply):
    """A room that has a log."""

    id: str
    online_count: int


class Rooms(Reply):
    """A page of rooms, in no particular order."""

    rooms: list[RoomSummary]
    cursor: str = Field(description="where the next page begins; 0: this was the last one")


class Person(Reply):
    """Who sent a message or is in a room."""

    id: str
    username: str


class HistoryMessage(Reply):
    """A message as its room's log has it."""

    id: str
    seq: int
    timestamp: int
    content: str
    user: Person


class History(Reply):
    """A page of a room's history, oldest message first."""

    room_id: str
    epoch: int
    messages: list[HistoryMessage]
    has_more_messages: bool


class RoomOnline(Reply):
    """Who is in a room, over all nodes."""

    room_id: str
    online_count: int
    users: list[Person] = Field(description="at most 100")


class NodeSummary(Reply):
    """A living Comet node."""

    incarnation: str
    grpc: str
    connections: int
    rooms: int


class Online(Reply):
    """Connections over all nodes."""

    online_count: int
    nodes: list[NodeSummary]


class Error(Reply):
    """Why not."""

    status: Literal["error"] = "error"
    code: str = Field(
        description="bad_request, too_large, overloaded, unavailable, internal, not_found or method_not_allowed"
    )
    message: str = Field(description="which value is wrong, what is allowed, what to do")
    field: str = Field(default="", description="the field that is meant, where one is")
    ref: str = Field(default="", description="repeat the request with this ref: what was stored is not stored again")
