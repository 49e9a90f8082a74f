"""The Python client against a server that does what it is told: what is its own, beside what every client does.

The latter is in tests/conformance/client.json.
"""

import asyncio
import json
import logging
from typing import Any

import pytest

from chatroom_client import (
    BadRequest,
    ChatClient,
    ChatError,
    Connected,
    Disconnected,
    Event,
    Forbidden,
    Hole,
    Message,
    Position,
    Reconnecting,
    System,
    TooLarge,
)
from testbed.ports import free_port
from tests.integration.clients.python.in_room import QUICK, TIMEOUT_S, in_room
from tests.support.scripted_server import ScriptedServer, scripted_server

# U+202E turns the order of the text around, U+009B begins a control sequence.
HOSTILE = "\u202e\x9b31m" + "x" * 500


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


# -- what comes ------------------------------------------------------------------------------------------------------


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


# -- connections -----------------------------------------------------------------------------------------------------


async def test_a_lost_connection_is_told_with_its_reason_and_counted(server: ScriptedServer) -> None:
    """And when the next try is."""
    async with in_room(server) as (chat, peer):
        await peer.close(1012)
        _, lost = await until(chat, Reconnecting)
        assert (lost.code, lost.reason) == (1012, "as scripted")
        assert 0 <= lost.wait_s <= 0.01
        await (await server.accept()).let_in()
        await until(chat, Connected)
        assert chat.reconnects == 1


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


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 426, 431])
async def test_a_first_handshake_that_is_refused_ends_the_client_with_status_and_url(
    server: ScriptedServer, status: int
) -> None:
    """The URL is probably wrong. The query is not shown, because it may hold a token."""
    server.refusal = status
    chat = ChatClient(server.url + "?token=secret", **QUICK)
    with pytest.raises(Disconnected) as refused:
        async with asyncio.timeout(TIMEOUT_S):
            await chat.__aenter__()
    reason = f"{server.url} refused the WebSocket handshake with HTTP status {status}"
    assert (refused.value.code, refused.value.reason) == (status, reason)
    with pytest.raises(Disconnected, match=reason):
        await chat.send("r", "hi")


async def test_a_first_handshake_may_be_refused_by_some_of_the_urls(server: ScriptedServer) -> None:
    """A client ends when it has tried each of them."""
    async with scripted_server() as other:
        other.refusal = 404
        chat = ChatClient([other.url, server.url], **QUICK)
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(chat.__aenter__())
            await server.accept()
        _, lost = await until(chat, Reconnecting)
        assert lost.reason.endswith("404")
        await chat.close()
        server.refusal = 403
        with pytest.raises(Disconnected, match="403"):
            await ChatClient([other.url, server.url], **QUICK).__aenter__()


async def test_a_proxy_that_refuses_to_connect_ends_a_first_connect(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment answers with a status, as the server behind it would."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "")
    async with proxy, asyncio.timeout(TIMEOUT_S):
        with pytest.raises(Disconnected) as refused:
            await ChatClient(server.url, **QUICK).__aenter__()
    assert refused.value.code == 403


async def test_a_token_is_shown_as_a_header(server: ScriptedServer) -> None:
    """URLs end up in logs."""
    async with in_room(server, uid=None, token="secret") as (_, peer):  # noqa: S106 - a test's
        assert (peer.authorization, "secret" in peer.path, "uid" in peer.path) == ("Bearer secret", False, False)


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


# -- the end of the context ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, RuntimeError, asyncio.CancelledError])
async def test_the_end_of_the_context_closes_with_1000(
    server: ScriptedServer, fault: type[BaseException] | None
) -> None:
    """The end of the block, an exception and a cancellation are the owner's close, and no fault of the connection."""

    async def program() -> None:
        async with ChatClient(server.url, **QUICK):
            if fault is not None:
                raise fault

    running = asyncio.create_task(program())
    peer = await server.accept()
    await asyncio.wait([running], timeout=TIMEOUT_S)
    async with asyncio.timeout(TIMEOUT_S):
        await peer.connection.wait_closed()
    assert peer.connection.close_code == 1000
    assert running.cancelled() == (fault is asyncio.CancelledError)
    assert running.cancelled() or isinstance(running.exception(), fault or type(None))


async def test_a_close_does_not_wait_for_a_server_that_reads_nothing(server: ScriptedServer) -> None:
    """The close frame stands behind megabytes that the server does not take."""
    async with in_room(server) as (chat, peer):
        peer.connection.transport.pause_reading()
        sends = [asyncio.create_task(chat.send("r", "x" * 1_000_000)) for _ in range(30)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await chat.close()
        assert all(isinstance(one, Disconnected) for one in await asyncio.gather(*sends, return_exceptions=True))
        peer.cut()


# -- the log ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("presence", {"roomId": "r", "onlineCount": 1, "users": [HOSTILE]}),
        ("error", {"code": HOSTILE, "message": HOSTILE}),
    ],
)
async def test_log_lines_hold_no_text_that_acts_on_a_terminal(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, kind: str, payload: dict[str, Any]
) -> None:
    """A server's text stands in a log line as ASCII, and is cut."""
    caplog.set_level(logging.WARNING)
    async with in_room(server) as (chat, peer):
        await peer.text(json.dumps({"type": kind, "payload": payload}, ensure_ascii=False))
        await peer.deliver(1)
        await until(chat, Message)
    [line] = [one.getMessage() for one in caplog.records if one.name == "chatroom_client"]
    assert line.isascii()
    assert line.isprintable()
    assert "\\u202e" in line
    assert len(line) < 500
