from protos import protocol_pb2 as _protocol_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PushMsgReq(_message.Message):
    __slots__ = ("keys", "proto", "proto_op")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    PROTO_OP_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    proto: _protocol_pb2.Proto
    proto_op: int
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., proto: _Optional[_Union[_protocol_pb2.Proto, _Mapping]] = ..., proto_op: _Optional[int] = ...) -> None: ...

class PushMsgReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BroadcastReq(_message.Message):
    __slots__ = ("proto_op", "proto", "speed")
    PROTO_OP_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    proto_op: int
    proto: _protocol_pb2.Proto
    speed: int
    def __init__(self, proto_op: _Optional[int] = ..., proto: _Optional[_Union[_protocol_pb2.Proto, _Mapping]] = ..., speed: _Optional[int] = ...) -> None: ...

class BroadcastReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BroadcastRoomReq(_message.Message):
    __slots__ = ("room_id", "proto", "batch", "more")
    ROOM_ID_FIELD_NUMBER: _ClassVar[int]
    PROTO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    room_id: str
    proto: _protocol_pb2.Proto
    batch: _containers.RepeatedCompositeFieldContainer[_protocol_pb2.Proto]
    more: _containers.RepeatedCompositeFieldContainer[BroadcastRoomReq]
    def __init__(self, room_id: _Optional[str] = ..., proto: _Optional[_Union[_protocol_pb2.Proto, _Mapping]] = ..., batch: _Optional[_Iterable[_Union[_protocol_pb2.Proto, _Mapping]]] = ..., more: _Optional[_Iterable[_Union[BroadcastRoomReq, _Mapping]]] = ...) -> None: ...

class BroadcastRoomReply(_message.Message):
    __slots__ = ("retry_rooms", "refused_rooms")
    RETRY_ROOMS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ROOMS_FIELD_NUMBER: _ClassVar[int]
    retry_rooms: _containers.RepeatedScalarFieldContainer[str]
    refused_rooms: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, retry_rooms: _Optional[_Iterable[str]] = ..., refused_rooms: _Optional[_Iterable[str]] = ...) -> None: ...

class RoomsReq(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RoomsReply(_message.Message):
    __slots__ = ("rooms",)
    class RoomsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bool] = ...) -> None: ...
    ROOMS_FIELD_NUMBER: _ClassVar[int]
    rooms: _containers.ScalarMap[str, bool]
    def __init__(self, rooms: _Optional[_Mapping[str, bool]] = ...) -> None: ...
