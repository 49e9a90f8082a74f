"""The installed npm package in somebody else's page, in Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import Browser

from testbed.service import CometProgram
from tests.support import npm, npm_bot
from tests.support.served import served

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not npm.found(), reason=npm.MISSING),
    pytest.mark.timeout(npm.TIMEOUT_S),
]

PAGE = """<!doctype html><title>Bot</title>
<script type="importmap">{{"imports": {{"chatroom-client": "/package/index.js"}}}}</script>
<script type="module">{bot}</script>"""


async def test_readmes_bot_answers_in_a_browser(comet: CometProgram, chromium: Browser, tmp_path: Path) -> None:
    """Without the line that the README says to leave out."""
    package = npm.install_client(tmp_path) / "node_modules" / "chatroom-client"
    lines = npm_bot.source(f"127.0.0.1:{comet.port}").splitlines()
    bot = "\n".join(line for line in lines if not line.startswith("import WebSocket"))
    assert len(bot.splitlines()) == len(lines) - 1
    async with served(PAGE.format(bot=bot), {"/package": package}) as url, npm_bot.alice(comet.url) as alice:
        page = await chromium.new_page()
        await page.goto(url)
        await alice.until_contents(npm_bot.ROOM, [npm_bot.GREETING])
        await npm_bot.repeats(alice, "hi")
        await page.close()
