"""Hostile frames: the Python client takes each as valid, or shows it as text, as the JavaScript client does."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from chatroom_client import ChatClient, Message, System
from tests import conformance
from tests.integration.clients.python.in_room import in_room
from tests.support.scripted_server import ScriptedServer

TABLE: Final = json.loads((Path(conformance.__path__[0]) / "hostile.json").read_text())
LONG: Final = "x" * 500_000
DEEP: Final = "[" * 100_000 + "]" * 100_000


async def shown_until(chat: ChatClient, end: int) -> list[str]:
    """Return the table's word for each event up to the message of this seq."""
    seen: list[str] = []
    async for event in chat:
        if isinstance(event, Message):
            if event.seq == end:
                break
            seen.append("message" if event.room == "r" else "elsewhere")
        elif isinstance(event, System):
            seen.append("system")
    return seen


@pytest.mark.parametrize("row", TABLE, ids=[row["name"] for row in TABLE])
async def test_hostile_frame_does_no_harm(server: ScriptedServer, row: dict[str, Any]) -> None:
    """The client reports what the table says, and takes the next message of the room."""
    async with in_room(server) as (chat, peer):
        await peer.text(row["text"].replace("<room>", "r").replace("<long>", LONG).replace("<deep>", DEEP))
        if row["rejoins"]:
            await peer.let_in()
        await peer.deliver(1)
        shown = await shown_until(chat, end=1)
        if row["shown"] != "any":
            assert shown == ([] if row["shown"] == "nothing" else [row["shown"]])


async def test_pushed_message_has_no_place_in_the_log(server: ScriptedServer) -> None:
    """It has no seq, whatever its text says. Missing fields are empty."""
    async with in_room(server) as (chat, peer):
        await peer.say("serverMessages", roomId="r", messages=[{"content": "hi", "seq": 5, "timestamp": None}])
        async for event in chat:
            if isinstance(event, Message):
                assert (event.epoch, event.seq, event.id, event.timestamp, event.user.id) == (0, 0, "", 0, "")
                return
    raise AssertionError("no message came")
