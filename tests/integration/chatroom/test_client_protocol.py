"""The Python client against a server that does what it is told: each point at which a connection or an answer fails."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chatroom.bench.free_ports import free_port
from chatroom.client import (
    ChatClient,
    Connected,
    Disconnected,
    Event,
    Hole,
    Message,
    Position,
    Presence,
    Reconnecting,
    Removed,
    System,
)
from common.errors import BadRequest, ChatError, Forbidden, Internal, TooLarge
from tests.support.scripted_server import Peer, ScriptedServer, message, scripted_server

TIMEOUT_S = 10.0
QUICK: dict[str, Any] = {"uid": "u1", "reconnect_first_s": 0.01, "reconnect_cap_s": 0.02}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server."""
    async with scripted_server() as it:
        yield it


@asynccontextmanager
async def in_room(server: ScriptedServer, seq: int = 0, **more: Any) -> AsyncIterator[tuple[ChatClient, Peer]]:
    """Connect a client that is in room r (or those chosen) at a seq."""
    options = {**QUICK, "rooms": ["r"], **more}
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
        chat = ChatClient(server.url, **options)
        entering = tasks.create_task(chat.__aenter__())
        peer = await server.accept()
        for _ in options["rooms"]:
            await peer.let_in(seq)
        await entering
        try:
            yield chat, peer
        finally:
            await chat.close()


async def until(chat: ChatClient, kind: type[Event]) -> tuple[list[Event], Any]:
    """Read events until one of a kind comes; return those before it, and it."""
    before: list[Event] = []
    async with asyncio.timeout(TIMEOUT_S):
        async for event in chat:
            if isinstance(event, kind):
                return before, event
            before.append(event)
    raise AssertionError(f"the events ended: {before}")


async def seqs(chat: ChatClient, last: int) -> list[int]:
    """Read events until a message of this seq and return the seqs of all; nothing may be told missing."""
    found: list[int] = []
    while not found or found[-1] != last:
        before, event = await until(chat, Message)
        assert not [one for one in before if isinstance(one, Hole)]
        found.append(event.seq)
    return found


# -- sending ---------------------------------------------------------------------------------------------------------


async def test_a_send_returns_where_the_message_is_stored(server: ScriptedServer) -> None:
    """The ack's position."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(chat.send("r", "hi"))
        sent = await peer.expect("clientMessages")
        assert (sent["roomId"], sent["content"]) == ("r", "hi")
        assert chat.unacked == 1
        await peer.ack(sent, 7)
        ack = await sending
        assert (ack.room, ack.epoch, ack.seq, ack.id, ack.ref) == ("r", 1, 7, "1-7", sent["ref"])
        assert chat.unacked == 0


@pytest.mark.parametrize("read", [False, True], ids=["before it was read", "after it was read"])
@pytest.mark.parametrize("how", ["cut", "restart"])
async def test_a_lost_send_is_sent_again_with_its_ref(server: ScriptedServer, how: str, *, read: bool) -> None:
    """On the next connection, behind the room's join where it stood."""
    async with in_room(server, 4) as (chat, peer), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(chat.send("r", "hi", ref="mine"))
        if read:
            assert (await peer.expect("clientMessages"))["ref"] == "mine"
        else:
            await asyncio.sleep(0)
        if how == "cut":
            peer.cut()
        else:
            await peer.close(1012)
        again = await server.accept()
        asked = await again.expect("joinRoom")
        assert asked["since"] == {"epoch": 1, "seq": 4}
        await again.quiet()
        await again.joined("r", 5, 1, message(5, "hi"))
        sent = await again.expect("clientMessages")
        assert sent["ref"] == "mine"
        await again.ack(sent, 5)
        assert (await sending).seq == 5
        assert chat.reconnects == 1


async def test_a_send_outlives_connections_that_fail_at_each_step(server: ScriptedServer) -> None:
    """Lost before the hello, before the join is answered, before the ack: each time again, and acked once."""
    async with in_room(server) as (chat, first), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(chat.send("r", "hi"))
        sent = await first.expect("clientMessages")
        first.cut()
        (await server.accept(greet=False)).cut()
        peer = await server.accept()
        await peer.expect("joinRoom")
        peer.cut()
        peer = await server.accept()
        await peer.let_in()
        assert await peer.expect("clientMessages") == sent
        peer.cut()
        peer = await server.accept()
        await peer.let_in()
        await peer.ack(await peer.expect("clientMessages"))
        await sending
        await peer.quiet()


@pytest.mark.parametrize("code", ["unavailable", "overloaded", "rate_limited", "internal"])
async def test_what_is_refused_for_the_moment_is_sent_again(server: ScriptedServer, code: str) -> None:
    """With the same ref, and nothing else before it."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(chat.send("r", "one"))
        sent = await peer.expect("clientMessages")
        await peer.refuse(sent, code)
        await peer.text("the refusal was read")
        await until(chat, System)
        second = tasks.create_task(chat.send("r", "two"))
        assert await peer.expect("clientMessages") == sent
        other = await peer.expect("clientMessages")
        await peer.ack(sent, 1)
        await peer.ack(other, 2)
        assert ((await first).seq, (await second).seq) == (1, 2)


@pytest.mark.parametrize(
    ("code", "kind"), [("bad_request", BadRequest), ("forbidden", Forbidden), ("too_large", TooLarge)]
)
async def test_what_is_refused_for_good_is_raised(server: ScriptedServer, code: str, kind: type[ChatError]) -> None:
    """And is not sent again, and costs nobody else anything."""
    async with in_room(server) as (chat, peer):
        sending = asyncio.create_task(chat.send("r", "hi"))
        await peer.refuse(await peer.expect("clientMessages"), code)
        with pytest.raises(kind, match=f"it is {code}"):
            await sending
        await peer.quiet()
        assert (chat.connected, chat.unacked) == (True, 0)


async def test_a_message_that_the_server_fails_at_is_given_up(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own fault five times: it may be this very message."""
    monkeypatch.setattr("chatroom.client.RETRY_FIRST_S", 0.001)
    async with in_room(server) as (chat, peer):
        sending = asyncio.create_task(chat.send("r", "hi"))
        for _ in range(5):
            await peer.refuse(await peer.expect("clientMessages"), "internal")
        with pytest.raises(Internal):
            await sending


async def test_a_cancelled_send_is_not_sent_again(server: ScriptedServer) -> None:
    """Nobody waits for it any more; its late ack is nobody's."""
    async with in_room(server) as (chat, first):
        sending = asyncio.create_task(chat.send("r", "hi"))
        sent = await first.expect("clientMessages")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await first.ack(sent)
        first.cut()
        peer = await server.accept()
        await peer.let_in()
        await peer.quiet()
        assert chat.unacked == 0


async def test_without_an_ack_in_time_a_send_fails(server: ScriptedServer) -> None:
    """Later the server would not know its ref any more, and store it twice."""
    async with in_room(server, ack_timeout_s=0.05) as (chat, peer):
        with pytest.raises(TimeoutError):
            await chat.send("r", "hi")
        await peer.expect("clientMessages")
        await peer.quiet()


async def test_senders_wait_while_too_much_is_unacked(server: ScriptedServer) -> None:
    """The limit holds; the next goes out with an ack."""
    async with in_room(server, unacked_limit=1) as (chat, peer), asyncio.TaskGroup() as tasks:
        tasks.create_task(chat.send("r", "one"))
        tasks.create_task(chat.send("r", "two"))
        one = await peer.expect("clientMessages")
        await peer.quiet()
        await peer.ack(one)
        two = await peer.expect("clientMessages")
        assert (one["content"], two["content"]) == ("one", "two")
        await peer.ack(two, 2)


async def test_sending_joins_the_room_first(server: ScriptedServer) -> None:
    """So that its messages are followed from a known position on."""
    async with in_room(server, rooms=[]) as (chat, peer), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(chat.send("r", "hi"))
        asked = await peer.let_in()
        assert (asked["roomId"], "since" in asked) == ("r", False)
        await peer.ack(await peer.expect("clientMessages"))
        await sending


# -- what comes ------------------------------------------------------------------------------------------------------


async def test_repeats_are_dropped(server: ScriptedServer) -> None:
    """Whole frames and parts of them."""
    async with in_room(server) as (chat, peer):
        await peer.deliver(1, 2)
        await peer.deliver(1, 2)
        await peer.deliver(2, 3)
        await peer.deliver(3)
        await peer.deliver(4)
        assert await seqs(chat, 4) == [1, 2, 3, 4]
        assert chat.rooms == {"r": Position(1, 4)}


async def test_a_hole_is_asked_for(server: ScriptedServer) -> None:
    """The room is joined again where it stood; what comes before the answer is in the answer."""
    async with in_room(server) as (chat, peer):
        await peer.deliver(1)
        await peer.deliver(3)
        await peer.deliver(4)
        asked = await peer.expect("joinRoom")
        assert asked["since"] == {"epoch": 1, "seq": 1}
        await peer.deliver(5)
        await peer.joined("r", 4, 1, message(2), message(3), message(4))
        await peer.deliver(5)
        assert await seqs(chat, 5) == [1, 2, 3, 4, 5]


async def test_what_is_sent_meanwhile_waits_for_the_room(server: ScriptedServer) -> None:
    """Else the server would join it anew by itself, and skip what is missing."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        await peer.deliver(5)
        asked = await peer.expect("joinRoom")
        sending = tasks.create_task(chat.send("r", "hi"))
        await peer.quiet()
        await peer.joined(asked["roomId"], 0)
        await peer.ack(await peer.expect("clientMessages"))
        await sending


async def test_a_hole_in_a_live_room_is_told(server: ScriptedServer) -> None:
    """The server's word for it is an unasked joined with recovered false; it goes on from there, in any epoch."""
    async with in_room(server, 10) as (chat, peer):
        await peer.joined("r", 8, 2, message(7), message(8), recovered=False)
        await peer.deliver(9, epoch=2)
        _, hole = await until(chat, Hole)
        assert hole == Hole("r", Position(1, 10), "lost")
        assert await seqs(chat, 9) == [7, 8, 9]
        await peer.quiet()


async def test_a_hole_is_told_on_resuming(server: ScriptedServer) -> None:
    """The log was trimmed while the client was away."""
    async with in_room(server, 10) as (chat, first):
        first.cut()
        peer = await server.accept()
        asked = await peer.expect("joinRoom")
        await peer.joined(asked["roomId"], 90, 1, message(90), recovered=False)
        before, hole = await until(chat, Hole)
        assert [type(one) for one in before] == [Connected, Reconnecting, Connected]
        assert hole.after == Position(1, 10)
        assert await seqs(chat, 90) == [90]


async def test_a_room_that_the_server_joined_anew_is_joined_where_it_stood(server: ScriptedServer) -> None:
    """An unasked joined that tells no hole is not taken: it would skip what came between."""
    async with in_room(server, 2) as (chat, peer):
        await peer.joined("r", 9, 1, message(9))
        await peer.deliver(10)
        asked = await peer.let_in(10, 1, *map(message, range(3, 11)))
        assert asked["since"] == {"epoch": 1, "seq": 2}
        assert await seqs(chat, 10) == list(range(3, 11))


async def test_a_recovery_that_fails_midway_goes_on_where_it_ended(server: ScriptedServer) -> None:
    """The error carries the join's ref; the first page was taken."""
    async with in_room(server, 2) as (chat, first):
        first.cut()
        peer = await server.accept()
        asked = await peer.let_in(4, 1, message(3), message(4))
        await peer.refuse(asked, "unavailable")
        asked = await peer.let_in(5, 1, message(5))
        assert asked["since"] == {"epoch": 1, "seq": 4}
        assert await seqs(chat, 5) == [3, 4, 5]


async def test_a_joins_recent_messages_are_shown_as_such(server: ScriptedServer) -> None:
    """They are older than the join."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(chat.join("other"))
        await peer.let_in(3, 1, message(2), message(3))
        assert (await joining).position == Position(1, 3)
        _, first = await until(chat, Message)
        assert (first.room, first.seq, first.recent, first.user.username) == ("other", 2, True, "Alice")
        await peer.deliver(4, room="other")
        assert await seqs(chat, 4) == [3, 4]


async def test_what_is_no_frame_is_a_system_line(server: ScriptedServer) -> None:
    """Raw text, JSON of other kinds, and frames whose payload makes no sense; the client lives on."""
    texts = ["maintenance at 5", '{"a":1}', "{broken", '{"type":"news","payload":{}}', '{"type":"ack","payload":{}}']
    async with in_room(server) as (chat, peer):
        for text in texts:
            await peer.text(text)
            _, line = await until(chat, System)
            assert line == System(text)


async def test_messages_without_a_position_are_shown(server: ScriptedServer) -> None:
    """Another system pushed them: they move nothing."""
    async with in_room(server, 3) as (chat, peer):
        await peer.say("serverMessages", roomId="r", messages=[{"content": "hello"}])
        _, pushed = await until(chat, Message)
        assert (pushed.content, pushed.seq, chat.rooms["r"].seq) == ("hello", 0, 3)


async def test_presence_is_watched_over_reconnects(server: ScriptedServer) -> None:
    """Asked for again on each connection."""
    async with in_room(server) as (chat, first):
        await chat.watch("r")
        assert await first.expect("requestPresence") == {"roomId": "r", "watch": True}
        first.cut()
        peer = await server.accept()
        await peer.let_in()
        await peer.expect("requestPresence")
        await peer.say("presence", roomId="r", onlineCount=1, users=[{"id": "u1", "username": "Alice"}])
        _, seen = await until(chat, Presence)
        assert (seen.online, seen.users[0].id) == (1, "u1")


async def test_events_that_are_not_read_are_dropped_and_told(server: ScriptedServer) -> None:
    """Memory is bounded; the reader gets one hole in place of what is gone."""
    async with in_room(server, events_limit=3) as (chat, peer):
        await peer.deliver(*range(1, 8))
        await peer.deliver(8)
        while chat.rooms["r"].seq < 8:
            await asyncio.sleep(0)
        _, hole = await until(chat, Hole)
        assert hole == Hole("r", Position(1, 0), "unread")
        assert await seqs(chat, 8) == [6, 7, 8]


# -- joining and leaving ---------------------------------------------------------------------------------------------


async def test_a_refused_join_is_raised(server: ScriptedServer) -> None:
    """The room is not asked for again."""
    async with in_room(server) as (chat, first):
        joining = asyncio.create_task(chat.join("secret"))
        await first.refuse(await first.expect("joinRoom"), "forbidden")
        with pytest.raises(Forbidden):
            await joining
        first.cut()
        peer = await server.accept()
        await peer.let_in()
        await peer.quiet()


async def test_a_join_is_tried_again_while_the_server_can_not(server: ScriptedServer) -> None:
    """Until it succeeds, over lost connections too."""
    async with in_room(server) as (chat, first), asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(chat.join("other", Position(1, 5)))
        await first.refuse(await first.expect("joinRoom"), "unavailable")
        asked = await first.expect("joinRoom")
        assert asked["since"] == {"epoch": 1, "seq": 5}
        first.cut()
        peer = await server.accept()
        await peer.let_in()
        await peer.let_in(6, 1, message(6))
        assert (await joining).position == Position(1, 6)


async def test_who_may_not_come_back_to_a_room_is_told(server: ScriptedServer) -> None:
    """And what was to be sent there fails."""
    async with in_room(server) as (chat, first):
        sending = asyncio.create_task(chat.send("r", "hi"))
        await first.expect("clientMessages")
        first.cut()
        peer = await server.accept()
        await peer.refuse(await peer.expect("joinRoom"), "forbidden")
        _, removed = await until(chat, Removed)
        assert removed == Removed("r", "it is forbidden")
        with pytest.raises(Forbidden):
            await sending


async def test_leaving_waits_for_what_was_sent(server: ScriptedServer) -> None:
    """Then nothing of the room is shown, and a new connection does not join it."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(chat.send("r", "hi"))
        sent = await peer.expect("clientMessages")
        leaving = tasks.create_task(chat.leave("r"))
        await peer.quiet()
        await peer.ack(sent)
        await peer.expect("leaveRoom")
        await peer.deliver(1)
        await peer.say("left", roomId="r")
        await asyncio.gather(sending, leaving)
        await peer.text("end")
        before, _ = await until(chat, System)
        assert [one for one in before if isinstance(one, Message)] == []
        peer.cut()
        await (await server.accept()).quiet()


@pytest.mark.parametrize("code", ["unavailable", "overloaded", "rate_limited", "internal"])
async def test_a_leave_is_tried_again_while_the_server_can_not(server: ScriptedServer, code: str) -> None:
    """With what else waits for the end of the pause; and it returns when the server says `left`."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(chat.leave("r"))
        await peer.refuse(await peer.expect("leaveRoom"), code)
        await peer.expect("leaveRoom")
        assert not leaving.done()
        await peer.say("left", roomId="r")
        await leaving
        await peer.quiet()


async def test_a_leave_during_a_pause_waits_for_its_end(server: ScriptedServer) -> None:
    """Nothing is sent until then."""
    async with in_room(server, rooms=["r", "s"]) as (chat, peer), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(chat.send("s", "hi"))
        await peer.refuse(await peer.expect("clientMessages"), "rate_limited")
        await peer.text("the refusal was read")
        await until(chat, System)
        leaving = tasks.create_task(chat.leave("r"))
        assert (await peer.expect("leaveRoom"))["roomId"] == "r"
        await peer.say("left", roomId="r")
        await leaving
        await peer.ack(await peer.expect("clientMessages"))
        await sending


async def test_a_refused_leave_is_not_the_next_ones_answer(server: ScriptedServer) -> None:
    """Nobody waits for the first any more; `left` is the answer to the second."""
    async with in_room(server) as (chat, peer):
        first = asyncio.create_task(chat.leave("r"))
        asked = await peer.expect("leaveRoom")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await peer.refuse(asked, "bad_request")
        joining = asyncio.create_task(chat.join("r"))
        await peer.let_in()
        await joining
        second = asyncio.create_task(chat.leave("r"))
        await peer.expect("leaveRoom")
        await peer.say("left", roomId="r")
        await second


async def test_a_room_that_is_wanted_again_is_not_left(server: ScriptedServer) -> None:
    """The leave was refused for the moment, and meanwhile the room is joined: it stays so."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(chat.leave("r"))
        asked = await peer.expect("leaveRoom")
        joining = tasks.create_task(chat.join("r"))
        await peer.refuse(asked, "rate_limited")
        await peer.let_in()
        await asyncio.gather(leaving, joining)
        await peer.quiet()
        assert chat.rooms == {"r": Position(1, 0)}


async def test_a_leave_that_is_refused_for_good_is_raised(server: ScriptedServer) -> None:
    """It is not tried again."""
    async with in_room(server) as (chat, peer):
        leaving = asyncio.create_task(chat.leave("r"))
        await peer.refuse(await peer.expect("leaveRoom"), "bad_request")
        with pytest.raises(BadRequest, match="it is bad_request"):
            await leaving
        await peer.quiet()


async def test_what_is_never_answered_fails_in_time(server: ScriptedServer) -> None:
    """A leave and a join; and the next leave gets its own answer."""
    async with in_room(server, ack_timeout_s=0.2) as (chat, peer):
        with pytest.raises(TimeoutError):
            await chat.leave("r")
        await peer.expect("leaveRoom")
        with pytest.raises(TimeoutError):
            await chat.join("r")
        await peer.let_in()
        await chat.join("r")
        leaving = asyncio.create_task(chat.leave("r"))
        await peer.expect("leaveRoom")
        await peer.say("left", roomId="r")
        await leaving


async def test_a_room_is_left_with_the_connection(server: ScriptedServer) -> None:
    """Lost before it was answered: nothing is joined any more."""
    async with in_room(server) as (chat, peer), asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(chat.leave("r"))
        await peer.expect("leaveRoom")
        peer.cut()
        await leaving
        await (await server.accept()).quiet()


# -- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1008, 1009, 4002, 4003])
async def test_who_is_not_wanted_does_not_come_back(server: ScriptedServer, code: int) -> None:
    """Whoever waits for anything gets Disconnected with the code."""
    async with in_room(server) as (chat, peer):
        sending = asyncio.create_task(chat.send("r", "hi"))
        await peer.expect("clientMessages")
        await peer.close(code)
        with pytest.raises(Disconnected) as sent:
            await sending
        with pytest.raises(Disconnected):
            await until(chat, Hole)
        with pytest.raises(Disconnected):
            await chat.join("other")
        assert (sent.value.code, sent.value.reason, server.total) == (code, "as scripted", 1)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4001])
async def test_any_other_close_is_followed_by_a_reconnect(server: ScriptedServer, code: int) -> None:
    """The event says why and when."""
    async with in_room(server) as (chat, peer):
        await peer.close(code)
        _, lost = await until(chat, Reconnecting)
        assert (lost.code, lost.reason) == (code, "as scripted")
        assert 0 <= lost.wait_s <= 0.01
        await (await server.accept()).let_in()


async def test_a_client_that_is_refused_at_once_says_so(server: ScriptedServer) -> None:
    """1008 instead of a hello: a token that is not valid."""
    entering = asyncio.create_task(ChatClient(server.url, **QUICK).__aenter__())
    await (await server.accept(greet=False)).close(1008)
    with pytest.raises(Disconnected, match="1008 as scripted"):
        await entering


async def test_the_next_node_is_tried_when_one_is_away(server: ScriptedServer) -> None:
    """Several URLs take turns."""
    nobody = f"ws://127.0.0.1:{free_port()}/"
    async with asyncio.TaskGroup() as tasks:
        chat = ChatClient([nobody, server.url], **QUICK)
        entering = tasks.create_task(chat.__aenter__())
        await server.accept()
        await entering
        before, _ = await until(chat, Connected)
        assert [type(one) for one in before] == [Reconnecting]
        await chat.close()


async def test_a_guest_stays_the_same_over_reconnects(server: ScriptedServer) -> None:
    """Its id is made up once, as refs are kept by user; connecting joins nothing."""
    async with in_room(server, uid=None, name="Al & co") as (_, peer):
        peer.cut()
        again = await server.accept()
        await again.let_in()
        one, two = (parse_qs(urlsplit(path).query, keep_blank_values=True) for path in (peer.path, again.path))
        assert one == two
        assert (one["rooms"], one["name"]) == ([""], ["Al & co"])
        assert one["uid"][0].startswith("guest-")


async def test_a_token_is_shown_as_a_header(server: ScriptedServer) -> None:
    """URLs end up in logs."""
    async with in_room(server, uid=None, token="secret") as (_, peer):  # noqa: S106 - a test's
        assert (peer.authorization, "secret" in peer.path, "uid" in peer.path) == ("Bearer secret", False, False)


async def test_a_silent_connection_is_given_up(server: ScriptedServer) -> None:
    """Half-open: pings are not answered."""
    async with in_room(server, ping_s=0.3) as (_, peer):
        peer.connection.transport.pause_reading()
        await (await server.accept()).let_in()


async def test_closing_ends_the_events_and_fails_who_waits(server: ScriptedServer) -> None:
    """With the code of a close of one's own."""
    async with in_room(server) as (chat, peer):
        sending = asyncio.create_task(chat.send("r", "hi"))
        await peer.expect("clientMessages")
        await chat.close()
        with pytest.raises(Disconnected) as sent:
            await sending
        assert sent.value.code == 1000
        assert [type(event) async for event in chat] == [Connected]
        await chat.close()


async def test_a_trace_sees_every_frame_as_it_is_on_the_wire(server: ScriptedServer) -> None:
    """Repeats too, and what is no frame."""
    seen: list[tuple[str, str]] = []
    async with in_room(server, trace=lambda way, text: seen.append((way, text))) as (chat, peer):
        await peer.deliver(1)
        await peer.deliver(1)
        await peer.text("end")
        await until(chat, System)
    assert [way for way, _ in seen] == ["in", "out", "in", "in", "in", "in"]
    assert seen[3] == seen[4]
    assert seen[5] == ("in", "end")


@pytest.mark.parametrize("url", ["http://localhost/", "localhost:8082", "ws:///"])
def test_what_is_no_websocket_url_is_refused(url: str) -> None:
    """Before anything is tried."""
    with pytest.raises(ValueError, match="is no WebSocket URL"):
        ChatClient(url)


@pytest.fixture(autouse=True)
def _quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
