"""What can be typed besides messages: a slash and a word. Pure."""

from typing import Final

HELP: Final = """\
/join ROOM   join a room, or go to it
/leave       leave this room
/retry       send again what failed
/drop        remove what failed
/quit        leave the chat
//text       a message that begins with a slash"""


def parse(typed: str) -> tuple[str, str] | None:
    """Return the command and its argument, or None for a message."""
    if not typed.startswith("/") or typed.startswith("//"):
        return None
    command, _, argument = typed[1:].strip().partition(" ")
    return command, argument.strip()


def unescaped(typed: str) -> str:
    """Return the message that was typed; empty if there is nothing in it."""
    return (typed.removeprefix("/") if typed.startswith("//") else typed).strip()
