"""A room's log as lines of a given width: grouped by day and sender, with the marks of what was sent. Pure.

A line is a list of (text, style), the style one of STYLES, whose looks are the stylesheet's. What was laid out once is
kept with its entry, so that a new message costs only its own lines.

Neighbour: `transcript.py` draws them.
"""

import time
import zlib
from collections.abc import Iterator
from typing import Final, TypeAlias

from textual.content import Content

from chatroom import text
from chatroom.terminal.room_log import Draft, DraftState, LogEntry, RoomLog
from chatroom_client import Hole, Message, User

Line: TypeAlias = list[tuple[str, str]]
Block: TypeAlias = list[Line]

NAMES: Final = 6  # colours for names
STYLES: Final = (
    "text",
    "dim",
    "day",
    "hole",
    "system",
    "mine",
    "pending",
    "failed",
    "mark",
    *(f"name-{i}" for i in range(NAMES)),
)
TOGETHER_S: Final = 300  # messages of one sender within so long stand under one name
FAILED_LINES: Final = 3
BAR: Final = "▎ "


def lay_out(log: RoomLog, width: int, me: User | None) -> tuple[Block, list[int]]:
    """Return all lines, and of each entry the line where it begins."""
    lines: Block = _top(log, width)
    starts: list[int] = []
    before: LogEntry | None = None
    for entry in log.entries:
        starts.append(len(lines))
        lines += _laid(entry, before, width, me)
        before = entry
    for draft in log.waiting():
        lines += _draft(draft, width)
    return lines, starts


def _laid(entry: LogEntry, before: LogEntry | None, width: int, me: User | None) -> Block:
    """Return an entry's lines, from last time if nothing changed around it."""
    key = (width, me and me.id)
    if not (isinstance(entry.laid, tuple) and entry.laid[0] == key and entry.laid[2] is before):
        day = _day(entry, width, shown=_new_day(entry, before))
        entry.laid = (key, [*day, *_said(entry, width, me, grouped=_grouped(entry, before))], before)
    block: Block = entry.laid[1]
    return block


def _said(entry: LogEntry, width: int, me: User | None, *, grouped: bool) -> Block:
    said = entry.said
    if isinstance(said, Message):
        return _message(said, width, me, grouped=grouped)
    if isinstance(said, Hole):
        return [[], *_centred(f"╌╌ {text.hole(said)} ╌╌", width, "hole")]
    return [
        [],
        *(
            [("◆ " if i == 0 else "  ", "system"), (line, "system")]
            for i, line in enumerate(_wrap(said.text, width - 2))
        ),
    ]


def _message(message: Message, width: int, me: User | None, *, grouped: bool) -> Block:
    mine = me is not None and message.user.id == me.id
    style = "mine" if mine else name_style(message.user)
    head: Block = (
        [] if grouped else [[], [(text.speaker(message), style), (time.strftime("  %H:%M", _local(message)), "dim")]]
    )
    body: Block = [[(BAR, style), (line, "text")] for line in _wrap(message.content, width - len(BAR) - 2)]
    if mine:
        body[-1].append((" ✓", "mark"))
    return head + body


def _draft(draft: Draft, width: int) -> Block:
    body: Block = [[(BAR, "dim"), (line, "pending")] for line in _wrap(draft.text, width - len(BAR) - 2)]
    if draft.state is DraftState.FAILED:
        told = _wrap(f"✗ not sent: {draft.why}. Ctrl+R sends it again, /drop removes it.", width - len(BAR))
        # It stands below all that comes until somebody does something about it, so it must not fill the screen.
        shown = [*body[:FAILED_LINES], *([[(BAR, "dim"), ("…", "dim")]] if len(body) > FAILED_LINES else [])]
        return shown + [[(BAR, "failed"), (line, "failed")] for line in told]
    body[-1].append((" ✓", "mark") if draft.state is DraftState.SENT else (" …", "dim"))
    return body


def _top(log: RoomLog, width: int) -> Block:
    """Say what is above the first entry."""
    if log.loading:
        return _centred("loading older messages …", width, "dim")
    return [] if log.more is not False else _centred(f"this is the beginning of {text.plain(log.room)}", width, "dim")


def _day(entry: LogEntry, width: int, *, shown: bool) -> Block:
    if not shown or not isinstance(entry.said, Message):
        return []
    return [[], *_centred(f"── {time.strftime('%A, %d %B %Y', _local(entry.said))} ──", width, "day")]


def _new_day(entry: LogEntry, before: LogEntry | None) -> bool:
    if not isinstance(entry.said, Message):
        return False
    if before is None or not isinstance(before.said, Message):
        return before is None
    return _local(entry.said)[:3] != _local(before.said)[:3]


def _grouped(entry: LogEntry, before: LogEntry | None) -> bool:
    if before is None or not isinstance(entry.said, Message) or not isinstance(before.said, Message):
        return False
    near = entry.said.timestamp - before.said.timestamp < TOGETHER_S * 1000
    return near and entry.said.user == before.said.user and not _new_day(entry, before)


def _local(message: Message) -> time.struct_time:
    return time.localtime(message.timestamp / 1000)


def name_style(user: User) -> str:
    """Return the style of a user's name: always the same colour."""
    return f"name-{zlib.crc32(user.id.encode()) % NAMES}"


def _wrap(content: str, width: int) -> list[str]:
    """Return the content's lines, no wider than the width; its own line ends are kept."""
    wrapped: Iterator[Content] = (
        part for line in content.split("\n") for part in Content(text.plain(line)).wrap(max(8, width)) or [Content("")]
    )
    return [part.plain.rstrip() for part in wrapped]


def _centred(content: str, width: int, style: str) -> Block:
    return [[(" " * max(0, (width - Content(line).cell_length) // 2) + line, style)] for line in _wrap(content, width)]
