"""The JavaScript client held to the table of every client (tests/conformance), in a Chromium that lacks newer APIs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.conformance.scenario import Case, Run, each_case
from tests.conformance.subjects import JavaScript
from tests.support.scripted_server import scripted_server
from tests.support.served import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("clients/javascript", "tests/conformance", "tests/support")
PAGE: Final = """<!doctype html><title>Conformance</title>
<script src="/tests/support/older_browsers.js"></script>
<script type="module">
import { subject } from "/tests/conformance/subject.js";
globalThis.ask = subject(say);
</script>"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin() -> AsyncIterator[str]:
    """Where a page is that knows the client and the subject."""
    async with served(PAGE, {f"/{folder}": ROOT / folder for folder in FOLDERS}) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def in_chromium(chromium: Browser, origin: str) -> AsyncIterator[JavaScript]:
    """That page."""
    page, telling = await chromium.new_page(), set[asyncio.Task[Any]]()

    def tell(line: str) -> None:
        task = asyncio.get_running_loop().create_task(page.evaluate("(line) => ask(line)", line))
        telling.add(task)
        task.add_done_callback(telling.discard)

    it = JavaScript(tell)
    await page.expose_function("say", it.take)
    await page.goto(origin)
    await page.wait_for_function("typeof ask === 'function'")
    yield it
    await page.close()


@each_case
async def test_the_client_does_what_the_table_says_in_a_browser(case: Case, in_chromium: JavaScript) -> None:
    """Each step in turn."""
    async with scripted_server() as server, in_chromium.client() as client:
        await Run(server, client).play(case)
