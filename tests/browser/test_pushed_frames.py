"""What an operator pushes into a room, before the page in Chromium: no frame stops it, and no text becomes HTML."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import grpc
import pytest
import pytest_asyncio
from playwright.async_api import expect

from chatroom_client import ChatClient, Message
from protos import comet_pb2_grpc
from protos.comet_pb2 import BroadcastRoomReq
from protos.protocol_pb2 import Proto
from testbed.service import CometProgram
from tests import conformance
from tests.browser.conftest import OpenWindow

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLES: Final = Path(conformance.__path__[0])
TABLE: Final = json.loads((TABLES / "hostile.json").read_text())
FORGED: Final = json.loads((TABLES / "forged.json").read_text())
LONG: Final = "x" * 20_000
HUGE: Final = "x" * 10_000_000  # past the bytes that Comet keeps for a slow session
DEEP: Final = "[" * 50_000 + "]" * 50_000
TIMEOUT_S: Final = 30.0
SHOWN: Final = """
(texts) => {
  const shown = new Set([...document.querySelectorAll(".bubble p")].map((one) => one.textContent));
  return texts.every((text) => shown.has(text));
}"""
WRITTEN: Final = (
    "<b>bold</b> https://a.example/x_(y), (http://b.example). javascript:alert(1) `<i>http://c.example</i>`\n"
    "```js\nlet a = '<img src=x onerror=alert(1)>'; // https://d.example\n```\nmailto:a@e.example!"
)


@pytest_asyncio.fixture(loop_scope="module")
async def stub(comet: CometProgram) -> AsyncIterator["comet_pb2_grpc.CometAsyncStub"]:
    """The node's gRPC interface."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{comet.grpc_port}") as channel:
        made: comet_pb2_grpc.CometAsyncStub = comet_pb2_grpc.CometStub(channel)
        yield made


async def push(stub: "comet_pb2_grpc.CometAsyncStub", room: str, body: str) -> None:
    """Push a raw text into a room."""
    request = BroadcastRoomReq(room_id=room, proto=Proto(ver=1, op=4, body=body))
    await stub.BroadcastRoom(request, timeout=TIMEOUT_S)


async def is_refused(stub: "comet_pb2_grpc.CometAsyncStub", room: str, body: str) -> bool:
    """Push a raw text into a room and return whether Comet refuses it as invalid."""
    try:
        await push(stub, room, body)
    except grpc.aio.AioRpcError as e:
        if e.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise
        return True
    return False


async def heard(chat: ChatClient, content: str) -> None:
    """Wait for a message."""
    async with asyncio.timeout(TIMEOUT_S):
        async for event in chat:
            if isinstance(event, Message) and event.content == content:
                return


async def test_no_pushed_frame_stops_the_page(
    comet: CometProgram, open_window: OpenWindow, stub: "comet_pb2_grpc.CometAsyncStub"
) -> None:
    """After each frame the page still sends and receives, and so does the Python client. Comet refuses forged ones."""
    rows = [(row["name"], row["text"], row["refused"]) for row in TABLE]
    rows += [(f"forged: {row['name']}", row["text"], True) for row in FORGED]
    huge = '{"type":"serverMessages","payload":{"roomId":"<room>","messages":[{"content":"<huge>"}]}}'
    rows.append(("10 MB", huge, False))
    alice = await open_window(comet, "Alice", "wild")
    async with ChatClient(comet.url, name="Bob", rooms=["wild"]) as bob:
        for name, text, refused in rows:
            body = (
                text.replace("<room>", "wild").replace("<long>", LONG).replace("<deep>", DEEP).replace("<huge>", HUGE)
            )
            assert (name, await is_refused(stub, "wild", body)) == (name, refused)
            await alice.page.keyboard.insert_text(f"after {name}")
            await alice.page.keyboard.press("Enter")
            await bob.send("wild", f"answer to {name}")
            await alice.page.wait_for_function(SHOWN, arg=[f"after {name}", f"answer to {name}"])
            await heard(bob, f"after {name}")
            assert (name, alice.faults) == (name, [])
        await alice.connected()
    assert await alice.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_links_and_code_are_shown_as_such(
    comet: CometProgram, open_window: OpenWindow, stub: "comet_pb2_grpc.CometAsyncStub"
) -> None:
    """Text is text. A link names its target only, and nothing in code is one."""
    alice = await open_window(comet, "Alice", "links")
    await alice.page.get_by_role("textbox", name="Message #").fill(WRITTEN)
    await alice.page.keyboard.press("Enter")
    await push(stub, "links", "Maintenance: see https://status.example/now.")
    bubble = alice.page.locator(".message .bubble")
    await expect(bubble.get_by_role("link")).to_have_text(
        ["https://a.example/x_(y)", "http://b.example", "mailto:a@e.example"]
    )
    links = alice.page.locator("#messages a")
    await expect(links).to_have_count(4)
    kinds = await links.evaluate_all("(all) => all.map((one) => [one.protocol, one.rel, one.target])")
    assert kinds == [[kind, "noopener noreferrer", "_blank"] for kind in ("https:", "http:", "mailto:", "https:")]
    assert await links.last.get_attribute("href") == "https://status.example/now"
    await expect(bubble.locator("p code")).to_have_text(["<i>http://c.example</i>"])
    await expect(bubble.locator("pre code")).to_have_text(
        ["let a = '<img src=x onerror=alert(1)>'; // https://d.example"]
    )
    await expect(bubble.locator("b, i, img")).to_have_count(0)
    assert await alice.barriers() == []
