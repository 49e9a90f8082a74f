"""The page in Chromium: what visitors do, what they see while the server dies, and whether everybody can use it."""

import asyncio
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute, expect

from chatroom_client import ChatClient
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.browser.conftest import OpenWindow, Shoot
from tests.browser.window import Window
from tests.support.comet_maker import CometMaker

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SCRIPT_TAG = "<script>document.title = 'mine'</script><img src=x onerror=\"document.title = 'mine'\">"
TARGET_PX = 44
ROOMS = {"light": ("general", "deploys"), "dark": ("lounge", "kitchen")}
PEOPLE = {"Mara Lindqvist": "1002", "Ines": "1003", "Tomás Reyes": "1005", "Jun Park": "1006"}
CONVERSATION = [
    ("Mara Lindqvist", "Morning! The new gateway runs on two nodes now."),
    ("Mara Lindqvist", "I killed one on purpose, and nobody noticed 😄"),
    ("Tomás Reyes", "Mine reconnected, and the messages were just there. No duplicates either?"),
    ("Ines", "None. Every message carries its position: a repeat is harmless, a gap is visible."),
    ("Alice", "One log a room is the truth, everything else is a hint."),
    ("Alice", "Want to see it fail over while we talk?"),
    ("Tomás Reyes", "Please. I will keep typing."),
    ("Jun Park", "<script>alert('hello')</script> stays text, I checked"),
    ("Mara Lindqvist", "Restarting node 2 now"),
]


async def push(comet: CometProgram, room: str, text: str) -> None:
    """Push a raw text into a room, as an operator does by hand."""
    request = f'{{"roomId": "{room}", "proto": {{"ver": 1, "op": 4, "seq": 0, "body": "{text}"}}}}'
    program = str(Path(sys.executable).with_name("grpcurl"))
    address, method = f"127.0.0.1:{comet.grpc_port}", "ChatRoom.Comet.Comet/BroadcastRoom"
    await asyncio.to_thread(lambda: subprocess.run([program, "-plaintext", "-d", request, address, method], check=True))


async def come_online(*windows: Window) -> None:
    """Tell the pages what a browser does when the network is there again: then they wait no longer."""
    for window in windows:
        await window.page.evaluate("dispatchEvent(new Event('online'))")


async def test_two_people_chat(comet: CometProgram, open_window: OpenWindow) -> None:
    """Both see both's messages once, in one order, as text; who is there, and what an operator pushed."""
    alice, bob = await open_window(comet, "Alice", "den"), await open_window(comet, "Bob", "den")
    await alice.say("Hello Bob")
    await expect(bob.message("Hello Bob")).to_contain_text("Alice")
    await bob.say("Hello Alice")
    await expect(bob.message("Hello Alice").get_by_role("img", name="Sent")).to_be_visible()
    await expect(alice.messages).to_have_text(["Hello Bob", "Hello Alice"])
    await alice.say(SCRIPT_TAG)
    for window in (alice, bob):
        await expect(window.messages).to_have_text(["Hello Bob", "Hello Alice", SCRIPT_TAG])
        await expect(window.page).to_have_title("#den · ChatRoom")
        await expect(window.page.get_by_role("complementary", name="Who is online")).to_contain_text("2")
        await expect(window.page.get_by_role("listitem").filter(has_text="(you)")).to_have_count(1)
    await push(comet, "den", "Maintenance at five")
    for window in (alice, bob):
        await expect(window.page.locator(".system")).to_have_text("SystemMaintenance at five")


@pytest.mark.parametrize(
    ("offered", "selected"), [([], ""), (["mqtt", "chatroom.v1"], "chatroom.v1"), (["mqtt"], None)]
)
async def test_a_browser_connects_with_our_subprotocol_or_none(
    comet: CometProgram, open_window: OpenWindow, offered: list[str], selected: str | None
) -> None:
    """A browser itself fails a handshake of which no offer was selected."""
    window = await open_window(comet, "Alice", "den")
    opening = """([url, offered]) => new Promise((resolve) => {
        const socket = new WebSocket(url, offered);
        socket.onopen = () => resolve(socket.protocol);
        socket.onerror = () => resolve(null);
    })"""
    assert await window.page.evaluate(opening, [comet.url, offered]) == selected


async def test_rooms_are_joined_counted_and_left(comet: CometProgram, open_window: OpenWindow) -> None:
    """What is not read yet is counted, over a reload, too, and gone when it is read; a room that is left stays away."""
    alice, bob = await open_window(comet, "Alice", "cellar"), await open_window(comet, "Bob", "cellar-attic")
    await alice.join("cellar-attic")
    await expect(alice.page.get_by_role("heading", name="# cellar-attic")).to_be_visible()
    await alice.room("cellar").click()
    for text in ("my one", "my two", "my three"):
        await alice.say(text)
        await expect(alice.message(text).get_by_role("img", name="Sent")).to_be_visible()
    await alice.room("cellar-attic").click()
    await alice.page.reload()
    await alice.connected()
    await expect(alice.page).to_have_title("#cellar-attic · ChatRoom")
    await expect(alice.room("cellar")).not_to_contain_text("unread")
    await alice.room("cellar").click()
    await bob.say("one")
    await bob.say("two")
    await expect(alice.room("cellar-attic")).to_contain_text("2 unread")
    await expect(alice.page).to_have_title("(2) #cellar · ChatRoom")
    await alice.page.reload()
    await expect(alice.room("cellar-attic")).to_contain_text("2 unread")
    await bob.say("three")
    await expect(alice.room("cellar-attic")).to_contain_text("3 unread")
    await alice.room("cellar-attic").click()
    await expect(alice.messages).to_have_text(["one", "two", "three"])
    await expect(alice.page).to_have_title("#cellar-attic · ChatRoom")
    await alice.page.get_by_role("button", name="Leave this room").click()
    await alice.page.reload()
    await alice.connected()
    await expect(alice.room("cellar")).to_be_visible()
    await expect(alice.room("cellar-attic")).to_have_count(0)


async def test_history_of_a_later_epoch_is_not_unread(
    make_comet: CometMaker, own_redis: RedisServer, open_window: OpenWindow
) -> None:
    """Redis was restarted between the messages of a room that is not open; only messages that come later count."""
    comet = await asyncio.to_thread(make_comet, own_redis.url)
    async with ChatClient(comet.url, name="Bob", uid="bob", rooms=["attic"]) as bob:
        await bob.send("attic", "before")
        await asyncio.to_thread(own_redis.kill)
        await asyncio.to_thread(own_redis.start)
        await bob.send("attic", "after")
        alice = await open_window(comet, "Alice", "attic")
        await expect(alice.messages).to_have_text(["before", "after"])
        await alice.join("den")
        await expect(alice.page).to_have_title("#den · ChatRoom")
        await alice.page.reload()
        await alice.connected()
        await bob.send("attic", "new")
        await expect(alice.room("attic")).to_contain_text("1 unread")
        await alice.page.reload()
        await alice.connected()
        await expect(alice.room("attic")).to_contain_text("1 unread")


async def test_a_message_that_waits_for_its_turn_is_pending_then_sent(
    make_comet: CometMaker, redis_url: str, open_window: OpenWindow
) -> None:
    """The page sends as fast as the server allows, and is not closed however fast somebody types."""
    slow = {"COMET_RATE_MESSAGES_PER_SECOND": "2", "COMET_RATE_BURST_MESSAGES": "6"}
    alice = await open_window(await asyncio.to_thread(make_comet, redis_url, **slow), "Alice", "den")
    said = ["one", "two", "three", "four"]
    for text in said:
        await alice.say(text)
    await expect(alice.message("four").get_by_role("img", name="Sending")).to_be_visible()
    for text in said:
        await expect(alice.message(text).get_by_role("img", name="Sent")).to_be_visible()
    await expect(alice.messages).to_have_text(said)
    await alice.connected()


async def test_the_page_survives_the_servers_death(
    make_comet: CometMaker, redis_url: str, open_window: OpenWindow
) -> None:
    """What is sent meanwhile is pending, then sent; what others sent is there, once and in order; a hole is told."""
    kept = {"CHAT_ROOM_MAX_MESSAGES": "100"}
    comet, other = await asyncio.gather(*(asyncio.to_thread(make_comet, redis_url, **kept) for _ in range(2)))
    alice, bob = await open_window(comet, "Alice", "den"), await open_window(comet, "Bob", "den", **PHONE)
    await alice.say("before")
    await expect(bob.message("before")).to_be_visible()
    await asyncio.to_thread(comet.kill)
    await expect(alice.page.get_by_role("status")).to_contain_text("Trying again")
    assert await alice.barriers() == []
    await bob.page.get_by_role("button", name="online; show who").tap()
    await bob.people.get_by_role("button", name="Close").tap()
    await alice.say("meanwhile")
    await expect(alice.message("meanwhile").get_by_role("img", name="Sending")).to_be_visible()
    async with ChatClient(other.url, name="Carol", rooms=["den"]) as carol:
        await carol.send("den", "from elsewhere")
        await asyncio.to_thread(comet.start)
        await come_online(alice, bob)
        await expect(alice.message("meanwhile").get_by_role("img", name="Sent")).to_be_visible()
        for window in (alice, bob):
            await expect(window.messages).to_have_text(["before", "from elsewhere", "meanwhile"])
            await expect(window.page.locator(".hole")).to_have_count(0)
            await window.connected()
        await asyncio.to_thread(comet.kill)
        await asyncio.gather(*(carol.send("den", f"unseen {i}") for i in range(400)))
        await carol.send("den", "last")
    await asyncio.to_thread(comet.start)
    await come_online(alice, bob)
    for window in (alice, bob):
        await expect(window.message("last")).to_be_visible()
        await expect(window.page.locator(".hole")).to_have_count(1)
        assert await window.barriers() == []


async def test_history_is_scrolled_up_to_its_beginning(comet: CometProgram, open_window: OpenWindow) -> None:
    """Over a thousand messages, each once and in order; the reader's place stays while older ones come above it."""
    texts = [f"message {i}" for i in range(1050)]
    async with ChatClient(comet.url, name="Carol", rooms=["hall"]) as carol:
        await asyncio.gather(*(carol.send("hall", text) for text in texts))
    alice = await open_window(comet, "Alice", "hall")
    await expect(alice.messages).to_have_count(120)  # what joining showed, and one page
    await expect(alice.message(texts[-1])).to_be_in_viewport()
    while not await alice.page.get_by_text("This is where #hall begins").is_visible():
        shown = await alice.messages.count()
        key = await alice.page.locator(".message").first.get_attribute("data-key")
        await alice.scroll.evaluate("(scroll) => { scroll.scrollTop = 0; }")
        await expect(alice.messages).not_to_have_count(shown)
        await expect(alice.page.locator(f'[data-key="{key}"]')).to_be_in_viewport()
    assert await alice.texts() == texts
    await alice.page.get_by_role("button", name="Latest").click()
    await expect(alice.message(texts[-1])).to_be_in_viewport()


async def test_what_can_not_be_sent_says_so(comet: CometProgram, open_window: OpenWindow) -> None:
    """With the reason, and what one can do about it; the next message is not held up."""
    alice = await open_window(comet, "Alice", "porch")
    too_large = "€" * 6000  # three bytes each
    await alice.say(too_large)
    failed = alice.page.locator(".failed")
    await expect(failed).to_contain_text("at most 16384 bytes")
    await failed.get_by_role("button", name="Try again").click()
    await expect(failed).to_contain_text("at most 16384 bytes")
    await alice.say("shorter")
    await expect(alice.message("shorter").get_by_role("img", name="Sent")).to_be_visible()
    await failed.get_by_role("button", name="Discard").click()
    await expect(alice.messages).to_have_text(["shorter"])


async def test_a_message_that_failed_is_sent_by_trying_again(comet: CometProgram, open_window: OpenWindow) -> None:
    """Once, as everybody sees."""
    alice, bob = await open_window(comet, "Alice", "attic"), await open_window(comet, "Bob", "attic")
    refused: list[str] = []

    def stand_between(client: WebSocketRoute) -> None:
        server = client.connect_to_server()

        def pass_on(frame: str | bytes) -> None:
            asked = json.loads(frame)
            if asked["type"] != "clientMessages" or refused:
                server.send(frame)
                return
            refused.append(asked["payload"]["ref"])
            fault = {"code": "forbidden", "message": "not now", "ref": refused[0]}
            client.send(json.dumps({"type": "error", "payload": fault}))

        client.on_message(pass_on)

    await alice.page.route_web_socket("**/*", stand_between)
    await alice.page.reload()
    await alice.connected()
    await alice.say("once more")
    await expect(alice.page.locator(".failed")).to_contain_text("Not sent: not now")
    await alice.page.get_by_role("button", name="Try again").click()
    for window in (alice, bob):
        await expect(window.messages).to_have_text(["once more"])
    await expect(alice.message("once more").get_by_role("img", name="Sent")).to_be_visible()
    await expect(alice.page.locator(".failed")).to_have_count(0)


async def test_a_phone_has_drawers(comet: CometProgram, open_window: OpenWindow) -> None:
    """Nothing is wider than the screen, and what is touched is large enough."""
    alice = await open_window(comet, "Alice", "road", **PHONE)
    page = alice.page
    await alice.say("From the road: " + "averyverylongword" * 20)
    await expect(page.get_by_role("img", name="Sent")).to_be_visible()
    await page.get_by_role("button", name="Rooms").tap()
    await alice.join("road-attic")
    await expect(page.get_by_role("heading", name="# road-attic")).to_be_visible()
    await expect(alice.room("road-attic")).not_to_be_visible()
    await page.get_by_role("button", name="online; show who").tap()
    await expect(page.get_by_text("(you)")).to_be_visible()
    await alice.people.get_by_role("button", name="Close").tap()
    await expect(page.get_by_text("(you)")).not_to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
    sizes = await page.locator("button:visible, textarea").evaluate_all(
        "(all) => all.map((one) => [one.ariaLabel, one.offsetWidth, one.offsetHeight])"
    )
    assert [one for one in sizes if min(one[1:]) < TARGET_PX] == []


async def test_the_keyboard_is_enough(comet: CometProgram, open_window: OpenWindow) -> None:
    """A message of two lines, another room and back, what was refused discarded, who is online, and leaving."""
    alice = await open_window(comet, "Alice", "desk")
    keys = alice.page.keyboard
    await expect(alice.page.get_by_role("textbox", name="Message #desk")).to_be_focused()
    await keys.type("one")
    await keys.press("Shift+Enter")
    await keys.type("two")
    await keys.press("Enter")
    await expect(alice.messages).to_have_text(["one\ntwo"])
    await keys.press("Alt+ArrowUp")
    await expect(alice.page.get_by_role("textbox", name="Message #room_001")).to_be_focused()
    await keys.press("Alt+ArrowDown")
    text = alice.page.get_by_role("textbox", name="Message #desk")
    await expect(text).to_be_focused()
    await keys.insert_text("€" * 6000)
    await keys.press("Enter")
    await expect(alice.page.locator(".failed")).to_be_visible()
    await alice.tab_to(alice.page.get_by_role("button", name="Discard"), "Shift+Tab")
    await keys.press("Enter")
    await expect(alice.messages).to_have_text(["one\ntwo"])
    await expect(text).to_be_focused()
    await alice.tab_to(alice.scroll, "Shift+Tab")
    await alice.tab_to(alice.page.get_by_role("textbox", name="Join or create a room"), "Shift+Tab")
    await keys.type("desk-drawer")
    await keys.press("Enter")
    await expect(alice.page.get_by_role("textbox", name="Message #desk-drawer")).to_be_focused()
    await alice.tab_to(alice.room("desk"), "Shift+Tab")
    await keys.press("Enter")
    await expect(text).to_be_focused()
    await alice.tab_to(alice.page.get_by_role("button", name="Leave this room"), "Shift+Tab")
    await keys.press("Enter")
    await expect(alice.room("desk")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(
    comet: CometProgram, open_window: OpenWindow, shoot: Shoot, scheme: str
) -> None:
    """On a desktop with all that can be shown, and on a phone with and without a drawer: the README's pictures."""
    room, side = ROOMS[scheme]
    looks: dict[str, Any] = {"color_scheme": scheme, "reduced_motion": "reduce"}
    async with AsyncExitStack() as stack:
        others = {
            name: await stack.enter_async_context(ChatClient(comet.url, name=name, uid=uid, rooms=[room, side]))
            for name, uid in PEOPLE.items()
        }
        alice = await open_window(comet, "Alice", room, **looks)
        await alice.join(side)
        await expect(alice.room(side)).to_be_visible()
        await alice.room(room).click()
        for name, text in CONVERSATION:
            if name == "Alice":
                await alice.say(text)
            else:
                await others[name].send(room, text)
            await expect(alice.messages.last).to_have_text(text)
        for text in ("node 1 is up to date", "node 2 is up to date", "both are well"):
            await others["Ines"].send(side, text)
        await expect(alice.room(side)).to_contain_text("3")
        await push(comet, room, "Maintenance tonight at ten")
        await expect(alice.page.locator("#people-list li")).to_have_count(5)
        phone = await open_window(comet, "Alice", room, **looks, **PHONE, device_scale_factor=2)
        await expect(phone.messages.last).to_have_text(CONVERSATION[-1][1])
        await shoot(alice, f"desktop-{scheme}")
        await shoot(phone, f"phone-{scheme}")
        assert await phone.barriers() == []
        await alice.say("€" * 6000)
        await expect(alice.page.locator(".failed")).to_be_visible()
        await phone.page.get_by_role("button", name="Rooms").tap()
        await expect(phone.room(room)).to_be_visible()
        for window in (alice, phone):
            assert await window.barriers() == []
