"""Refusals of requests that are no HTTP: the answer and the log line show nothing of the request.

aiohttp would log a traceback that quotes the request, which may hold a token, and would quote it in the answer, too.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from aiohttp import http_exceptions, web

from common import logs

log = logs.get()

MAX_LINE_BYTES: Final = 8190  # aiohttp's own defaults; a line is the request line or one header
MAX_HEADERS: Final = 128
_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_REASONS: Final = {
    http_exceptions.InvalidHeader: "a header is malformed",
    http_exceptions.InvalidURLError: "the path is malformed",
    http_exceptions.BadHttpMethod: "the request line is malformed, or the client speaks TLS to a port without it",
}
BODY_REASON: Final = "the body cannot be read: its chunks or its compression are malformed"
_BODY_FAULTS: Final = (http_exceptions.BadHttpMessage, web.RequestPayloadError)


class Connection(web.RequestHandler):
    """aiohttp's side of one connection, with refusals that quote nothing."""

    __slots__ = ()

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # its annotation leaves out that None means no log
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer a request that is no HTTP with JSON, and close the connection. aiohttp handles any other fault."""
        if not isinstance(exc, http_exceptions.BadHttpMessage):
            return super().handle_error(request, status, exc, message)
        status, reason = refusal_of(exc)
        self._log_refusal(status, reason)
        answer = web.json_response({"code": "bad_request", "message": reason, "field": "", "ref": ""}, status=status)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ANN401 - aiohttp's signature
        """Log a body that is no HTTP, which aiohttp finds after the answer, as a refusal. aiohttp logs the rest."""
        if isinstance(kw.get("exc_info"), _BODY_FAULTS):
            self._log_refusal(HTTPStatus.BAD_REQUEST.value, BODY_REASON)
        else:
            super().log_exception(*args, **kw)

    def _log_refusal(self, status: int, reason: str) -> None:
        host = self.peername[0] if self.peername else ""
        # An IPv4 client of a socket for both families is shown as IPv4.
        log.warning("A request was refused", status=status, reason=reason, peer=host.removeprefix("::ffff:"))


def refusal_of(fault: http_exceptions.BadHttpMessage) -> tuple[int, str]:
    """Return the status and the reason, in words of ours: aiohttp's quote the request."""
    if isinstance(fault, http_exceptions.LineTooLong):
        return _TOO_LARGE.value, f"the request line or a header is longer than {MAX_LINE_BYTES} bytes"
    if fault.message == "Too many headers received":
        return _TOO_LARGE.value, f"the request has more than {MAX_HEADERS} headers"
    return HTTPStatus.BAD_REQUEST.value, _REASONS.get(type(fault), "the request is not valid HTTP")
