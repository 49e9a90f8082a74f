"""`chatroom send`: messages that are stored when it returns, each before the next is sent, so in their order."""

import asyncio
import concurrent.futures
import contextlib
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from chatroom import text
from chatroom.commands import options
from chatroom.commands.entering import entered, new_client
from chatroom.commands.running import Fault, run, say
from chatroom_client import Ack, ChatClient, ChatError

TIMEOUT_S: Final = 30.0
READ_BYTES: Final = 65_536


@click.command(epilog="Example: chatroom send room_001 'Hello everybody'    or: fortune | chatroom send room_001 -")
@click.argument("room")
@click.argument("content", metavar="TEXT")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each acknowledgement.",
)
@click.option(
    "--ref", metavar="KEY", help="Stored only once, however often you send it with this key within 5 minutes."
)
@options.as_json
@options.name
@options.uid
@options.url
@options.token
def send(room: str, content: str, timeout_s: float, ref: str | None, **how: Any) -> None:  # noqa: ANN401 - click has given each its type
    """Send TEXT to ROOM, wait until it is stored, and print its id.

    With - for TEXT each line of standard input is a message, but for empty ones. Exits with 0 when all are stored.
    """
    if ref is not None and content == "-":
        raise click.UsageError("--ref is for one message, but - sends many")
    if ref is not None and not (how["uid"] or how["token"]):
        raise click.UsageError("--ref needs --uid or --token: a key is known by who sent it")
    run(lambda: _send(room, _lines() if content == "-" else _just(content), Sending(timeout_s, ref), **how))


@dataclass(frozen=True, slots=True)
class Sending:
    """How messages are sent; without a `ref` each gets one of its own."""

    timeout_s: float
    ref: str | None


async def _send(  # noqa: PLR0913 - the command's options
    room: str,
    contents: AsyncIterator[str],
    sending: Sending,
    *,
    as_json: bool,
    url: str,
    name: str | None,
    uid: str | None,
    token: str | None,
) -> int:
    async with entered(chat := new_client(url, name=name, uid=uid, token=token), url):
        async for content in contents:
            ack = await _stored(chat, room, content, sending)
            say(text.dumps(asdict(ack)) if as_json else ack.id)
    return 0


async def _stored(chat: ChatClient, room: str, content: str, sending: Sending) -> Ack:
    """Send one message. Raises Fault, saying so where it may be stored all the same."""
    ref = sending.ref or uuid.uuid4().hex
    try:
        async with asyncio.timeout(sending.timeout_s):
            return await chat.send(room, content, ref)
    except TimeoutError:
        who = f"--uid {chat.me.id} --ref {ref}" if chat.me else f"--ref {ref}"
        raise Fault(
            f"no acknowledgement within {sending.timeout_s:g} s, so it may be stored or not; to send it again safely, "
            f"add {who}"
        ) from None
    except ChatError as e:
        raise Fault(f"not sent: {e.message}") from None


async def _just(content: str) -> AsyncIterator[str]:
    yield content


async def _lines() -> AsyncIterator[str]:
    """Yield the lines of standard input but for empty ones, while the connection is kept alive."""
    chunks: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
    # A daemon that reads the descriptor itself: it may hang in a read for ever, and the program must end nevertheless.
    threading.Thread(target=_read, args=(asyncio.get_running_loop(), chunks), name="stdin", daemon=True).start()
    rest = b""
    while chunk := await chunks.get():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if content := line.decode(errors="replace").rstrip("\r"):
                yield content
    if rest:
        yield rest.decode(errors="replace")


def _read(loop: asyncio.AbstractEventLoop, chunks: asyncio.Queue[bytes]) -> None:
    """Hand over what comes, chunk by chunk; an empty one is the end."""
    chunk = b"-"
    with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):  # the loop has ended
        while chunk:
            chunk = os.read(sys.stdin.fileno(), READ_BYTES)
            asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()
