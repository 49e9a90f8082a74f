"""HTTP before WebSocket: the core of `websockets` with a request parser of its own. Pure.

The library hangs up on a request that it cannot read, refuses a GET with a body, and reads the bytes behind an ordinary
request as frames. Here each fault has a status and a text, so that every request is answered. The bytes behind an
ordinary request are ignored. A fault's text holds nothing of the request, which may hold a token.
"""

from collections.abc import Generator, Sequence
from http import HTTPStatus
from typing import Final

from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request, Response, parse_headers, parse_line
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from websockets.typing import Subprotocol

TLS_RECORD: Final = 0x16  # first byte of a TLS handshake (RFC 8446, 5.1)
EMPTY_LINES: Final = 4  # tolerated before a request (RFC 9112, 2.2)
SUBPROTOCOL: Final = Subprotocol("chatroom.v1")
VERSION: Final = "13"  # of the WebSocket protocol
VERSIONS: Final = ("HTTP/1.1", "HTTP/1.0")


class RequestFault(Exception):
    """A request that cannot be read, with the status of its answer."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


_URI, _FIELDS = HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_TOO_LARGE: Final[dict[type[Exception], tuple[HTTPStatus, str]]] = {
    RequestLineTooLong: (_URI, f"the request line is longer than {MAX_LINE_LENGTH} bytes"),
    HeaderLineTooLong: (_FIELDS, f"a header line is longer than {MAX_LINE_LENGTH} bytes"),
    TooManyHeaders: (_FIELDS, f"the request has more than {MAX_NUM_HEADERS} headers"),
}


class HttpCore(ServerProtocol):
    """One connection's protocol. The owner answers the request, or `fault` where the request cannot be read."""

    fault: RequestFault | None = None

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Select `chatroom.v1` if the client offers it, otherwise none. RFC 6455, 4.2.2, allows both."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def accept(self, request: Request) -> Response:
        """Return the answer to an opening handshake. One of another version is told the right one (RFC 6455, 4.4)."""
        response = super().accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS and _versions(request) not in ([], [VERSION]):
            response.status_code = HTTPStatus.UPGRADE_REQUIRED
            response.reason_phrase = HTTPStatus.UPGRADE_REQUIRED.phrase
            response.headers["Sec-WebSocket-Version"] = VERSION
        return response

    def parse(self) -> Generator[None]:
        """Read one request, and frames behind an opening handshake. The library runs this generator."""
        try:
            request = yield from _read_request(self.reader)
        except RequestFault as e:
            self.fault = e
        except EOFError:
            pass  # the client hung up before its request was complete
        else:
            self.events.append(request)
            if is_handshake(request):
                yield from super(ServerProtocol, self).parse()
        while True:
            yield  # until the answer replaces this generator by one that ignores all input


def is_handshake(request: Request) -> bool:
    """Whether the request asks for a WebSocket; a server may ignore every other upgrade (RFC 9110, 7.8)."""
    return request.method == "GET" and "websocket" in _upgrades(request)


def _versions(request: Request) -> list[str]:
    return request.headers.get_all("Sec-WebSocket-Version")


def _upgrades(request: Request) -> list[str]:
    return [one.strip().lower() for value in request.headers.get_all("Upgrade") for one in value.split(",")]


def _read_request(reader: StreamReader) -> Generator[None, None, Request]:
    """Return the request. Raises RequestFault, or EOFError where the client hung up."""
    try:
        request = yield from _read_head(reader)
    except tuple(_TOO_LARGE) as e:
        raise RequestFault(*_TOO_LARGE[type(e)]) from e
    except EOFError as e:
        if reader.eof:
            raise
        raise RequestFault(HTTPStatus.BAD_REQUEST, "a line does not end with CR and LF") from e
    except ValueError as e:  # the library's text goes on with the line itself
        raise RequestFault(HTTPStatus.BAD_REQUEST, str(e).partition(":")[0]) from e
    if is_handshake(request):
        _check_handshake(request)
    return request


def _read_head(reader: StreamReader) -> Generator[None, None, Request]:
    while not reader.buffer and not reader.eof:
        yield
    if reader.buffer[:1] == bytes([TLS_RECORD]):
        raise RequestFault(HTTPStatus.BAD_REQUEST, "the client speaks TLS, but this port is plain HTTP")
    line = yield from parse_line(reader.read_line, RequestLineTooLong)
    for _ in range(EMPTY_LINES):
        line = line or (yield from parse_line(reader.read_line, RequestLineTooLong))
    method, target, version = _split(bytes(line))
    headers = yield from parse_headers(reader.read_line)
    return Request(target, headers, method, version)


def _split(line: bytes) -> tuple[str, str, str]:
    """Return method, target and version of a request line."""
    try:
        method, target, version = line.decode("ascii").split(" ")
    except ValueError:
        raise RequestFault(
            HTTPStatus.BAD_REQUEST, "the request line is not `METHOD target HTTP/1.1` in ASCII"
        ) from None
    if version not in VERSIONS:
        raise RequestFault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "the version is neither HTTP/1.1 nor HTTP/1.0")
    return method, target, version


def _check_handshake(request: Request) -> None:
    """Leave `websocket` as the only upgrade, as the library demands. Refuse a body: it would be read as frames."""
    headers = request.headers
    if "Transfer-Encoding" in headers or not set(headers.get_all("Content-Length")) <= {"0"}:
        raise RequestFault(HTTPStatus.BAD_REQUEST, "an opening handshake has no body")
    if _upgrades(request) != ["websocket"]:
        del headers["Upgrade"]
        headers["Upgrade"] = "websocket"
