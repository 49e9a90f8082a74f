"""The HTTP front: the answers to ordinary requests at the WebSocket port, which are the page and health.

GET and HEAD are answered at the same paths. HEAD gets GET's headers without the body.

Neighbor: comet/gateway.py asks for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import orjson
from websockets.http11 import Request

from comet.page import Asset
from common.health import Health

METHODS: Final = ("GET", "HEAD")
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


@dataclass(slots=True, frozen=True)
class Answer:
    """An answer to a request; `body` stands for the whole, also where the method is HEAD."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Front:
    """All that can be asked for."""

    def __init__(self, assets: Mapping[str, Asset], health: Health) -> None:
        self._assets = assets
        self._health = health

    def answer(self, request: Request, path: str) -> Answer:
        """Return the answer to an ordinary request for a path."""
        if request.method not in METHODS:
            text = f"this port takes {' and '.join(METHODS)}\n"
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, text.encode(), {"Allow": ", ".join(METHODS)})
        if (asset := self._assets.get(path)) is not None:
            return _file(request, asset)
        if path == "/healthz":
            return Answer(HTTPStatus.OK, JSON, b'{"status":"ok"}')
        if path == "/readyz":
            status = HTTPStatus.OK if self._health.ready else HTTPStatus.SERVICE_UNAVAILABLE
            return Answer(status, JSON, orjson.dumps(self._health.report()))
        return Answer(HTTPStatus.NOT_FOUND, TEXT, b"nothing here; the chat is at /\n")


def _file(request: Request, asset: Asset) -> Answer:
    known = asset.headers["ETag"] in _tags(request)
    status = HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK
    return Answer(status, asset.content_type, b"" if known else asset.body, asset.headers)


def _tags(request: Request) -> list[str]:
    """Return the ETags that the client has; a proxy that compresses makes them weak."""
    values = request.headers.get_all("If-None-Match")
    return [one.strip().removeprefix("W/") for value in values for one in value.split(",")]
