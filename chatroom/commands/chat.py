"""`chatroom chat`: a chat in the terminal. Here stands how it is started; the chat itself is in `terminal/`."""

import importlib.util
import sys

import click

from chatroom.commands import options
from chatroom.commands.entering import new_client
from chatroom.commands.running import Fault, run
from chatroom_client import ChatClient
from common import ids
from common.errors import BadRequest

_EXTRA = "chatroom-suite[terminal]"


@click.command(epilog="Example: chatroom chat room_001 --name Alice    (in two terminals, under two names)")
@click.argument("rooms", metavar="[ROOM]...", nargs=-1)
@options.name
@options.uid
@options.url
@options.token
def chat(rooms: tuple[str, ...], *, name: str | None, uid: str | None, url: str, token: str | None) -> None:
    """Chat in the terminal.

    Joins each ROOM, or room_001. A server that is away is waited for; what you send meanwhile is sent when it is back.
    Inside, /help tells what you can type.
    """

    async def main() -> int:
        check(rooms)
        return await _chat(new_client(url, name=name, uid=uid, token=token), rooms or ("room_001",))

    run(main)


def check(rooms: tuple[str, ...]) -> None:
    """Raise Fault for what hinders the chat."""
    if importlib.util.find_spec("textual") is None:
        raise Fault(f"needs the package textual: install it with `{sys.executable} -m pip install '{_EXTRA}'`")
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # Textual draws on the last
        raise Fault("needs a terminal: `chatroom tail` and `chatroom send` work without")
    try:
        for room in rooms:
            ids.room_id(room, "ROOM")
    except BadRequest as e:
        raise Fault(e.message) from None


async def _chat(client: ChatClient, rooms: tuple[str, ...]) -> int:
    from chatroom.terminal.app import ChatApp  # noqa: PLC0415 - the extra may be missing

    app = ChatApp(client, list(dict.fromkeys(rooms)))
    try:
        await app.run_async()
    finally:
        await client.close()
    return app.return_code or 0
