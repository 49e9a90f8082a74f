"""Requests that are no HTTP: what the answer and the log say, on a real listener."""

import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
import structlog
from aiohttp import http_exceptions

from common import http_faults
from common.health import Health, serve_health
from testbed.ports import free_port
from tests.support.raw_http import exchange

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
LONG = "the request line or a header is longer than 8190 bytes"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A listener for both families, as every service has one by default."""
    found = free_port()
    async with serve_health(Health(), "::", found, "metrics_port"):
        yield found


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The lines that are logged here."""
    found: list[dict[str, Any]] = []

    def keep(_logger: object, _method: str, line: MutableMapping[str, Any]) -> str:
        found.append(dict(line))
        return ""

    monkeypatch.setattr(http_faults, "log", structlog.wrap_logger(structlog.ReturnLogger(), processors=[keep]))
    return found


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (GET + b"Authorization: Bearer " + b"HUSH" * 2250 + b"\r\n\r\n", 431, LONG),
        (GET + b"HUSH" * 2250 + b": x\r\n\r\n", 431, LONG),
        (b"GET /" + b"HUSH" * 2250 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, LONG),
        (GET + b"x: HUSH\r\n" * 128 + b"\r\n", 431, "the request has more than 128 headers"),
        (GET + b"HUSH\x01: x\r\n\r\n", 400, "the request is not valid HTTP"),
        (GET + b"Host: HUSH\r\n\r\n", 400, "the request is not valid HTTP"),
        (GET + b"Transfer-Encoding: chunked\r\n\r\nHUSH\r\n", 400, "the request is not valid HTTP"),
        (b"GET http://[HUSH HTTP/1.1\r\nHost: x\r\n\r\n", 400, "the path is malformed"),
        (b"HUSH\r\n\r\n", 400, "the request line is malformed, or the client speaks TLS to a port without it"),
    ],
)
async def test_a_request_that_is_no_http_is_one_warning_and_quoted_nowhere(  # noqa: PLR0913, PLR0917 - fixtures
    port: int,
    lines: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    request_bytes: bytes,
    status: int,
    reason: str,
) -> None:
    """A header may hold a token. The peer is an IPv4 one."""
    head, body = (await exchange(port, request_bytes)).split(b"\r\n\r\n", 1)
    assert head.split()[1] == str(status).encode()
    assert json.loads(body) == {"code": "bad_request", "message": reason, "field": "", "ref": ""}
    assert b"HUSH" not in head
    assert lines == [{"event": "A request was refused", "status": status, "reason": reason, "peer": "127.0.0.1"}]
    assert caplog.records == []  # none of aiohttp's own


async def test_a_body_that_nobody_reads_is_refused_in_the_log_alone(
    port: int, lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """The library finds its fault after the answer."""
    answer = await exchange(port, GET + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nHUSH")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [(line["reason"], line["peer"]) for line in lines] == [(http_faults.BODY_REASON, "127.0.0.1")]
    assert caplog.records == []


def test_no_fault_of_aiohttp_is_told_in_its_own_words() -> None:
    """Also one that a later version may add."""

    class Later(http_exceptions.BadHttpMessage):
        """A fault that quotes."""

    assert http_faults.refusal_of(Later("Bad: HUSH")) == (400, "the request is not valid HTTP")
