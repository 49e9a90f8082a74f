"""Errors that the client raises.

    ChatError                   the server refused a request
    +-- BadRequest              a field is missing, has the wrong type, or exceeds its limit
    |   +-- TooLarge            a frame or its content exceeds its size limit
    +-- Forbidden               the user has no right to do this
    +-- RateLimited             the user sends too often
    +-- Overloaded              the server reached a limit of its own and stored nothing
    +-- Unavailable             a service behind the server is away
    +-- Internal                the server failed
    TimeoutError                no answer came in time; a message was not stored, as the client never sent it
    +-- OutcomeUnknown          the client sent a message, which may or may not be stored
    Disconnected                the client has ended

The client itself retries each error that is retriable, so a caller sees only the other ones. The codes are those of
the protocol's `error` frames.
"""

from typing import ClassVar, Final

CLOSED_BY_OWNER: Final = 1000
# Close codes after which a client must not reconnect: policy, frame too big, rate limited too long, replaced or kicked.
FINAL_CLOSE_CODES: Final = frozenset({1008, 1009, 4002, 4003})


class ChatError(Exception):
    """The server refused a request. `message` is the server's reason, `code` names the kind of the error."""

    code: ClassVar[str] = "internal"
    retriable: ClassVar[bool] = False  # the same request may succeed later

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s  # earlier the server would refuse the same request again; 0 if not known


class BadRequest(ChatError):
    """A field is missing, has the wrong type, or exceeds its limit. The message names the field and the limit."""

    code = "bad_request"


class TooLarge(BadRequest):
    """A frame or its content exceeds its size limit."""

    code = "too_large"


class Forbidden(ChatError):
    """The user has no right to do this."""

    code = "forbidden"


class RateLimited(ChatError):
    """The user sends too often."""

    code = "rate_limited"
    retriable = True


class Overloaded(ChatError):
    """The server reached a limit of its own, such as the memory of its queues, and stored nothing."""

    code = "overloaded"
    retriable = True


class Unavailable(ChatError):
    """A service behind the server is away."""

    code = "unavailable"
    retriable = True


class Internal(ChatError):
    """The server failed."""


class OutcomeUnknown(TimeoutError):
    """A message was sent and no ack came in time: it may or may not be stored.

    The client does not send it again, because the server may no longer know its `ref` and would store it twice.
    """

    code: ClassVar[str] = "unknown"

    def __init__(self, ref: str) -> None:
        super().__init__(f"no ack came in time: the message with the ref {ref!r} may or may not be stored")
        self.ref = ref


class Disconnected(Exception):
    """The client has ended: the server does not accept it any more, or its owner closed it.

    `code` is the WebSocket close code (1000 when the owner closed the client) or the HTTP status with which the first
    handshake was refused.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"disconnected for good: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


_BY_CODE: Final[dict[str, type[ChatError]]] = {
    kind.code: kind for kind in (BadRequest, TooLarge, Forbidden, RateLimited, Overloaded, Unavailable, Internal)
}


def chat_error(code: str, message: str, retry_after_s: float = 0.0) -> ChatError:
    """Return the error that an `error` frame reports; an unknown code becomes BadRequest."""
    return _BY_CODE.get(code, BadRequest)(message, retry_after_s)
