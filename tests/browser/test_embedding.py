"""client.js in somebody else's page, in Chromium."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from chatroom.bench.free_ports import free_port
from chatroom.client import ChatClient
from tests.support.comet_program import CometProgram
from tests.support.documented import example

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def served(html: str) -> AsyncIterator[str]:
    """Serve a page from an origin of its own while inside."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


async def test_the_documented_page_chats(comet: CometProgram, chromium: Browser) -> None:
    """From another origin, with nothing but the client that Comet serves."""
    async with served(example("clients.md", "html", f"127.0.0.1:{comet.port}")) as url:
        page = await chromium.new_page()
        await page.goto(url)
        said = page.get_by_role("listitem")
        await expect(said).to_have_text(["Alice: Hello from my page"])
        async with ChatClient(comet.url, name="Bob", rooms=["room_001"]) as bob:
            await bob.send("room_001", "Hello page")
        await expect(said).to_have_text(["Alice: Hello from my page", "Bob: Hello page"])
        await page.close()
