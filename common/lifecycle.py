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

FILES: Final = (1_048_576, 65_536, 10_240)  # open ones, tried where the system refuses its own hard limit
WILDCARDS: Final = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
BACKLOG: Final = 4096  # connections that wait to be accepted: past it a client hears nothing and tries again after 1 s


def exit_at_once() -> None:
    """End this program without any cleanup, with the exit code of a program that Ctrl-C ended."""
    os._exit(128 + signal.SIGINT)


class StopRequest:
    """A request to stop, made by a signal or by the program itself. The first reason is kept.

    A signal that arrives after the request calls `on_second_signal`, which must end the program.
    """

    def __init__(self, on_second_signal: Callable[[], None] = exit_at_once) -> None:
        self.on_second_signal = on_second_signal
        self._reason = ""
        self._event = asyncio.Event()

    @property
    def made(self) -> bool:
        """Whether the program was asked to stop."""
        return self._event.is_set()

    def make(self, reason: str) -> None:
        """Ask the program to stop."""
        self._reason = self._reason or reason
        self._event.set()

    def on_signal(self, signum: signal.Signals) -> None:
        """Ask the program to stop. The second signal ends it at once."""
        if self.made:
            self.on_second_signal()
        self.make(signum.name)

    async def wait(self) -> str:
        """Wait for the request and return its reason, such as SIGTERM."""
        await self._event.wait()
        return self._reason


def run(main: Callable[[StopRequest], Awaitable[None]]) -> int:
    """Run the service to its end on uvloop and return the exit code; a StartupError becomes one line on stderr."""

    async def with_signals() -> None:
        stop = StopRequest()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.on_signal, signum)
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
    """Allow as many open files, and so connections, as this user may have: the usual soft limit is 1,024 or less.

    Programs started from here inherit it. macOS names no hard limit, and then refuses it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, *(one for one in FILES if one > _number(soft))):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def file_limit() -> int:
    """Return how many files and connections this process may have open."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _number(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


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
    try:
        sock = bound(host, port)
        try:
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as e:
        raise StartupError(bind_fault(host, port, setting, e)) from e
    sock.settimeout(0)
    return sock


def bound(host: str, port: int) -> socket.socket:
    """Return a TCP socket that is bound there, or raise OSError. TIME_WAIT is no hindrance.

    Either wildcard means every address of both families, as with gRPC and in Go. Without IPv6 it means those of IPv4.
    """
    if host in WILDCARDS:
        host = "::" if _has_ipv6() else "0.0.0.0"  # noqa: S104 - it was asked for
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _has_ipv6() -> bool:
    """Whether this machine's kernel has IPv6."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def bind_fault(host: str, port: int, setting: str, error: OSError) -> str:
    """Say in one line why nothing can listen there and what to change."""
    why = {
        errno.EADDRINUSE: "is in use by another program",
        errno.EACCES: "needs more rights than this user has",
        errno.EADDRNOTAVAIL: "is on an address that this machine does not have",
    }.get(error.errno or 0, f"can't be opened ({error.strerror})")
    return f"port {port} on {host} {why}: stop that program, or change the setting {setting}"
