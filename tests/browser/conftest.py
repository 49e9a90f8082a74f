"""A Chromium, and windows in it that show the page of a Comet.

All tests of a module share one loop and one Chromium; each window is a visitor of its own. Where there is no Chromium
the tests are skipped, which in CI is a failure.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from chatroom.up.guard import Guard
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.browser.window import Window
from tests.support.comet_maker import CometMaker, comet_maker

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container has little
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OLDER_BROWSERS: Final = Path(__file__).parents[1] / "support" / "older_browsers.js"
TIMEOUT_MS: Final = 30_000

expect.set_options(timeout=TIMEOUT_MS)


class OpenWindow(Protocol):
    """What `open_window` is."""

    def __call__(self, comet: CometProgram, name: str, room: str, **how: Any) -> Awaitable[Window]:
        """Return a window of a visitor of this name in a room; `how` are a browser context's options."""


class Shoot(Protocol):
    """What `shoot` is."""

    def __call__(self, window: Window, name: str) -> Awaitable[None]:
        """Keep a picture of a window under this name."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium that shows nothing."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("the page is tested in Chromium; install it (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def make_comet(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometMaker]:
    """Start nodes, and end them behind the tests."""
    with comet_maker(guard, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def comet(make_comet: CometMaker, guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometProgram]:
    """A node that the module's tests share, each with rooms of its own, with a Redis that nobody clears."""
    with RedisServer(guard, tmp_path_factory.mktemp("redis")) as redis:
        yield make_comet(redis.url)


@pytest.fixture
def shoot(pytestconfig: pytest.Config) -> Shoot:
    """Keep what a window looks like, where it was asked for."""
    folder: Path | None = pytestconfig.getoption("--screenshots")

    async def keep(window: Window, name: str) -> None:
        if folder is not None:
            await window.page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")

    return keep


@pytest_asyncio.fixture(loop_scope="module")
async def open_window(chromium: Browser) -> AsyncIterator[OpenWindow]:
    """Open windows as older browsers have them; no page may have had a fault that it did not catch."""
    async with contextlib.AsyncExitStack() as stack:
        windows: list[Window] = []

        async def open_it(comet: CometProgram, name: str, room: str, **how: Any) -> Window:
            options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **how}
            context = await chromium.new_context(**options)
            stack.push_async_callback(context.close)
            context.set_default_timeout(TIMEOUT_MS)
            await context.add_init_script(path=OLDER_BROWSERS)
            window = Window(await context.new_page())
            windows.append(window)
            query = urlencode({"uid": name.lower(), "name": name})
            await window.page.goto(f"http://127.0.0.1:{comet.port}/?{query}#{quote(room)}")
            return await window.connected()

        yield open_it
        assert [fault for window in windows for fault in window.faults] == []
