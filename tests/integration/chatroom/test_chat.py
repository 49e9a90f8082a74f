"""`chatroom chat` on a screen without a terminal, by its own pilot, against real servers."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from chatroom.terminal.app import ChatApp
from chatroom.terminal.room_log import DraftState
from chatroom.up.guard import Guard
from chatroom_client import ChatClient, Message
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.conftest import StackMaker
from tests.support.eventually import eventually

ROOM = "room_001"
WIDE = (110, 30)
NARROW = (40, 16)


async def soon(true: Callable[[], object], what: str = "") -> None:
    """Wait until it is true; servers start slowly where all cores are busy."""
    await eventually(true, what, 45.0)


class Window:
    """A user before a chat."""

    def __init__(self, chat: ChatClient, app: ChatApp, pilot: Pilot[None]) -> None:
        self.chat = chat
        self.app = app
        self.pilot = pilot

    async def type(self, words: str) -> None:
        """Type words and press Enter."""
        self.app.query_one(Input).value = words
        await self.pilot.press("enter")

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)

    def rows(self) -> list[str]:
        """Return what the transcript shows, row by row."""
        transcript = self.app.transcript
        return [transcript.render_line(y).text.strip() for y in range(transcript.size.height)]

    def screen(self) -> str:
        """Return what the transcript shows."""
        return "\n".join(self.rows())

    def said(self, room: str = ROOM) -> list[str]:
        """Return all that a room's log and what waits below it say."""
        log = self.app.logs[room]
        said = [entry.said.content for entry in log.entries if isinstance(entry.said, Message)]
        return said + [draft.text for draft in log.waiting()]

    def text_of(self, selector: str) -> str:
        """Return what a label says."""
        return str(self.app.query_one(selector, Static).render())

    async def sees(self, *words: str) -> None:
        """Wait until the transcript shows all of them."""
        await soon(lambda: all(word in self.screen() for word in words), f"{words} on\n{self.screen()}")


@asynccontextmanager
async def window(
    url: str, name: str, *rooms: str, size: tuple[int, int] = WIDE, **options: float
) -> AsyncIterator[Window]:
    """Open a chat; its rooms are joined unless the server is away."""
    options = {"reconnect_first_s": 0.05, "reconnect_cap_s": 0.3, **options}
    chat = ChatClient(url, name=name, uid=name.lower(), **options)  # type: ignore[arg-type]  # as ChatClient says
    app = ChatApp(chat, rooms or (ROOM,))
    try:
        async with app.run_test(size=size) as pilot:
            yield Window(chat, app, pilot)
    finally:
        await chat.close()


@pytest.fixture
def comet(guard: Guard, redis_url: str, tmp_path: Path) -> Iterator[CometProgram]:
    """A node on an empty Redis."""
    with CometProgram(guard, tmp_path, redis_url) as it:
        yield it


async def test_two_chat_while_the_server_is_restarted(make_stack: StackMaker) -> None:
    """On a whole stack: what is said before, meanwhile and after stands once in both windows, in one order."""
    stack = make_stack()
    async with window(stack.ws_url(), "Alice") as alice, window(stack.ws_url(), "Bob", size=NARROW) as bob:
        await alice.type("before")
        await bob.sees("Alice", "▎ before")
        seen = len(stack.lines)
        stack.kill("comet")
        await soon(lambda: not alice.chat.connected or alice.chat.reconnects)
        for i in range(3):
            await alice.type(f"alice-{i}")
            await bob.type(f"bob-{i}")
        await asyncio.to_thread(stack.wait_ready_again, "comet", seen)
        await alice.type("after")
        await alice.sees("▎ after ✓", "bob-2")
        await bob.sees("after", "▎ bob-2 ✓")
        expected = {"before", "after", *(f"{who}-{i}" for who in ("alice", "bob") for i in range(3))}
        await soon(lambda: len(alice.said()) == len(expected) and alice.said() == bob.said())
        assert set(alice.said()) == expected
        for who in ("alice", "bob"):
            assert [text for text in alice.said() if text.startswith(who)] == [f"{who}-{i}" for i in range(3)]
        await soon(lambda: alice.text_of("#state") == "● Alice")


async def test_history_is_scrolled_to_its_beginning_and_reading_is_not_disturbed(comet: CometProgram) -> None:
    """Page by page, each message once; what comes meanwhile is counted below, and shown on the way down."""
    async with ChatClient(comet.url, name="Bob", uid="bob", rooms=[ROOM]) as bob:
        for i in range(130):
            await bob.send(ROOM, f"m{i}")
        async with window(comet.url, "Alice") as alice:
            await alice.sees("m129")
            while "this is the beginning of room_001" not in alice.screen():
                top = alice.rows()
                await alice.press("pageup")
                await soon(lambda top=top: alice.rows() != top or not alice.app.log_shown.loading)  # type: ignore[misc]
            assert alice.said() == [f"m{i}" for i in range(130)]
            reading = alice.rows()
            await bob.send(ROOM, "new")
            await soon(lambda: alice.app.transcript.border_subtitle == "↓ 1 new")
            assert alice.rows()[:10] == reading[:10]
            while "▎ new" not in alice.screen():
                await alice.press("pagedown")
            await soon(lambda: alice.app.transcript.border_subtitle == "")


async def test_history_of_a_later_epoch_is_not_unread(own_redis: RedisServer, guard: Guard, tmp_path: Path) -> None:
    """Redis was restarted between the messages of a room that is not shown; only a message that comes later counts."""
    with CometProgram(guard, tmp_path, own_redis.url) as comet:
        async with ChatClient(comet.url, name="Bob", uid="bob", rooms=["lobby"]) as bob:
            await bob.send("lobby", "before")
            await asyncio.to_thread(own_redis.kill)
            await asyncio.to_thread(own_redis.start)
            await bob.send("lobby", "after")
            async with window(comet.url, "Alice", ROOM, "lobby") as alice:
                await soon(lambda: alice.said("lobby") == ["before", "after"])
                assert alice.app.logs["lobby"].unread == 0
                await bob.send("lobby", "new")
                await soon(lambda: alice.said("lobby") == ["before", "after", "new"])
                assert alice.app.logs["lobby"].unread == 1


async def test_rooms_are_joined_left_and_counted(comet: CometProgram) -> None:
    """What is said elsewhere is unread until one looks; who is online is listed, oneself first."""
    async with ChatClient(comet.url, name="Bob", uid="bob", rooms=[ROOM, "lobby"]) as bob:
        async with window(comet.url, "Alice") as alice:
            await soon(lambda: alice.text_of("#names") == "● Alice you\n● Bob")
            await alice.press("ctrl+n")
            assert alice.app.query_one(Input).value == "/join "
            await alice.type("/join lobby")
            await soon(lambda: alice.app.active == "lobby" and alice.app.logs["lobby"].online == 2)
            await bob.send(ROOM, "psst")
            await soon(lambda: alice.app.logs[ROOM].unread == 1)
            assert "1 unread" in alice.text_of("#title")
            assert str(alice.app.query_one(OptionList).get_option(ROOM).prompt) == "# room_001  1"
            await alice.press("ctrl+up")
            await alice.sees("▎ psst")
            assert alice.app.logs[ROOM].unread == 0
            await alice.type("/leave")
            await soon(lambda: alice.app.active == "lobby" and list(alice.app.logs) == ["lobby"])
            await bob.send(ROOM, "is anybody there?")
            await bob.send("lobby", "here")
            await alice.sees("▎ here")


async def test_what_fails_is_marked_with_its_reason_and_sent_again(comet: CometProgram) -> None:
    """A refused message harms no other; nothing that is typed is lost in silence."""
    async with window(comet.url, "Alice") as alice:
        await alice.type("x" * 20_000)
        await alice.type("fine")
        await soon(lambda: [draft.state for draft in alice.app.log_shown.drafts] == [DraftState.FAILED])
        await alice.sees("✗ not sent: content", "Ctrl+R sends it again, /drop")
        assert alice.said()[0] == "fine"
        await alice.press("ctrl+r")
        await soon(lambda: alice.app.log_shown.drafts[0].state is DraftState.FAILED)
        await alice.type("/nope")
        alice.app.query_one(Input).post_message(Paste("two\nlines"))
        await soon(lambda: alice.app.query_one(Input).value == "two lines")
        await alice.press("enter")
        await alice.sees("▎ two lines ✓")
        await alice.type("//slash")
        await alice.sees("▎ /slash ✓")
        await alice.type("/drop")
        await soon(lambda: alice.said() == ["fine", "two lines", "/slash"])


async def test_a_server_that_is_away_is_waited_for(comet: CometProgram) -> None:
    """What is typed meanwhile is sent when it is there; quitting before asks once more."""
    comet.kill()
    async with window(comet.url, "Alice") as alice:
        await soon(lambda: "the server is away" in alice.text_of("#state"))
        await soon(lambda: [one.message for one in alice.app._notifications if "--url" in one.message])  # noqa: SLF001
        await alice.type("early")
        await alice.sees("▎ early …")
        await soon(lambda: "trying again, 1 to send" in alice.text_of("#state"))
        await alice.type("/leave")
        assert alice.said() == ["early"]
        await alice.press("ctrl+q")
        assert alice.app.is_running
        await asyncio.to_thread(comet.start)
        await alice.sees("▎ early ✓")
        await alice.press("ctrl+c")
        await soon(lambda: not alice.app.is_running)


async def test_a_server_that_does_not_want_us_is_told(guard: Guard, redis_url: str, tmp_path: Path) -> None:
    """And what was typed is not taken for sent."""
    with CometProgram(guard, tmp_path, redis_url, {"COMET_AUTH_KEY": "k" * 32}) as comet:
        async with window(comet.url, "Alice") as alice:
            await soon(lambda: "closed by the server: 1008" in alice.text_of("#state"))
            await alice.type("hello?")
            await alice.sees("✗ not sent: the connection is closed")


async def test_a_window_is_closed_while_others_talk(comet: CometProgram) -> None:
    """Whatever comes while the screen is taken down."""
    async with ChatClient(comet.url, name="Bob", uid="bob", rooms=[ROOM]) as bob, asyncio.TaskGroup() as tasks:

        async def talk() -> None:
            for i in itertools.count():
                await bob.send(ROOM, f"m{i}")

        talking = tasks.create_task(talk())
        for _ in range(5):
            async with window(comet.url, "Alice", ROOM, "lobby") as alice:
                await alice.sees("▎ m")
        talking.cancel()


async def test_a_narrow_terminal_shows_the_chat_and_the_lists_on_demand(comet: CometProgram) -> None:
    """A wide one all of it; pushed text is a system line, and harmless."""
    async with window(comet.url, "Alice", size=NARROW) as alice:
        app = alice.app
        await soon(lambda: not any(app.query_one(one).display for one in ("#rooms", "#people", "Footer")))
        await alice.type("words that do not fit into one line of forty cells")
        await alice.sees("cells ✓")
        assert all(len(row) <= NARROW[0] for row in alice.rows())
        await alice.press("f2")
        await soon(lambda: [app.query_one(one).display for one in ("#rooms", "Transcript")] == [True, False])
        await alice.press("f2")
        await alice.pilot.resize_terminal(*WIDE)
        await soon(lambda: app.query_one("#rooms").display and app.query_one("#people").display)
        await alice.sees("▎ words that do not fit into one line of forty cells ✓")
        await alice.press("f3")
        assert app.theme == "chatroom-light"
        assert re.search(r"Alice  \d\d:\d\d", alice.screen())
