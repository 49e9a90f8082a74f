from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PushMsg(_message.Message):
    __slots__ = ("type", "operation", "speed", "server", "room", "keys", "msg", "epoch", "first_seq", "count", "id")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PUSH: _ClassVar[PushMsg.Type]
        ROOM: _ClassVar[PushMsg.Type]
        BROADCAST: _ClassVar[PushMsg.Type]
    PUSH: PushMsg.Type
    ROOM: PushMsg.Type
    BROADCAST: PushMsg.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    type: PushMsg.Type
    operation: int
    speed: int
    server: str
    room: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    msg: bytes
    epoch: int
    first_seq: int
    count: int
    id: str
    def __init__(self, type: _Optional[_Union[PushMsg.Type, str]] = ..., operation: _Optional[int] = ..., speed: _Optional[int] = ..., server: _Optional[str] = ..., room: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., msg: _Optional[bytes] = ..., epoch: _Optional[int] = ..., first_seq: _Optional[int] = ..., count: _Optional[int] = ..., id: _Optional[str] = ...) -> None: ...
