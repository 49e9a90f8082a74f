"""The client's questions for history: each gets its own answer, whatever happens to the connection meanwhile."""

import asyncio

import pytest

from chatroom_client import BadRequest, Disconnected, History
from tests.integration.clients.python.in_room import in_room
from tests.support.scripted_server import Peer, ScriptedServer, message


async def page(peer: Peer, room: str, *seqs: int, more: bool = False) -> None:
    """Answer a question."""
    messages = [message(seq) for seq in seqs]
    await peer.say("roomHistory", roomId=room, epoch=7, messages=messages, hasMoreMessages=more)


def seqs(history: History) -> list[int]:
    """Return the seqs of a page."""
    return [one.seq for one in history.messages]


async def test_each_question_gets_its_answer(server: ScriptedServer) -> None:
    """By room, and within a room in the order of asking; one that nobody waits for is not taken for another's."""
    async with in_room(server, rooms=[]) as (chat, peer), asyncio.TaskGroup() as tasks:
        given_up = tasks.create_task(chat.history("r"))
        first = tasks.create_task(chat.history("r", before="1-9", limit=2))
        other = tasks.create_task(chat.history("s"))
        assert [(await peer.expect("requestRoomHistory"))["roomId"] for _ in range(3)] == ["r", "r", "s"]
        given_up.cancel()
        await page(peer, "s", 1)
        await page(peer, "r", 8, 9, more=True)
        await page(peer, "r", 6, 7, more=True)
        assert (seqs(await other), (await other).more) == ([1], False)
        assert (seqs(await first), (await first).more) == ([6, 7], True)


async def test_it_is_asked_again_on_the_next_connection(server: ScriptedServer) -> None:
    """With the same words; and a refusal for the moment is waited out."""
    async with in_room(server, rooms=[]) as (chat, peer), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(chat.history("r", before="1-9", limit=2))
        asked = await peer.expect("requestRoomHistory")
        assert (asked["firstMessageId"], asked["limit"]) == ("1-9", 2)
        peer.cut()
        again = await server.accept()
        assert await again.expect("requestRoomHistory") == asked
        await again.refuse(asked, "unavailable")
        assert await again.expect("requestRoomHistory") == asked
        await page(again, "r", 7, 8)
        assert seqs(await asking) == [7, 8]


async def test_what_is_refused_for_good_is_raised(server: ScriptedServer) -> None:
    """And the end of the client too."""
    async with in_room(server, rooms=[]) as (chat, peer):
        asking = asyncio.gather(chat.history("r", limit=1000), chat.history("r"), return_exceptions=True)
        await peer.refuse(await peer.expect("requestRoomHistory"), "bad_request")
        await peer.close(4003)
        assert [type(fault) for fault in await asking] == [BadRequest, Disconnected]
        with pytest.raises(Disconnected):
            await chat.history("r")
