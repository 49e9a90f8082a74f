"""The transcript: a room's log on the screen, scrolled, and kept where one reads while it grows at either end.

Neighbours: `lines.py` lays the log out; `app.py` says when it changed, and loads what is older.
"""

from bisect import bisect_right
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from chatroom.terminal.lines import STYLES, Block, lay_out
from chatroom.terminal.room_log import LogEntry, RoomLog
from chatroom_client import User

_NEAR = 5  # lines from the top, where older messages are loaded


class Transcript(ScrollView, can_focus=False):
    """Shows one room's log at a time."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"transcript--{style}" for style in STYLES}

    class NearTop(Message):
        """Older messages will be seen soon."""

    def __init__(self) -> None:
        super().__init__()
        self.me: User | None = None
        self._log: RoomLog | None = None
        self._lines: Block = []
        self._due = False  # it will be drawn
        self._to_end = False  # and then shown at its end
        self._below = 0  # messages that came while one reads further up
        self._starts: list[int] = []
        self._entries: list[LogEntry] = []  # those that `_starts` belongs to

    @property
    def at_end(self) -> bool:
        """Whether the newest line is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y

    def show(self, log: RoomLog) -> None:
        """Show another room, at its end."""
        self._log, self._below = log, 0
        self._tell_below()
        self._entries = []
        self.renew(to_end=True)
        self.call_later(self.look_up)

    def below(self, *, fresh: bool) -> None:
        """Count what came below what is in sight, if something did and nobody sees it."""
        if fresh and not self.at_end:
            self._below += 1
            self._tell_below()

    def look_up(self) -> None:
        """Ask for older messages also where there is nothing to scroll."""
        if self.scroll_offset.y <= _NEAR:
            self.post_message(self.NearTop())

    def _tell_below(self) -> None:
        self.set_class(self._below > 0, "-below")
        self.border_subtitle = f"↓ {self._below} new" if self._below else ""

    def renew(self, *, to_end: bool = False) -> None:
        """Draw what has changed, once for all that comes at a time; who reads further up stays unless `to_end`."""
        self._to_end = self._to_end or to_end
        if not self._due:
            self._due = self.call_later(self._draw)

    def _draw(self) -> None:
        self._due = False
        if self._log is None or not self.size.width:
            return
        to_end, self._to_end = self._to_end or self.at_end, False
        entry, offset = self._top_entry()
        self._lines, self._starts = lay_out(self._log, self.scrollable_content_region.width, self.me)
        self._entries = list(self._log.entries)
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._lines))
        if to_end:
            self.scroll_end(animate=False, immediate=True)
        elif entry in self._entries:
            self.scroll_to(y=self._starts[self._entries.index(entry)] + offset, animate=False, immediate=True)
        self.refresh()

    def _top_entry(self) -> tuple[LogEntry | None, int]:
        """Return the entry at the top of the screen, and how far into it the screen begins."""
        at = bisect_right(self._starts, self.scroll_offset.y) - 1
        if not self._entries or not 0 <= at < len(self._entries):
            return (self._entries[0], self.scroll_offset.y - self._starts[0]) if self._entries else (None, 0)
        return self._entries[at], self.scroll_offset.y - self._starts[at]

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for older messages in time."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value:
            self.look_up()
        if self._below and self.at_end:
            self._below = 0
            self._tell_below()

    def on_resize(self, _event: events.Resize) -> None:
        """Lay out anew."""
        self._draw()

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen."""
        width, base, at = self.size.width, self.rich_style, self.scroll_offset.y + y
        line = self._lines[at] if at < len(self._lines) else []
        styled = [Segment(part, base + self.get_component_rich_style(f"transcript--{style}")) for part, style in line]
        return Strip(styled).adjust_cell_length(width, base)
