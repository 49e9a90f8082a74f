"""Every error the product raises on purpose.

    ChatError                   a fault that the other side is told about
    +-- BadRequest              a field is missing, ill-typed or past its limit
    |   +-- UnknownType         a frame of a type that does not exist
    |   +-- TooLarge            a frame, body or content past its size limit
    |   +-- RefReused           a ref that was used for other contents
    +-- Forbidden               the user may not do this
    +-- RateLimited             the user does it too often
    +-- Overloaded              a bound of ours is reached; nothing was stored
    +-- Unavailable             something behind us is away
    +-- Internal                a fault of ours
    StartupError                a service can't start; one line for the operator, never a traceback
    +-- SettingError            a setting is unknown or ill-typed

Each ChatError carries its code in frames, its HTTP and its gRPC status, and whether the same request may succeed later.
"""

from typing import ClassVar

from common.masking import mask


def reason_of(error: BaseException) -> str:
    """Return an error's text without passwords, or what kind it was if it has none; of a group those of all in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(reason_of, error.exceptions))
    return mask(str(error)) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


class ChatError(Exception):
    """A fault that the other side is told about, in the words of its own protocol."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"  # a name of grpc.StatusCode; only adapters import grpc
    retriable: ClassVar[bool] = False
    retry_after_ms: int | None = None  # earlier the same request would be refused again; None: unknown

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class BadRequest(ChatError):
    """A field is missing, ill-typed or past its limit; `field` names it and the message tells the limit."""

    code = "bad_request"
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class UnknownType(BadRequest):
    """A frame whose `type` does not exist."""

    code = "unknown_type"


class TooLarge(BadRequest):
    """A frame, body or content past its size limit."""

    code = "too_large"
    http_status = 413


class RefReused(BadRequest):
    """A ref that was used for other contents: nothing is stored, and no retry can succeed."""

    http_status = 422

    def __init__(self) -> None:
        super().__init__("ref was used for other contents before; every send needs a ref of its own", field="ref")


class Forbidden(ChatError):
    """The user may not do this."""

    code = "forbidden"
    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class RateLimited(ChatError):
    """The user does it too often; it works `retry_after_ms` later."""

    code = "rate_limited"
    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"
    retriable = True

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Overloaded(ChatError):
    """A bound of ours is reached (a queue, Redis's memory). Nothing was stored."""

    code = "overloaded"
    http_status = 503
    grpc_status = "RESOURCE_EXHAUSTED"
    retriable = True


class Unavailable(ChatError):
    """Something behind us is away. A retry with the same `ref` is safe."""

    code = "unavailable"
    http_status = 503
    grpc_status = "UNAVAILABLE"
    retriable = True


class Internal(ChatError):
    """A fault of ours."""


class StartupError(Exception):
    """A service can't start: one line that says what to do, then exit 1."""

    exit_code: ClassVar[int] = 1


class SettingError(StartupError):
    """A setting is unknown or ill-typed: one line a fault, then exit 2."""

    exit_code = 2
