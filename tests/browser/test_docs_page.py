"""Logic's /docs, in Chromium: the page that shows the OpenAPI document."""

import pytest
from playwright.async_api import Browser, expect

from logic.routes import ROUTES
from testbed.kafka_server import KafkaServer
from tests.support.logic_node import running, settings_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_route_is_shown_and_can_be_opened(
    chromium: Browser, kafka: KafkaServer, topic: str, redis_url: str
) -> None:
    """Each with its method and path; an opened one shows its body's fields. Nothing fails, nothing is refused.

    "Try it out" sends the example as it stands.
    """
    settings = settings_of(kafka, topic, redis_url)
    async with running(settings):
        page = await chromium.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        await page.goto(f"http://127.0.0.1:{settings.http_bind_port}/docs")
        for route in ROUTES:
            shown = page.locator(".opblock-summary", has=page.locator(f'[data-path="{route.path}"]'))
            await expect(shown).to_contain_text(route.method)
        await page.locator('.opblock-summary:has([data-path="/logic/send"])').click()
        await expect(page.locator(".opblock.is-open")).to_contain_text("userName")
        await page.get_by_role("button", name="Try it out").click()
        await page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table")
        await expect(answer.locator(".response-col_status").last).to_contain_text("200")
        await expect(answer).to_contain_text('"status": "success"')
        await page.close()
    assert faults == []
