"""Requests at the WebSocket port, byte by byte, without a socket: each gets an answer, and the right one."""

from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import ANY

import pytest
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from comet import gateway, metrics
from comet.auth import Auth
from comet.transport import SLICE_BYTES, Transport
from common.health import Health
from tests.support.comet_settings import comet_settings
from tests.unit.comet.test_transport import Tcp

KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
CLOSE = UPGRADE.replace(": Upgrade", ": close")  # as nginx sends it that was not told of the upgrade
# As curl --http2 and Java's HttpClient ask.
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
LONG = "x" * MAX_LINE_LENGTH
BODY = "Content-Length: 5\r\n\r\nhello"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the gateway logs as a warning."""
    logged: list[dict[str, Any]] = []
    log = SimpleNamespace(warning=lambda event, **fields: logged.append({"event": event, **fields}))
    monkeypatch.setattr(gateway, "log", log)
    return logged


def connect() -> tuple[Transport, Tcp]:
    """Return a connection to a node that has nothing behind it."""
    tcp = Tcp()
    transport = Transport(gateway.Gateway(comet_settings(), cast("Any", None), Auth("", []), Health()))
    transport.connection_made(cast("Any", tcp))
    return transport, tcp


async def ask(*pieces: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request in pieces; return status, headers and body of the only answer, behind which nothing follows."""
    transport, tcp = connect()
    for piece in pieces:
        assert len(piece) <= SLICE_BYTES or len(pieces) == 1
        transport.data_received(piece.encode("latin-1"))
    while transport._unread:  # noqa: SLF001 - what is too much for one turn goes on in the next
        transport._take_turn()  # noqa: SLF001
    assert (tcp.eof, tcp.closed) == (True, False), "the answer would be lost with what the client still sends"
    head, _, body = tcp.written.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    assert "\r\nHTTP/1.1" not in body.decode()
    return int(status.split()[1]), dict(line.split(": ", 1) for line in headers), body


@pytest.mark.parametrize(
    "request_",
    [
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz?a=b HTTP/1.1\r\n\r\n",
        "GET http://x:8082/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: x\r\n{H2C}\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: x\r\n{BODY}",
        f"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{BODY}",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nHost: x\r\nX: {'y' * 8000}\r\n\r\n",
    ],
)
async def test_an_ordinary_request_is_answered_whatever_comes_with_it(
    request_: str, lines: list[dict[str, Any]]
) -> None:
    """In one piece and byte by byte. Nothing behind it is read as frames, nor answered."""
    answers = [await ask(request_), await ask(*request_)]
    assert [(status, body) for status, _, body in answers] == [(200, b'{"status":"ok"}')] * 2
    assert [headers["Connection"] for _, headers, _ in answers] == ["close"] * 2
    assert lines == []


@pytest.mark.parametrize("target", ["/", "http://x:8082", "http://x:8082/", "/?rooms=a", "/index.html"])
async def test_the_page_is_served_at_each_form_of_its_address(target: str) -> None:
    """A target may be a whole URL, whose path may be empty."""
    status, headers, _ = await ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("path", ["/", "/client.js", "/healthz", "/readyz", "/nothing"])
async def test_head_gets_the_headers_of_get_and_no_body(path: str) -> None:
    """Also with an upgrade that is ignored."""
    status, headers, body = await ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    for more in ("", H2C, UPGRADE + KEY):
        assert await ask(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n") == (
            status, {**headers, "Content-Length": str(len(body)), "Date": ANY}, b"",
        )  # fmt: skip


@pytest.mark.parametrize("tags", ['"%s"', 'W/"%s"', '"other", "%s"', '"other"\r\nIf-None-Match: "%s"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_the_client_has_is_not_sent_again(method: str, tags: str) -> None:
    """A proxy that compresses makes the ETag weak."""
    _, headers, _ = await ask("GET /client.js HTTP/1.1\r\nHost: x\r\n\r\n")
    known = tags % headers["ETag"].strip('"')
    status, headers, body = await ask(f"{method} /client.js HTTP/1.1\r\nHost: x\r\nIf-None-Match: {known}\r\n\r\n")
    assert (status, body, "Content-Length" in headers) == (304, b"", False)


@pytest.mark.parametrize(
    "more", ["\r\n", BODY, H2C + "\r\n", UPGRADE + KEY + "\r\n", f"Expect: 100-continue\r\n{BODY}"]
)
@pytest.mark.parametrize(
    "begin", ["POST /", "PUT /healthz", "DELETE /nothing", "OPTIONS *", "CONNECT x:443", "TRACE /", "NONSENSE /"]
)
async def test_another_method_is_told_which_are_allowed(begin: str, more: str) -> None:
    """405 at once, without 100 Continue, so that a client need not send its body."""
    status, headers, _ = await ask(f"{begin} HTTP/1.1\r\nHost: x\r\n{more}")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (f"GET /{LONG} HTTP/1.1\r\n", 414, "the request line is longer than 8192 bytes"),
        (f"GET /{LONG * 9}", 414, "the request line is longer than 8192 bytes"),
        (f"GET / HTTP/1.1\r\nCookie: {LONG}\r\n", 431, "a header line is longer than 8192 bytes"),
        (f"GET / HTTP/1.1\r\n{UPGRADE}{KEY}Cookie: {LONG}\r\n\r\n", 431, "a header line is longer than 8192 bytes"),
        ("GET / HTTP/1.1\r\n" + "x: y\r\n" * (MAX_NUM_HEADERS + 1), 431, "the request has more than 128 headers"),
        ("GET / HTTP/1.1\n\n", 400, "a line does not end with CR and LF"),
        ("GET / HTTP/1.1\r\nno secret header\r\n\r\n", 400, "invalid HTTP header line"),
        ("GET / HTTP/1.1\r\nX: 1\r\n folded\r\n\r\n", 400, "invalid HTTP header line"),
        ("GET / HTTP/1.1\r\nna me: secret\r\n\r\n", 400, "invalid HTTP header name"),
        ("GET / HTTP/1.1\r\nX: secret\x01\r\n\r\n", 400, "invalid HTTP header value"),
        ("GET /\r\n\r\n", 400, "the request line is not `METHOD target HTTP/1.1` in ASCII"),
        ("GET /caf\xe9 HTTP/1.1\r\n\r\n", 400, "the request line is not `METHOD target HTTP/1.1` in ASCII"),
        ("GET / a HTTP/1.1\r\n\r\n", 400, "the request line is not `METHOD target HTTP/1.1` in ASCII"),
        ("\r\n" * 20, 400, "the request line is not `METHOD target HTTP/1.1` in ASCII"),
        ("GET //[ HTTP/1.1\r\n\r\n", 400, "the request's target is no URL: Invalid IPv6 URL"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400, "the client speaks TLS, but this port is plain HTTP"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "the version is neither HTTP/1.1 nor HTTP/1.0"),
        ("GET / HTTP/9.9\r\n\r\n", 505, "the version is neither HTTP/1.1 nor HTTP/1.0"),
        (f"GET / HTTP/1.1\r\n{UPGRADE}{KEY}{BODY}", 400, "an opening handshake has no body"),
        (f"GET / HTTP/1.1\r\n{UPGRADE}{KEY}Transfer-Encoding: x\r\n\r\n", 400, "an opening handshake has no body"),
        (f"GET / HTTP/1.0\r\n{UPGRADE}{KEY}\r\n", 505, "unsupported HTTP version: HTTP/1.0"),
        (f"GET / HTTP/1.1\r\n{CLOSE}{KEY}\r\n", 426, "invalid Connection header"),
        (f"GET / HTTP/1.1\r\n{UPGRADE}\r\n", 400, "missing Sec-WebSocket-Key header"),
        (f"GET / HTTP/1.1\r\n{UPGRADE}{KEY.replace('13', '8')}\r\n", 426, "invalid Sec-WebSocket-Version header"),
    ],
)  # fmt: skip
async def test_a_request_that_is_no_good_is_answered_logged_and_counted(
    request_: str, status: int, reason: str, lines: list[dict[str, Any]]
) -> None:
    """With the client's address, and with nothing of the request, which may hold a token."""
    before = metrics.REFUSED_REQUESTS[status]._value.get()  # noqa: SLF001 - the library has no other way to read it
    found, headers, body = await ask(request_)
    assert (found, headers["Connection"]) == (status, "close")
    [line] = lines
    assert (line["event"], line["status"], line["peer"]) == ("A request was refused", status, "192.0.2.1:5")
    assert reason in line["reason"]
    assert reason in body.decode()
    assert "secret" not in line["reason"] + body.decode()
    assert metrics.REFUSED_REQUESTS[status]._value.get() == before + 1  # noqa: SLF001


async def test_a_handshake_of_another_version_is_told_the_right_one() -> None:
    """RFC 6455, 4.4."""
    status, headers, _ = await ask(f"GET / HTTP/1.1\r\n{UPGRADE}{KEY.replace('13', '8')}\r\n")
    assert (status, headers["Sec-WebSocket-Version"]) == (426, "13")


async def test_what_is_logged_of_a_request_is_short_and_escaped(lines: list[dict[str, Any]]) -> None:
    """A line break or a terminal's escape sequence in a header would otherwise forge a line of the log."""
    await ask(
        f"GET / HTTP/1.1\r\n{UPGRADE}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \x85\x9b{'x' * 8000}\r\n\r\n"
    )
    [line] = lines
    assert line["reason"].startswith(r"invalid Sec-WebSocket-Key header: \x85\x9bxxx")
    assert len(line["reason"]) == gateway.LOGGED_CHARS


@pytest.mark.parametrize("begin", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_hangs_up_halfway_is_no_fault(begin: str, lines: list[dict[str, Any]]) -> None:
    """Load balancers try whether the port is open; that is not worth a line."""
    transport, tcp = connect()
    if begin:
        transport.data_received(begin.encode())
    assert transport.eof_received() is False
    assert (tcp.written, lines) == (b"", [])


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket", "websocket, h2c"])
async def test_a_handshake_may_name_other_upgrades_too(upgrade: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes the one that it knows."""
    transport, tcp = connect()
    monkeypatch.setattr(gateway.Gateway, "_begin", lambda *_args: None)
    transport.data_received(f"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n{KEY}\r\n".encode())
    assert tcp.written.startswith(b"HTTP/1.1 101 ")
    assert not tcp.eof
