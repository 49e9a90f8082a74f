"""What clients send to Logic, as pydantic models: the source of validation and of the OpenAPI document.

Field names are camelCase outside, unknown fields are ignored. Ids have their limits from common/ids.py; limits that an
operator may set (content, counts) are checked by the service. Neighbours: api.py parses, service.py takes them.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from common import ids, raw_push
from common.errors import BadRequest

INT32, INT64 = 2**31 - 1, 2**63 - 1  # what PushMsg's fields hold


def _plain(check: Callable[[object], Any], schema: dict[str, Any]) -> tuple[PlainValidator, WithJsonSchema]:
    """Make a check that raises BadRequest pydantic's."""

    def validate(value: object) -> Any:  # noqa: ANN401 - what the check returns
        try:
            return check(value)
        except BadRequest as e:
            raise _pydantic_error(e) from None

    return PlainValidator(validate), WithJsonSchema(schema)


def _pydantic_error(fault: BadRequest) -> PydanticCustomError:
    return PydanticCustomError("plain", "{reason}", {"reason": fault.message, "field": fault.field})


def _later(value: object) -> object:
    """Let a value pass that the model checks once it knows all fields."""
    return value


def _or_none(check: Callable[[object], str]) -> Callable[[object], str | None]:
    return lambda value: None if value is None else check(value)


def _text(chars: int, **more: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": chars, **more}


def _body(value: object) -> str | dict[str, Any]:
    if isinstance(value, dict):
        raw_push.check_frame(value)
        return value
    if isinstance(value, str) and value:
        raw_push.check_text(value)
        return value
    raise BadRequest("body must be a string that is not empty, or an object")


_UNSEEN = "NFC without control and invisible characters"
_user_schema = {"anyOf": [_text(ids.USER_ID_CHARS), {"type": "integer"}], "description": _UNSEEN}
_room = _plain(_later, _text(ids.ROOM_ID_CHARS, description=f"{_UNSEEN}, spaces and commas"))
_sender = _plain(_later, _user_schema)
_name = _plain(_later, _text(ids.USERNAME_CHARS, description="no control and invisible characters"))
_user = _plain(ids.user_id, _user_schema)
_ref = _plain(
    _or_none(ids.ref),
    _text(
        ids.REF_CHARS,
        description="idempotency key: the same one with the same contents gets the first ids, with others 422",
    ),
)
_message_id = _plain(_or_none(ids.message_id), {"type": "string", "description": "such as 1635724800123-0"})
_frame = _plain(
    _body,
    {
        "anyOf": [{"type": "string", "minLength": 1}, {"type": "object"}],
        "description": "the frame as text, or a JSON object that becomes its text; none that only Comet sends",
    },
)
_whole = WithJsonSchema({"type": "integer", "minimum": 1, "maximum": INT64})

RoomId = Annotated[str, _room[0], _room[1]]
SenderId = Annotated[str, _sender[0], _sender[1]]
UserId = Annotated[str, _user[0], _user[1]]
UserName = Annotated[str, _name[0], _name[1]]
Ref = Annotated[str | None, _ref[0], _ref[1]]
MessageId = Annotated[str | None, _message_id[0], _message_id[1]]
Frame = Annotated[str | dict[str, Any], _frame[0], _frame[1]]
Content = Annotated[str, Field(min_length=1)]
Position = Annotated[int | None, Field(ge=1, le=INT64), _whole]


def _without_default(schema: dict[str, Any]) -> None:
    """An optional field may be left out; that null does the same need not be advertised."""
    schema.pop("default", None)


optional = partial(Field, default=None, json_schema_extra=_without_default)


class Request(BaseModel):
    """Base of all: camelCase outside, and no guessing of types."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, strict=True)


class Message(Request):
    """One message. Comet's carry all of id, seq, epoch and timestamp; a backend's none of them."""

    content: Content
    id: MessageId = optional()
    seq: Position = optional()
    epoch: Position = optional()
    timestamp: Position = optional()  # ms, the part of the id before the dash


class Send(Request):
    """Messages of one user to one room."""

    room_id: RoomId
    user_id: SenderId
    user_name: UserName
    messages: Annotated[list[Message], Field(min_length=1)]
    ref: Ref = optional()

    @property
    def from_comet(self) -> bool:
        """Whether they are in the room's log already."""
        return self.messages[0].id is not None

    @model_validator(mode="after")
    def _check_ids(self) -> "Send":
        """Check ids and name; what Comet stored already, perhaps long ago, by the rules that it was accepted under."""
        try:
            if self.from_comet:
                ids.stored_room_id(self.room_id)
                user_id = ids.stored_user_id(self.user_id)
                name = ids.stored_username(self.user_name)
            else:
                ids.room_id(self.room_id)
                user_id = ids.user_id(self.user_id)
                name = ids.username(self.user_name)
        except BadRequest as e:
            raise _pydantic_error(e) from None
        if (user_id, name) != (self.user_id, self.user_name):
            self.user_id, self.user_name = user_id, name
        return self

    @model_validator(mode="after")
    def _check_positions(self) -> "Send":
        first = self.messages[0]
        for index, one in enumerate(self.messages):
            if not _follows(first, index, one):
                raise PydanticCustomError(
                    "position",
                    "{field}: all messages carry id, seq, epoch and timestamp, their seqs without holes, or none does",
                    {"field": f"messages[{index}].seq"},
                )
        return self


def _follows(first: Message, index: int, one: Message) -> bool:
    if first.seq is None:
        return one.id is None and one.seq is None and one.epoch is None and one.timestamp is None
    return (
        one.id is not None
        and one.timestamp is not None
        and one.seq == first.seq + index
        and one.epoch is not None
        and one.epoch == first.epoch
    )


class Batch(Request):
    """Many sends, in order."""

    sends: list[Send]


class Push(Request):
    """One frame for the sessions of some users."""

    user_ids: Annotated[list[UserId], Field(min_length=1)]
    body: Frame
    ref: Ref = optional()


class Broadcast(Request):
    """One frame for everyone."""

    body: Frame
    speed: Annotated[int, Field(ge=0, le=INT32)] = Field(
        default=0, description="deliveries a second on each node; 0 delivers at once"
    )
    ref: Ref = optional()
