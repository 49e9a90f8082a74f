"""Who is online in a room, as the panel shows it. Pure."""

from collections.abc import Sequence

from textual.content import Content

from chatroom import text
from chatroom.client import User


def people(users: Sequence[User], online: int, me: User | None) -> Content:
    """Return a line for each user, oneself first, and how many more there are than the server names."""
    ordered = sorted(users, key=lambda user: (me is None or user.id != me.id, user.username.casefold()))
    lines = [
        Content.assemble(
            ("● ", "$success"), text.plain(user.username), (" you", "dim") if me and user.id == me.id else ""
        )
        for user in ordered
    ]
    if online > len(users):
        lines.append(Content.assemble((f"and {online - len(users)} more" if users else f"{online} users", "dim")))
    return Content("\n").join(lines)
