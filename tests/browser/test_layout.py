"""The page's layout in Chromium: whatever users type, no element leaves its column, on a desktop and on a phone."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Route, expect

from chatroom_client import ChatClient
from testbed.service import CometProgram
from tests.browser.conftest import OpenWindow
from tests.browser.test_page import PHONE, push
from tests.browser.window import Window

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAYOUT: Final = Path(__file__).with_name("layout.js").read_text()
SCREENS: Final[dict[str, dict[str, Any]]] = {"desktop": {}, "phone": PHONE}
NAMES: Final = ("Maximiliane-Featherstone1", "W" * 64)
RTL_NAME: Final = "\N{ARABIC LETTER MEEM}" * 60
ROOMS: Final = ("general-discussion-of-releases", "W" * 128, "\N{CJK UNIFIED IDEOGRAPH-8BFB}" * 40)
TEXTS: Final = {
    "word": "x" * 5000,
    "link": "See https://example.org/" + "a-long-path/" * 30 + "?q=" + "z" * 200 + " for more",
    "code": "Look:\n```\nlet veryLongLine = " + "1234567890 + " * 40 + "1;\n" * 12 + "```\nand `" + "c" * 300 + "`",
    "rtl": "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} " * 80 + "\N{ARABIC LETTER MEEM}" * 300,
    "emoji": "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}" * 200,
    "marks": "Z" + "\N{COMBINING TILDE}" * 500,
    "lines": "line\n" * 60,
}


async def check(window: Window, step: str) -> None:
    """Compare all boxes."""
    assert (step, await window.page.evaluate(LAYOUT)) == (step, [])


async def look_into_drawers(window: Window, step: str) -> None:
    """Open each drawer of a narrow screen, and compare."""
    for button, drawer in (("#menu", "#sidebar"), ("#people-toggle", "#people")):
        if await window.page.locator(button).is_visible():
            await window.page.locator(button).click()
            await expect(window.page.locator(drawer)).to_have_css("transform", "none")
            await check(window, f"{step}: {drawer}")
            await window.page.keyboard.press("Escape")


@pytest.mark.parametrize("screen", SCREENS)
async def test_no_input_breaks_the_layout(comet: CometProgram, open_window: OpenWindow, screen: str) -> None:
    """A long name, long rooms, one long word, code, links, other scripts, and what operators push."""
    how = {**SCREENS[screen], "reduced_motion": "reduce"}
    windows = [await open_window(comet, name, ROOMS[0], **how) for name in NAMES]
    window = windows[0]
    for room in ROOMS[1:]:
        await window.page.goto(f"{window.page.url.partition('#')[0]}#{room}")
        await expect(window.page.get_by_role("heading", name=room)).to_be_attached()
        await check(window, room)
        await look_into_drawers(window, room)
    await window.page.go_back()
    await window.page.go_back()
    await expect(window.page.get_by_role("heading", name=ROOMS[0])).to_be_attached()
    async with ChatClient(comet.url, name=RTL_NAME, rooms=[ROOMS[0]]) as other:
        await other.send(ROOMS[0], f"hello, {screen}")  # the room is that of all screens
        await expect(window.message(f"hello, {screen}")).to_be_attached()
        await expect(window.page.locator("#people-list li")).to_have_count(3)
        await look_into_drawers(window, "names")
    for name, text in TEXTS.items():
        await window.page.get_by_role("textbox", name="Message #").fill(text)
        await check(window, f"{name} in the composer")
        await window.page.keyboard.press("Enter")
        await expect(window.page.locator(".own").last.get_by_role("img", name="Sent")).to_be_attached()
        for one in windows:
            await check(one, f"{name} sent")
    await push(comet, ROOMS[0], json.dumps("p" * 3000 + " https://example.org/" + "q" * 500)[1:-1])
    await expect(window.page.locator(".system")).to_be_attached()
    await window.say("\N{EURO SIGN}" * 6000)
    await expect(window.page.locator(".failed")).to_be_attached()
    await check(window, "a refused message")
    await look_into_drawers(window, "all")
    assert await window.barriers() == []


async def test_older_browser_gets_the_light_theme(comet: CometProgram, open_window: OpenWindow) -> None:
    """Without `light-dark()`, which Safari 16 lacks, text and background still have their colors."""
    alice = await open_window(comet, "Alice", "older")

    async def without_light_dark(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace("light-dark(", "unknown("))

    await alice.page.route("**/*.css", without_light_dark)
    await alice.page.reload()
    await alice.connected()
    await alice.say("Hello")
    bubble = alice.page.locator(".own .bubble")
    await expect(bubble).to_have_css("background-color", "rgb(11, 110, 102)")
    await expect(bubble).to_have_css("color", "rgb(255, 255, 255)")
    await expect(alice.page.locator("body")).to_have_css("background-color", "rgb(251, 250, 247)")
