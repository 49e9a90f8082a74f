"""Health and metrics over HTTP: /healthz, /readyz and /metrics, the same on every service.

Alive is whoever answers. Ready is who has no reason against it: each part of a service that depends on something
outside keeps one reason here, and takes it back when the thing works again. Warnings stand beside and don't count.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import prometheus_client
from aiohttp import web
from prometheus_client.openmetrics import exposition as openmetrics

from common import http_faults, lifecycle

SHUTDOWN_S = 2.0
PATHS = ("/healthz", "/readyz", "/metrics")


class Health:
    """Why the service is not ready, by dependency; and what an operator should know although it is."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.warnings: dict[str, str] = {}

    def bad(self, name: str, reason: str) -> None:
        """Say that a dependency is away."""
        self.reasons[name] = reason

    def good(self, name: str) -> None:
        """Say that a dependency works."""
        self.reasons.pop(name, None)

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against sending work here."""
        return not self.reasons

    def report(self) -> dict[str, object]:
        """Return what /readyz shows; its status is `degraded` where there are only warnings."""
        status = "unavailable" if self.reasons else "degraded" if self.warnings else "ok"
        return {"status": status, "reasons": self.reasons, "warnings": self.warnings}


def add_routes(app: web.Application, health: Health) -> None:
    """Add /healthz, /readyz and /metrics to an aiohttp application."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        return web.json_response(health.report(), status=200 if health.ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        if "application/openmetrics-text" in request.headers.get("Accept", ""):
            # The library types only its default format.
            body: bytes = openmetrics.generate_latest(prometheus_client.REGISTRY)  # type: ignore[no-untyped-call]
            content_type = openmetrics.CONTENT_TYPE_LATEST
        else:
            body, content_type = prometheus_client.generate_latest(), prometheus_client.CONTENT_TYPE_LATEST
        return web.Response(body=body, headers={"Content-Type": content_type})

    for path, answer in zip(PATHS, (healthz, readyz, metrics), strict=True):
        app.router.add_get(path, answer)


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, setting: str, *, shutdown_s: float = SHUTDOWN_S
) -> AsyncIterator[None]:
    """Serve an aiohttp application while inside; raise StartupError naming the setting if the port is taken.

    On the way out nothing new is accepted, and requests in work have `shutdown_s` seconds to be answered.
    """
    runner = web.AppRunner(app, shutdown_timeout=shutdown_s, handle_signals=False)
    sock = lifecycle.listen(host, port, setting)
    try:
        await runner.setup()
        listener = await _listen(runner, sock)
        try:
            yield
        finally:
            listener.close()
    finally:
        try:
            async with asyncio.timeout(shutdown_s + SHUTDOWN_S):
                await runner.cleanup()
        finally:
            sock.close()  # not before: asyncio's own loop looks for the socket when it stops to listen


async def _listen(runner: web.AppRunner, sock: socket.socket) -> asyncio.Server:
    """Accept connections. aiohttp's own sites have no place for a class of connections."""
    loop, server = asyncio.get_running_loop(), cast("web.Server", runner.server)  # it has one since its setup
    return await loop.create_server(lambda: http_faults.Connection(server, loop), sock=sock, backlog=lifecycle.BACKLOG)


@asynccontextmanager
async def serve_health(health: Health, host: str, port: int, setting: str) -> AsyncIterator[None]:
    """Serve nothing but health and metrics while inside, for a service without an HTTP interface of its own."""
    app = web.Application()
    add_routes(app, health)
    async with serve(app, host, port, setting):
        yield
