"""client.js in somebody else's page, in Chromium."""

import pytest
from playwright.async_api import Browser, expect

from chatroom_client import ChatClient
from testbed.service import CometProgram
from tests.support.documented import example
from tests.support.served import served

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
