"""The page in Chromium: one browser's user over tabs and reloads, where they stopped to read, and without a token."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import jwt
import pytest
from playwright.async_api import Browser, expect

from chatroom_client import ChatClient
from testbed.service import CometProgram
from tests.browser.conftest import OpenWindow
from tests.browser.test_layout import LAYOUT
from tests.browser.test_page import PHONE
from tests.browser.window import Window
from tests.support.comet_maker import CometMaker

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY: Final = "a key that is long enough for any HMAC: " + "k" * 64
BLOCKED: Final = """
for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, { get() { throw new DOMException("It is insecure.", "SecurityError"); } });
delete crypto.randomUUID;
delete window.Notification;
delete Navigator.prototype.clipboard;
"""
OLD_NAME: Final = """(name) => {
    const kept = JSON.parse(sessionStorage.chatroom);
    sessionStorage.chatroom = JSON.stringify({ ...kept, me: { ...kept.me, name } });
}"""


@asynccontextmanager
async def browser_of_its_own(chromium: Browser, script: str = "", **how: Any) -> AsyncIterator["Tabs"]:
    """Open a browser profile, whose tabs share what they remember."""
    context = await chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **how})
    if script:
        await context.add_init_script(script)
    tabs = Tabs(context)
    try:
        yield tabs
    finally:
        await context.close()
    assert [fault for window in tabs.windows for fault in window.faults] == []


class Tabs:
    """The tabs of one browser profile."""

    def __init__(self, context: Any) -> None:
        self.windows: list[Window] = []
        self._context = context

    async def open(self, url: str) -> Window:
        """Open a tab."""
        window = Window(await self._context.new_page())
        self.windows.append(window)
        await window.page.goto(url)
        return window


def url_of(comet: CometProgram, room: str) -> str:
    """Return the page's address."""
    return f"http://127.0.0.1:{comet.port}/#{room}"


async def choose_name(window: Window, name: str, button: str) -> None:
    """Fill in the dialog."""
    await expect(window.page.get_by_role("textbox", name="Your name")).to_be_focused()
    await window.page.get_by_role("textbox", name="Your name").fill(name)
    await window.page.get_by_role("button", name=button).click()


async def test_tabs_of_a_browser_are_one_user(comet: CometProgram, chromium: Browser) -> None:
    """Who comes first is asked for a name, once. A new tab shows their messages as their own; a new user is another."""
    async with browser_of_its_own(chromium) as tabs:
        first = await tabs.open(url_of(comet, "tabs"))
        await expect(first.page.get_by_role("textbox", name="Your name")).to_be_focused()
        assert await first.barriers() == []
        await choose_name(first, "Ann", "Start chatting")
        await first.connected()
        await first.say("Hello")
        await expect(first.message("Hello").get_by_role("img", name="Sent")).to_be_visible()
        await first.page.close()
        first = await (await tabs.open(url_of(comet, "tabs"))).connected()
        second = await (await tabs.open(url_of(comet, "tabs"))).connected()
        for window in (first, second):
            await expect(window.page.locator(".message.own .bubble p")).to_have_text(["Hello"])
            await expect(window.page.locator("#people-list li")).to_have_text(["AAnn(you)"])
        await second.page.get_by_role("button", name="Change your name").click()
        await choose_name(second, "Ben", "Continue as a new user")
        await expect(second.page.locator("#people-list li")).to_have_count(2)
        await expect(second.message("Hello")).to_contain_text("Ann")
        await first.page.reload()
        await first.connected()
        await expect(first.page.locator("#me")).to_contain_text("Ann")
        await expect(first.page.locator(".message.own .bubble p")).to_have_text(["Hello"])


async def test_a_new_name_costs_nothing(comet: CometProgram, chromium: Browser) -> None:
    """Escape and Cancel change nothing. Saving keeps the draft, the rooms and the page; each tab has the name."""
    async with browser_of_its_own(chromium) as tabs:
        first = await tabs.open(url_of(comet, "names"))
        await choose_name(first, "Ann", "Start chatting")
        await first.connected()
        second = await (await tabs.open(url_of(comet, "names"))).connected()
        await first.say("as Ann")
        await first.page.evaluate("window.isTheSamePage = true")
        text = first.page.get_by_role("textbox", name="Message #names")
        await text.fill("half a thought")
        for leave in ("Escape", "Cancel"):
            await first.page.get_by_role("button", name="Change your name").click()
            await first.page.get_by_role("textbox", name="Your name").fill("Nobody")
            if leave == "Cancel":
                assert await first.barriers() == []
                await first.page.get_by_role("button", name="Cancel").click()
            else:
                await first.page.keyboard.press("Escape")
            await expect(first.page.get_by_role("dialog")).not_to_be_visible()
            await expect(first.page.locator("#me")).to_contain_text("Ann")
        await first.page.get_by_role("button", name="Change your name").click()
        await choose_name(first, "Annabel", "Save")
        await expect(first.page.locator("#me")).to_contain_text("Annabel")
        await first.connected()
        await expect(text).to_have_value("half a thought")
        await text.press("Enter")
        await expect(first.message("half a thought").get_by_role("img", name="Sent")).to_be_visible()
        await expect(first.page.locator(".message.own .bubble p")).to_have_text(["as Ann", "half a thought"])
        assert await first.page.evaluate("window.isTheSamePage")
        async with ChatClient(comet.url, name="Carol", rooms=["names"]) as carol:
            names = [one.user.username for one in (await carol.history("names")).messages]
            assert names == ["Ann", "Annabel"]
        for window in (first, second):
            await expect(window.page.locator("#me")).to_contain_text("Annabel")
            await window.connected()
            await expect(window.page.locator("#people-list li").first).to_contain_text("Annabel(you)")
        await second.say("me too")
        await expect(first.message("me too").get_by_role("img", name="Sent")).to_be_visible()


@pytest.mark.parametrize("screen", ["desktop", "phone"])
async def test_a_refused_first_name_is_asked_for_again(comet: CometProgram, chromium: Browser, screen: str) -> None:
    """The dialog tells why. A refused name is not kept, and one that was kept before opens the dialog, too."""
    how = PHONE if screen == "phone" else {}
    async with browser_of_its_own(chromium, **how) as tabs:
        window = await tabs.open(url_of(comet, "asked-again"))
        fault = window.page.get_by_role("dialog").get_by_role("alert")
        await choose_name(window, "x\u200by", "Start chatting")
        await expect(fault).to_contain_text("name holds U+200B")
        assert await window.barriers() == []
        assert await window.page.evaluate(LAYOUT) == []
        await window.page.reload()
        await choose_name(window, "Ann", "Start chatting")
        await window.connected()
        await expect(window.room("asked-again")).to_have_count(1)
        await window.page.evaluate(OLD_NAME, "a\u202eb")
        await window.page.reload()
        await expect(fault).to_contain_text("name holds U+202E")
        await choose_name(window, "Ben", "Start chatting")
        await window.connected()
        await window.page.reload()
        await window.connected()
        await expect(window.page.locator("#me")).to_contain_text("Ben")


async def test_a_refused_new_name_changes_nothing(comet: CometProgram, chromium: Browser) -> None:
    """The session goes on with the name before. The draft and the rooms stay, and the dialog asks again."""
    async with browser_of_its_own(chromium) as tabs:
        first = await tabs.open(url_of(comet, "renamed"))
        await choose_name(first, "Ann", "Start chatting")
        await first.connected()
        await first.join("renamed-attic")
        text = first.page.get_by_role("textbox", name="Message #renamed-attic")
        await text.fill("half a thought")
        fault = first.page.get_by_role("dialog").get_by_role("alert")
        for button, character in (("Save", "\u202e"), ("Save", "\u200b")):
            if not await fault.is_visible():
                await first.page.get_by_role("button", name="Change your name").click()
            await choose_name(first, f"a{character}b", button)
            await expect(fault).to_contain_text(f"name holds U+{ord(character):04X}")
        await first.connected()
        await expect(first.page.locator("#me")).to_contain_text("Ann")
        await expect(first.page.get_by_role("textbox", name="Your name")).to_have_value("Ann")
        await first.page.get_by_role("button", name="Cancel").click()
        await expect(text).to_have_value("half a thought")
        await text.press("Enter")
        await expect(first.message("half a thought").get_by_role("img", name="Sent")).to_be_visible()
        second = await (await tabs.open(url_of(comet, "renamed"))).connected()
        await expect(second.page.locator("#me")).to_contain_text("Ann")
        await first.page.get_by_role("button", name="Change your name").click()
        await expect(fault).to_have_count(0)
        await choose_name(first, "b\u200bb", "Continue as a new user")
        await expect(fault).to_contain_text("name holds U+200B")
        await first.page.reload()
        await first.connected()
        await expect(first.page.locator("#me")).to_contain_text("Ann")
        await expect(first.room("renamed-attic")).to_have_count(1)


async def test_a_browser_that_forbids_storage_chats(comet: CometProgram, chromium: Browser) -> None:
    """The page works for the life of the tab: name, rooms, theme, another name."""
    async with browser_of_its_own(chromium, BLOCKED) as tabs:
        window = await tabs.open(url_of(comet, "cookies"))
        await choose_name(window, "Ann", "Start chatting")
        await window.connected()
        await window.join("cookies-attic")
        await window.say("Hello")
        await expect(window.message("Hello").get_by_role("img", name="Sent")).to_be_visible()
        await window.page.get_by_role("button", name="Use the dark theme").click()
        await expect(window.page.get_by_role("button", name="Use the light theme")).to_be_visible()
        await window.page.get_by_role("button", name="Change your name").click()
        await choose_name(window, "Ben", "Save")
        await expect(window.page.locator("#me")).to_contain_text("Ben")
        await window.connected()
        await window.say("Again")
        await expect(window.page.locator(".message.own .bubble p")).to_have_text(["Hello", "Again"])
        await expect(window.room("cookies")).to_be_visible()


@pytest.mark.parametrize("unread", [30, 150])
async def test_a_room_opens_at_the_first_unread_message(
    comet: CometProgram, open_window: OpenWindow, unread: int
) -> None:
    """After a reload the line and the message below it are in sight. The end is not, until one scrolls there."""
    room = f"novel-{unread}"
    async with ChatClient(comet.url, name="Carol", rooms=[room]) as carol:
        await asyncio.gather(*(carol.send(room, f"old {i}") for i in range(25)))
        alice = await open_window(comet, "Alice", room)
        await expect(alice.message("old 24")).to_be_in_viewport()
        address = alice.page.url
        await alice.page.goto("about:blank")
        await asyncio.gather(*(carol.send(room, f"new {i}") for i in range(unread)))
        await alice.page.goto(address)
        await alice.connected()
        line = alice.page.locator(".new")
        await expect(line).to_have_text("New messages")
        await expect(line).to_be_in_viewport()
        await expect(alice.message("new 0")).to_be_in_viewport()
        await expect(alice.message(f"new {unread - 1}")).not_to_be_in_viewport()
        await expect(alice.page).to_have_title(f"({unread}) #{room} · ChatRoom")
        assert "new" in await alice.message("new 0").evaluate("(one) => one.previousElementSibling.className")
        await alice.page.get_by_role("button", name="Latest").click()
        await expect(alice.page).to_have_title(f"#{room} · ChatRoom")
        await alice.page.reload()
        await expect(alice.message(f"new {unread - 1}")).to_be_in_viewport()
        await expect(line).to_have_count(0)


async def test_a_room_opened_after_an_empty_one_is_not_read_to_its_end(
    comet: CometProgram, open_window: OpenWindow
) -> None:
    """The view of the empty room goes before the place of the line is measured."""
    async with ChatClient(comet.url, name="Carol", rooms=["full"]) as carol:
        await asyncio.gather(*(carol.send("full", f"old {i}") for i in range(25)))
        alice = await open_window(comet, "Alice", "full")
        await expect(alice.message("old 24")).to_be_in_viewport()
        await alice.join("bare")
        await expect(alice.page.get_by_text("Welcome to #bare")).to_be_visible()
        await asyncio.gather(*(carol.send("full", f"new {i}") for i in range(30)))
        await expect(alice.room("full")).to_contain_text("30 unread")
        await alice.room("full").click()
        await expect(alice.message("new 0")).to_be_in_viewport()
        await expect(alice.page.get_by_role("button", name="Latest")).to_be_visible()
        await alice.page.evaluate(
            "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        )
        await expect(alice.message("new 29")).not_to_be_in_viewport()
        await expect(alice.page).to_have_title("(30) #full · ChatRoom")


@pytest.fixture(scope="module")
def guarded(make_comet: CometMaker, comet: CometProgram) -> CometProgram:
    """A node that lets in nobody without a token."""
    return make_comet(comet.settings["CHAT_REDIS_URL"], COMET_AUTH_KEY=KEY)


@pytest.mark.parametrize("screen", ["desktop", "phone"])
async def test_without_a_token_the_page_says_what_to_do(guarded: CometProgram, chromium: Browser, screen: str) -> None:
    """Nobody is asked for a name. The page reports an expired token. With a valid one it is a chat."""
    how = PHONE if screen == "phone" else {}
    async with browser_of_its_own(chromium, **how) as tabs:
        window = await tabs.open(url_of(guarded, f"vault-{screen}"))
        refused = window.page.locator("#refused")
        await expect(refused).to_contain_text("Sign in to chat here")
        await expect(refused).to_contain_text("?token=")
        await expect(refused).to_contain_text("this connection has none")
        await expect(window.page.get_by_role("dialog")).not_to_be_visible()
        await expect(window.page.get_by_role("textbox", name="Message")).not_to_be_visible()
        assert await window.barriers() == []
        assert await window.page.evaluate(LAYOUT) == []
        await window.page.get_by_role("button", name="Connect again").click(trial=True)
        old = jwt.encode({"sub": "u", "exp": int(time.time()) - 60}, KEY)
        await window.page.goto(f"http://127.0.0.1:{guarded.port}/?token={old}")
        await expect(refused).to_contain_text("Your token was not accepted")
        await expect(refused).to_contain_text("Signature has expired")
        assert await window.page.evaluate(LAYOUT) == []
        token = jwt.encode({"sub": "u", "name": "Uma"}, KEY)
        await window.page.goto(f"http://127.0.0.1:{guarded.port}/?token={token}#vault-{screen}")
        await window.connected()
        await window.say("Hello")
        await expect(window.message("Hello").get_by_role("img", name="Sent")).to_be_visible()
