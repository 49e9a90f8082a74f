"""A real program that a test starts, stops, kills and starts again. It always ends with the program that started it.

Servers and services derive from it (redis_server.py, kafka_server.py, service.py).
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from chatroom.up.guard import Guard
from common.errors import StartupError

START_TIMEOUT_S = 90.0
ASK_AGAIN_S = 0.02
STOP_TIMEOUT_S = 15.0
_SETTINGS = ("CHAT_", "COMET_", "LOGIC_", "JOB_", "CHATROOM_")


def bare_environ() -> dict[str, str]:
    """Return this program's environment without ChatRoom's settings, which a developer may have set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}


def program_environ(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program of ours that gets these settings and none of the developer's own."""
    return {**bare_environ(), "PYTHONUNBUFFERED": "1", **settings}


class Program:
    """One program. Subclasses define its command line and when it answers. A file in its folder gets its output."""

    def __init__(self, guard: Guard, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.core: int | None = None  # the processor core that it runs on; None: any
        self._guard = guard
        self._running: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        """Return the command line."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str] | None:
        """Return the environment, or None for ours."""
        return None

    def answers(self) -> bool:
        """Ask once whether it serves."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """All of its output so far."""
        path = self.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process that runs now."""
        if self._running is None:
            raise RuntimeError(f"{self.name} is stopped")
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code if it ended by itself, else None."""
        return self._running.poll() if self._running is not None else None

    def start(self) -> Self:
        """Start it and wait until it answers. Raises StartupError with the end of its output."""
        self.spawn()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._up():
            if time.monotonic() > deadline:
                self.kill()
                raise StartupError(f"{self.name} does not answer after {START_TIMEOUT_S:.0f} s\n{self.log[-2000:]}")
            time.sleep(ASK_AGAIN_S)
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it without waiting until it answers."""
        if self._running is not None:
            raise RuntimeError(f"{self.name} runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f"{self.name}.log").open("ab") as out, kept_on(self.core):
            self._running = subprocess.Popen(
                self.argv(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environ(),
                process_group=self._guard.group,
            )
        return self._running

    def _up(self) -> bool:
        if self._running is None:
            raise StartupError(f"{self.name} was stopped as it started")
        code = self.exit_code
        if code is not None:
            self._running = None
            raise StartupError(f"{self.name} ended with {code} as it started\n{self.log[-2000:]}")
        return self.answers()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """SIGTERM it, wait and return its exit code (None: it did not run). After the timeout, kill it."""
        return self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> int | None:
        """SIGKILL it, wait and return its exit code."""
        return self._end(signal.SIGKILL, STOP_TIMEOUT_S)

    def _end(self, signum: signal.Signals, timeout_s: float) -> int | None:
        running, self._running = self._running, None
        if running is None:
            return None
        running.send_signal(signum)
        try:
            return running.wait(timeout_s)
        except subprocess.TimeoutExpired:
            running.kill()
            return running.wait(STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it: nobody reads its files any more."""
        self.kill()


@asynccontextmanager
async def running(programs: Sequence[Program]) -> AsyncIterator[None]:
    """Start programs side by side, and kill them on the way out. Raises StartupError."""
    try:
        await asyncio.gather(*(asyncio.to_thread(program.start) for program in programs))
        yield
    finally:
        for program in programs:
            program.kill()


@contextmanager
def kept_on(core: int | None) -> Iterator[None]:
    """Keep the programs that this thread starts meanwhile on one core. A program passes that on to all its threads."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
