"""A page from an origin of its own, for a browser."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from testbed.ports import free_port


@asynccontextmanager
async def served(html: str, folders: Mapping[str, Path] | None = None) -> AsyncIterator[str]:
    """Serve a page, and folders by path, while inside; return the page's URL."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app, port = web.Application(), free_port()
    app.router.add_get("/", page)
    for path, folder in (folders or {}).items():
        app.router.add_static(path, folder)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()
