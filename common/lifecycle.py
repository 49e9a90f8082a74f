"""Lifecycle: from `python -m <service>` to its exit code. Owns the loop, signals and what a failed start looks like.

The first SIGTERM or SIGINT asks the service to drain; the second ends it at once.
"""

import asyncio
import errno
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import uvloop

from common.errors import StartupError

BACKLOG: Final = 4096  # connections that wait to be accepted: past it a client hears nothing and tries again after 1 s


class Stop:
    """The wish to stop, set once by a signal."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether somebody asked to stop."""
        return self._event.is_set()

    def ask(self) -> None:
        """Ask to stop; the second time, end at once."""
        if self._event.is_set():
            os._exit(130)
        self._event.set()

    async def wait(self) -> None:
        """Return once somebody asked to stop."""
        await self._event.wait()


def run(main: Callable[[Stop], Awaitable[None]]) -> int:
    """Run the service to its end on uvloop and return the exit code; a StartupError becomes one line on stderr."""

    async def with_signals() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.ask)
        # What start-up made lives as long as the service: no collection needs to look at it again.
        gc.collect()
        gc.freeze()
        await main(stop)

    raise_file_limit()
    code = 0
    try:
        uvloop.run(with_signals())
    except* StartupError as group:
        code = _report(group)
    return code


def raise_file_limit() -> None:
    """Allow as many open files, and so connections, as this user may have: the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names no limit and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """Return how many files and connections this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _report(group: BaseExceptionGroup[StartupError]) -> int:
    code = 1
    for fault in leaves(group):
        sys.stderr.write(f"{fault}\n")
        code = max(code, fault.exit_code)
    return code


def leaves(group: BaseExceptionGroup[StartupError]) -> list[StartupError]:
    """Return the single errors inside nested groups."""
    return [leaf for e in group.exceptions for leaf in (leaves(e) if isinstance(e, BaseExceptionGroup) else [e])]


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Return a listening socket; raise StartupError naming the port and the setting to change where that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as e:
        sock.close()
        raise StartupError(bind_fault(host, port, setting, e)) from e
    sock.settimeout(0)
    return sock


def bind_fault(host: str, port: int, setting: str, error: OSError) -> str:
    """Say in one line why nothing can listen there and what to change."""
    why = {
        errno.EADDRINUSE: "is in use by another program",
        errno.EACCES: "needs more rights than this user has",
        errno.EADDRNOTAVAIL: "is on an address that this machine does not have",
    }.get(error.errno or 0, f"can't be opened ({error.strerror})")
    return f"port {port} on {host} {why}: stop that program, or change the setting {setting}"
