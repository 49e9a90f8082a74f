"""A real program in a test's hands: started, stopped, killed, started again; dead when pytest is, whatever ends it."""

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from chatroom.guard import Guard
from tests.support.loops import wait_until

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0


class Program:
    """One server: subclasses say which (`argv`) and when it `answers`; what it writes goes to a file in its folder."""

    def __init__(self, guard: Guard, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
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
        """All that it wrote."""
        path = self.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._running is not None, f"{self.name} is stopped"
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with by itself; None while it runs, and when somebody ended it."""
        return self._running.poll() if self._running is not None else None

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.spawn()
        wait_until(self._up, START_TIMEOUT_S, lambda: f"{self.name} answers\n{self.log[-2000:]}")
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it without waiting until it answers."""
        assert self._running is None, f"{self.name} runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f"{self.name}.log").open("ab") as out:
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
        assert self._running is not None
        code = self._running.poll()
        if code is not None:
            self._running = None
            raise AssertionError(f"{self.name} ended with {code} as it started\n{self.log[-2000:]}")
        return self.answers()

    def stop(self) -> int | None:
        """End it politely, wait and return its exit code (None: it did not run); what does not end is killed."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int | None:
        """SIGKILL it, wait and return its exit code."""
        return self._end(signal.SIGKILL)

    def _end(self, signum: signal.Signals) -> int | None:
        running, self._running = self._running, None
        if running is None:
            return None
        running.send_signal(signum)
        try:
            return running.wait(STOP_TIMEOUT_S)
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
