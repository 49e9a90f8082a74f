"""What people are shown of messages and records, as text and as JSON. Pure.

What others wrote is made harmless first: a control character could move the cursor, recolour the screen or worse.
"""

import json
import re
import time
from typing import Any, Final

from chatroom_client import Event, Hole, Message, Reconnecting, Removed, System
from common.characters import ACTING

_PICTURES: Final = 0x2400  # Unicode's pictures of the C0 controls


def plain(text: str) -> str:
    """Return the text in one line, its line ends as ⏎ and other characters that act on a terminal as pictures."""
    return ACTING.sub(_picture, text.replace("\r\n", "\n"))


def harmless(text: str) -> str:
    """Return the text with its lines kept, and each of them plain."""
    return "\n".join(map(plain, text.split("\n")))


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\n":
        return " ⏎ "
    if found[0] == "\t":
        return " "
    return chr(_PICTURES + code) if code < ord(" ") else "\N{REPLACEMENT CHARACTER}"


def moment(timestamp_ms: int) -> str:
    """Return when something was, by this machine's clock and time zone; 0 is what nobody has said the time of."""
    if not timestamp_ms:
        return "(no time)"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timestamp_ms / 1000))


def age(seconds: float) -> str:
    """Return how long something takes, or is ago, in two units at most."""
    whole = int(seconds)
    if whole < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit, smaller_size, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def speaker(message: Message) -> str:
    """Return who said it."""
    return plain(message.user.username or message.user.id or "someone")


def line(event: Event) -> str | None:
    """Return an event of a room as a line, or None for one that is no part of what was said."""
    if isinstance(event, Message):
        return f"{moment(event.timestamp)}  {speaker(event)}: {plain(event.content)}"
    if isinstance(event, Hole):
        return f"-- {hole(event)} --"
    if isinstance(event, System):
        return f"** {plain(event.text)}"
    return None


def hole(event: Hole) -> str:
    """Return what to say of missing messages."""
    why = "the server no longer has them" if event.why == "lost" else "there were too many at once"
    return f"messages are missing here: {why}"


def trouble(event: Reconnecting | Removed) -> str:
    """Return what to say of a lost connection or room."""
    if isinstance(event, Removed):
        return f"removed from {plain(event.room)}: {plain(event.reason)}"
    return f"connection lost ({event.code} {plain(event.reason)}): trying again in {age(event.wait_s)}"


def as_json(event: Event) -> str | None:
    """Return an event of a room as a JSON object, or None for one that is no part of what was said."""
    if isinstance(event, Message):
        position = {"epoch": event.epoch, "seq": event.seq, "id": event.id, "timestamp": event.timestamp}
        user = {"id": event.user.id, "username": event.user.username}
        return dumps({"type": "message", "room": event.room, **position, "content": event.content, "user": user})
    if isinstance(event, Hole):
        after = {"epoch": event.after.epoch, "seq": event.after.seq}
        return dumps({"type": "hole", "room": event.room, "after": after, "why": event.why})
    if isinstance(event, System):
        return dumps({"type": "system", "text": event.text})
    return None


def dumps(shown: dict[str, Any]) -> str:
    """Return a JSON object in one line, readable in any language; what acts on a terminal stands as an escape."""
    return ACTING.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(shown, ensure_ascii=False))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return rows in columns, each as wide as its widest cell."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )
