"""What `chatroom up` prints: its children's lines behind their names, and its own. Nothing here ever waits.

A child's pipe is always read, and a terminal that takes nothing (Ctrl-S, a stuck pager) stops only its own writer, a
thread. Between the two stands one bounded queue: when it is full, new lines are dropped and counted, and the count is
printed once there is room again.
"""

import asyncio
import os
import select
import threading
from collections import deque
from collections.abc import Callable

from common.characters import escaped

QUEUE_BYTES = 4 << 20
LINE_BYTES = 64 << 10
_CLOSE_TIMEOUT_S = 2.0
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
UP = "up"


class Console:
    """Writes lines to a file descriptor from a thread of its own."""

    def __init__(self, fd: int, *, colour: bool, on_gone: Callable[[], None], queue_bytes: int = QUEUE_BYTES) -> None:
        self._fd = fd
        self._colour = colour
        self._on_gone = on_gone  # called in the writer's thread when nobody can read any more
        self._limit = queue_bytes
        self._width = len(UP)
        self._names: list[str] = []
        self._queue: deque[bytes] = deque()  # bounded by self._limit bytes: newest are dropped and counted
        self._bytes = 0
        self._dropped = 0
        self._closing = False
        self._changed = threading.Condition()
        # A daemon: it may hang in a write for ever, and the program must end all the same.
        self._writer = threading.Thread(target=self._write_all, name="console", daemon=True)

    def open(self) -> None:
        """Start the writer."""
        self._writer.start()

    def close(self) -> None:
        """Write what is left, as far as that is possible at once."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._writer.join(_CLOSE_TIMEOUT_S)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._queue

    def expect(self, names: list[str]) -> None:
        """Make room for these names, so that all lines begin in one column."""
        self._names = names
        self._width = max(len(name) for name in [UP, *names])

    def line(self, name: str, text: str) -> None:
        """Print a line of the child's, or of `up` itself; nothing in it acts on the terminal."""
        prefix = f"{name:<{self._width}} |"
        if self._colour:
            colour = _COLOURS[self._names.index(name) % len(_COLOURS)] if name in self._names else 1
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        self.block(f"{prefix} {escaped(text.expandtabs())}")

    def block(self, text: str) -> None:
        """Print text without a name before it."""
        encoded = text.encode(errors="replace") + b"\n"
        with self._changed:
            if self._bytes + len(encoded) > self._limit:
                self._dropped += 1
                return
            if self._dropped:
                encoded = f"({self._dropped} lines were not shown: the output was too slow)\n".encode() + encoded
                self._dropped = 0
            self._queue.append(encoded)
            self._bytes += len(encoded)
            self._changed.notify()

    def _write_all(self) -> None:
        while chunk := self._next():
            try:
                self._write(chunk)
            except OSError:  # the reader left, or the terminal
                self._on_gone()
                return

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            chunk = b"".join(self._queue)
            self._queue.clear()
            self._bytes = 0
            return chunk

    def _write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # somebody made our standard output non-blocking
                select.select([], [self._fd], [])


class Lines(asyncio.Protocol):
    """A child's pipe as lines; holds at most one unfinished line, cut at `LINE_BYTES`."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.ended = asyncio.Event()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to close."""
        self._transport = transport

    def close(self) -> None:
        """Read no further, even if somebody still holds the other end."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Hand on every whole line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._emit(line)
        if len(self._rest) > LINE_BYTES:
            self._emit(self._rest)
            self._rest = b""

    def connection_lost(self, _error: Exception | None) -> None:
        """Hand on what came without a line's end."""
        if self._rest:
            self._emit(self._rest)
        self.ended.set()

    def _emit(self, line: bytes) -> None:
        self._on_line(line[:LINE_BYTES].decode(errors="replace").rstrip())
