from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Proto(_message.Message):
    __slots__ = ("ver", "op", "seq", "body", "epoch", "first_seq", "count", "id")
    VER_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ver: int
    op: int
    seq: int
    body: str
    epoch: int
    first_seq: int
    count: int
    id: str
    def __init__(self, ver: _Optional[int] = ..., op: _Optional[int] = ..., seq: _Optional[int] = ..., body: _Optional[str] = ..., epoch: _Optional[int] = ..., first_seq: _Optional[int] = ..., count: _Optional[int] = ..., id: _Optional[str] = ...) -> None: ...
