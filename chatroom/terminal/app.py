"""The chat in a terminal: its screen, its keys, and what passes between them and the client.

Events of the client come in one by one and change a RoomLog; what the user sends is a draft until its message comes.

Neighbours: `room_log.py` is what a room shows, `transcript.py` shows it; `drafts.py` sends what is typed;
`chatroom_client` talks to the server.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Input, OptionList

from chatroom import text
from chatroom.terminal import commands
from chatroom.terminal.drafts import Drafts
from chatroom.terminal.look import DARK, LIGHT
from chatroom.terminal.panels import Bar, ConnectionState, People, RoomList
from chatroom.terminal.room_log import RoomLog
from chatroom.terminal.transcript import Transcript
from chatroom.terminal.words import Words
from chatroom_client import (
    ChatClient,
    ChatError,
    Connected,
    Disconnected,
    Event,
    Hole,
    Joined,
    Message,
    Presence,
    Reconnecting,
    Removed,
    System,
)


class ChatApp(App[None]):
    """One user's chat; the client is entered here and closed by whoever made it."""

    CSS_PATH = "look.tcss"
    TITLE = "ChatRoom"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (64, "-medium"), (96, "-wide")]  # noqa: RUF012 - as the base declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "scroll(-1)", "Older", priority=True, key_display="PgUp"),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
        Binding("ctrl+down", "next_room(1)", "Next room", priority=True, key_display="^↓"),
        Binding("ctrl+up", "next_room(-1)", show=False, priority=True),
        Binding("ctrl+n", "ask_room", "Join", priority=True),
        Binding("ctrl+r", "retry", "Send again", priority=True),
        Binding("f2", "panels", "Lists", priority=True, key_display="F2"),
        Binding("f3", "theme", "Light", priority=True, key_display="F3"),
        Binding("ctrl+q,ctrl+c", "leave_chat", "Quit", priority=True, key_display="^q"),
    ]

    def __init__(self, chat: ChatClient, rooms: Sequence[str]) -> None:
        super().__init__()
        self.logs: dict[str, RoomLog] = {}  # by room, in the order of joining
        self.active = ""  # the room that is shown
        # Held here, not looked up: events may come while the screen is taken down.
        self.transcript = Transcript()
        self._bar, self._rooms, self._people = Bar(), RoomList(), People()
        self._words = Words(id="words")
        self._chat = chat
        self._first = rooms
        self._drafts = Drafts(chat, self._renew)
        self._state: tuple[ConnectionState, str] = ("waiting", "connecting …")
        self._warned = False  # of what is not sent yet
        self._was_away = False  # the server, before it was ever there

    # -- the screen --------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield self._bar
        yield Horizontal(self._rooms, self.transcript, self._people, id="body")
        yield self._words
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        for room in self._first:
            self.open_room(room)
        self.activate(self._first[0])
        self._words.focus()
        self._work(self._listen)
        self._work(self._enter)

    @property
    def log_shown(self) -> RoomLog:
        """The room that is shown."""
        return self.logs[self.active]

    def activate(self, room: str) -> None:
        """Show a room."""
        self.active = room
        self.log_shown.unread = 0
        self._words.placeholder = f"Message {text.plain(room)}, or /help"
        self.transcript.show(self.log_shown)
        self._show_lists()
        self._show_state()

    def _show_lists(self) -> None:
        self._rooms.show(self.logs.values(), self.active)
        self._people.show(self.log_shown, self._chat.me)

    def _show_state(self) -> None:
        health, said = self._state
        waiting = self._drafts.waiting()
        more = f", {waiting} to send" if waiting and health != "good" else ""
        self._bar.show(self.log_shown, sum(log.unread for log in self.logs.values()), health, said + more)

    def _renew(self, log: RoomLog, *, to_end: bool = False) -> None:
        """Show what changed in a room."""
        if log is self.logs.get(self.active):
            self.transcript.renew(to_end=to_end)
            self._show_state()

    def _tell(self, said: str, severity: Literal["warning", "error"] = "warning") -> None:
        self.notify(said, severity=severity, markup=False)

    # -- what the client brings --------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        try:
            await self._chat.__aenter__()
        except Disconnected:
            return  # whoever listens tells
        for room in list(self.logs):
            self._start(partial(self._join, room))

    async def _listen(self) -> None:
        try:
            async for event in self._chat:
                self._take(event)
        except Disconnected as e:
            self._state = ("bad", f"closed by the server: {e.code} {text.plain(e.reason)}".rstrip())
            self._show_state()

    def _take(self, event: Event) -> None:
        if isinstance(event, (Message, Hole)):
            if (log := self.logs.get(event.room)) is not None:
                self._said(log, event)
        elif isinstance(event, System):
            self._said(self.log_shown, event)
        elif isinstance(event, Presence):
            self._present(event)
        elif isinstance(event, Removed):
            self._tell(text.trouble(event), "error")
            self._close(event.room)
        else:
            self._connection(event)

    def _said(self, log: RoomLog, said: Message | Hole | System) -> None:
        me = self._chat.me
        if isinstance(said, Message) and not said.timestamp:  # another system pushed it, in no log
            said = replace(said, timestamp=int(time.time() * 1000))
        log.take(said, me)
        fresh = isinstance(said, Message) and not said.recent and (me is None or said.user.id != me.id)
        if fresh and log is not self.log_shown:
            log.unread += 1
            self._show_lists()
            self._show_state()
        self.transcript.below(fresh=fresh and log is self.log_shown)
        self._renew(log)

    def _present(self, event: Presence) -> None:
        if (log := self.logs.get(event.room)) is not None:
            log.online, log.users = event.online, event.users
            if log is self.log_shown:
                self._show_lists()
                self._show_state()

    def _connection(self, event: Connected | Reconnecting) -> None:
        if isinstance(event, Connected):
            self.transcript.me = self._chat.me
            self._state = ("good", text.plain(event.user.username))
        else:
            away = self._chat.me is None
            if away and not self._was_away:
                self._tell(f"{text.plain(event.reason)}: start it with `chatroom up`, or name another with --url.")
            self._was_away = away
            self._state = ("waiting", f"{'the server is away' if away else 'connection lost'}, trying again")
        self._show_state()

    # -- rooms -------------------------------------------------------------------------------------------------------

    def open_room(self, room: str) -> None:
        """Make place for a room, and begin to send what is said in it."""
        log = self.logs[room] = RoomLog(room)
        self._drafts.open(log)
        self._work(partial(self._drafts.send_all, log), group=f"room-{room}")

    def join(self, room: str) -> None:
        """Join a room, if need be, and show it."""
        if room not in self.logs:
            self.open_room(room)
            self._start(partial(self._join, room))
        self.activate(room)

    def leave(self) -> None:
        """Leave the room that is shown."""
        room = self.active
        if self._drafts.waiting(self.log_shown):
            self._tell("Something is not sent yet: leave when it is.")
        elif len(self.logs) == 1:
            self._tell("This is the only room: /quit leaves the chat.")
        else:
            self._close(room)
            self._start(partial(self._chat.leave, room))

    def _close(self, room: str) -> None:
        """Show a room no more. The last one stays, with what was said in it."""
        if room not in self.logs or len(self.logs) == 1:
            return
        self.workers.cancel_group(self, f"room-{room}")
        self._drafts.close(self.logs.pop(room))
        self.activate(self.active if self.active in self.logs else next(iter(self.logs)))

    async def _join(self, room: str) -> None:
        try:
            joined: Joined | None = await self._chat.join(room)
        except TimeoutError:
            joined = None  # it will be joined when the server can
        except ChatError:
            self._close(room)
            raise
        if (log := self.logs.get(room)) is None:
            return
        log.online = joined.online if joined else 0
        log.more = True
        await self._chat.watch(room)
        if log is self.log_shown:
            self.activate(room)

    def _start(self, asking: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Ask the server for something, and tell where it says no."""

        async def told() -> None:
            try:
                await asking()
            except ChatError as e:
                self._tell(text.plain(e.message), "error")
            except TimeoutError:
                self._tell("The server does not answer.")
            except Disconnected:
                return  # whoever listens tells

        self._work(told)

    def _work(self, work: Callable[[], Coroutine[Any, Any, None]], group: str = "") -> None:
        """Do it beside all else. Not yet a coroutine: it is never begun where the screen is taken down."""
        self.run_worker(work, group=group)  # type: ignore[arg-type]  # mypy can't choose among Textual's kinds of work

    @on(Transcript.NearTop)
    def load_older(self) -> None:
        """Ask for what is older than all that is shown."""
        log = self.log_shown
        if log.more and not log.loading and self._chat.connected:
            log.loading = True
            self._renew(log)
            self._start(partial(self._load, log))

    async def _load(self, log: RoomLog) -> None:
        try:
            log.take_older(await self._chat.history(log.room, log.oldest_id))
        finally:
            log.loading = False
            self._renew(log)

    # -- sending -----------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    def say(self, event: Input.Submitted) -> None:
        """Send what was typed, or do what it asks for."""
        event.input.clear()
        if (command := commands.parse(event.value)) is not None:
            self._obey(*command)
        elif words := commands.unescaped(event.value):
            self._drafts.say(self.log_shown, words)
            self._renew(self.log_shown, to_end=True)

    # -- what the user asks for --------------------------------------------------------------------------------------

    def _obey(self, command: str, argument: str) -> None:
        doing: dict[str, Callable[[], None]] = {
            "join": lambda: self.join(argument) if argument else self.action_ask_room(),
            "leave": self.leave,
            "retry": self.action_retry,
            "drop": self.drop,
            "help": lambda: self.notify(commands.HELP, title="What you can type", timeout=15, markup=False),
            "quit": self.action_leave_chat,
        }
        if command in doing:
            doing[command]()
        else:
            self._tell(f"There is no /{text.plain(command)}: see /help.")

    @on(OptionList.OptionSelected)
    def choose_room(self, event: OptionList.OptionSelected) -> None:
        """Show the room that was chosen from the list."""
        if event.option_id is not None:
            self.screen.remove_class("-panels")
            self.activate(event.option_id)
            self._words.focus()

    def action_ask_room(self) -> None:
        """Let a room's name be typed."""
        words = self._words
        words.focus()
        words.value = "/join "
        words.cursor_position = len(words.value)

    def action_next_room(self, step: int) -> None:
        """Show the next room of the list, or the one before."""
        rooms = list(self.logs)
        self.activate(rooms[(rooms.index(self.active) + step) % len(rooms)])

    def action_scroll(self, pages: int) -> None:
        """Scroll a page up or down."""
        transcript = self.transcript
        transcript.scroll_relative(y=pages * max(1, transcript.size.height - 2), animate=False)
        if pages < 0:
            transcript.look_up()

    def action_retry(self) -> None:
        """Send again what failed in this room."""
        self._drafts.retry(self.log_shown)
        self._renew(self.log_shown)

    def drop(self) -> None:
        """Remove what failed in this room."""
        self._drafts.drop(self.log_shown)
        self._renew(self.log_shown)

    def action_panels(self) -> None:
        """Show the lists of rooms and people where the terminal is too narrow for them, or hide them again."""
        self.screen.toggle_class("-panels")

    def action_theme(self) -> None:
        """Change between dark and light."""
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    def action_leave_chat(self) -> None:
        """Quit; where something is not sent yet, only when asked twice."""
        waiting = self._drafts.waiting()
        if waiting and not self._warned:
            self._warned = True
            self._tell(f"{waiting} not sent yet. Quit again to leave all the same.")
        else:
            self.exit()
