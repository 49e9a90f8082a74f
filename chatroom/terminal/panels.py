"""What stands around the transcript: the bar with room and connection, the list of rooms, and who is online.

Each shows what it is given, and asks nobody. Neighbour: `app.py` gives it.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from chatroom import text
from chatroom.terminal.room_log import RoomLog
from chatroom_client import User

ConnectionState: TypeAlias = Literal["good", "waiting", "bad"]
_DOTS: dict[ConnectionState, str] = {"good": "●", "waiting": "◌", "bad": "✗"}


class Bar(Horizontal):
    """One line: the room on the left, the connection on the right."""

    def __init__(self) -> None:
        super().__init__(id="bar")
        self._title, self._state = Static(id="title"), Static(id="state")

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield self._title
        yield self._state

    def show(self, log: RoomLog, unread: int, health: ConnectionState, said: str) -> None:
        """Show the room with what is unread elsewhere, and how the connection is."""
        online = f"  {log.online} online" if log.online else ""
        others = f"  {unread} unread" if unread else ""
        self._title.update(Content.assemble((text.plain(log.room), "bold"), (online + others, "dim")))
        self._state.set_classes(health)
        self._state.update(Content(f"{_DOTS[health]} {said}"))


class RoomList(OptionList):
    """The rooms, with what is unread in each."""

    def __init__(self) -> None:
        super().__init__(id="rooms")
        self.border_title = "Rooms"

    def show(self, logs: Iterable[RoomLog], active: str) -> None:
        """Show these rooms, one of them as the one that is looked at."""
        rooms = list(logs)
        self.set_options(Option(_room(log), id=log.room) for log in rooms)
        self.highlighted = [log.room for log in rooms].index(active)


class People(VerticalScroll, can_focus=False):
    """Who is online in the room."""

    def __init__(self) -> None:
        super().__init__(id="people")
        self._names = Static(id="names")

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield self._names

    def show(self, log: RoomLog, me: User | None) -> None:
        """Show a line for each user, oneself first, and how many more there are than the server names."""
        self.border_title = f"Online {log.online or ''}".rstrip()
        ordered = sorted(log.users, key=lambda user: (me is None or user.id != me.id, user.username.casefold()))
        lines = [_person(user, mine=me is not None and user.id == me.id) for user in ordered]
        if log.online > len(log.users):
            more = f"and {log.online - len(log.users)} more" if log.users else f"{log.online} users"
            lines.append(Content.assemble((more, "dim")))
        self._names.update(Content("\n").join(lines))


def _room(log: RoomLog) -> Content:
    unread = (f"  {log.unread}", "bold $accent") if log.unread else ""
    return Content.assemble(("# ", "dim"), text.plain(log.room), unread)


def _person(user: User, *, mine: bool) -> Content:
    return Content.assemble(("● ", "$success"), text.plain(user.username), (" you" if mine else "", "dim"))
