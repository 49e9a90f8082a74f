"""How a command runs and ends: Ctrl-C, a closed pipe and a user's mistake are one line at most, never a traceback.

Exit codes: what the command returns; 1 for a Fault; 130 after Ctrl-C; 0 where nobody reads the output any more
(`| head`), which ends a command even while it has nothing to write.
"""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

import click

from chatroom import text

INTERRUPTED: Final = 128 + signal.SIGINT


class Fault(Exception):
    """What hinders a command, and what to do about it, in one line."""


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a command to its end and exit."""
    try:
        code = asyncio.run(_while_read(main()))
        sys.stdout.flush()
    except (Fault, BrokenPipeError, KeyboardInterrupt, asyncio.CancelledError) as e:
        code = _ended(e)
    sys.exit(code)


async def _while_read(command: Coroutine[Any, Any, int]) -> int:
    """Run it; cancel it when the pipe that it writes to has no reader any more."""
    fd = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return await command
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run made it
    loop.add_reader(fd, task.cancel)  # the writing end of a pipe has nothing to read but the reader's end
    try:
        return await command
    finally:
        loop.remove_reader(fd)


def _ended(error: BaseException) -> int:
    """Return the exit code for how it ended."""
    if isinstance(error, Fault):
        return complain(str(error))
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else _unread()


def say(shown: str, *, err: bool = False) -> None:
    """Print text; nothing in it acts on the terminal, whoever wrote it."""
    click.echo(text.harmless(shown), err=err)


def complain(why: str) -> int:
    """Say what is wrong in one line on standard error and return the exit code for it."""
    path = click.get_current_context().command_path
    say(f"{path}: {' '.join(why.split())}", err=True)
    return 1


def _unread() -> int:
    """Let what is still buffered go nowhere, or Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
