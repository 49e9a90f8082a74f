"""The page: the files of comet/web, read once at start, as ordinary GETs get them.

The table holds exact paths, so no request can reach another file. `client.js` and `client/` are links to the JavaScript
client in clients/javascript; a built wheel holds copies. The page itself is told the default rooms, which it enters the
first time, and whether guests may come.

Browsers ask again each time (`no-cache`) and get 304 while the ETag is theirs. The policy lets nothing run but our own
files; they may be read from other people's pages, which import client.js.

Neighbour: comet/gateway.py answers with it.
"""

import hashlib
import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

TYPES: Final[dict[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX: Final = "/index.html"
ROOMS: Final = b'<meta name="default-rooms" content="room_001">'
GUESTS: Final = b'<meta name="guests" content="yes">'
NO_GUESTS: Final = b'<meta name="guests" content="no">'
# 'self' in connect-src is the WebSocket, too.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(slots=True, frozen=True)
class Asset:
    """One file."""

    content_type: str
    body: bytes
    headers: Mapping[str, str]


def load(rooms: Iterable[str], *, guests: bool = True) -> dict[str, Asset]:
    """Return all files by path; the page itself is `/`, too. It names the default rooms and says if guests may come."""
    found = dict(_assets(resources.files("comet").joinpath("web"), ""))
    told = ROOMS.replace(b"room_001", html.escape(",".join(rooms)).encode())
    body = found[INDEX].body.replace(ROOMS, told)
    found[INDEX] = _asset(TYPES[".html"], body if guests else body.replace(GUESTS, NO_GUESTS))
    return found | {"/": found[INDEX]}


def _assets(folder: Traversable, path: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for one in folder.iterdir():
        inner = f"{path}/{one.name}"
        if one.is_dir():
            found += _assets(one, inner)
        elif (content_type := TYPES.get(inner[inner.rfind(".") :])) is not None:
            found.append((inner, _asset(content_type, one.read_bytes())))
    return found


def _asset(content_type: str, body: bytes) -> Asset:
    headers = {
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:24]}"',
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",  # the page's address may hold a token
        "Access-Control-Allow-Origin": "*",
    }
    return Asset(content_type, body, headers)
