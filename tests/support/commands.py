"""The `chatroom` command as people run it: a program of its own, its output read line by line."""

import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from signal import SIGINT
from types import TracebackType
from typing import Self

from chatroom.up.guard import Guard
from testbed.program import bare_environ

TIMEOUT_S = 30.0


def chatroom(*arguments: str, typed: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `typed` is its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "chatroom", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=check,
        timeout=TIMEOUT_S,
        env=bare_environ(),
    )


class Following:
    """A command that goes on, such as `tail`, while inside."""

    def __init__(self, guard: Guard, *arguments: str) -> None:
        self._running = subprocess.Popen(
            [sys.executable, "-m", "chatroom", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=bare_environ(),
            process_group=guard.group,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        """Read on."""
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it, if it still runs."""
        self._running.kill()
        self._running.communicate()

    def lines(self, count: int) -> Sequence[str]:
        """Return the next lines."""
        return [self._lines.get(timeout=TIMEOUT_S) for _ in range(count)]

    def interrupt(self) -> tuple[int, str, list[str]]:
        """Press Ctrl-C; return the exit code, standard error, and the lines that nobody took."""
        self._running.send_signal(SIGINT)
        code = self._running.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self._running.stderr is not None
        return code, self._running.stderr.read(), [self._lines.get() for _ in range(self._lines.qsize())]

    def _read(self) -> None:
        assert self._running.stdout is not None
        for line in self._running.stdout:
            self._lines.put(line.rstrip("\n"))
