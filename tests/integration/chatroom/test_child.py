"""One supervised program, with tiny programs: restarts, giving up, stopping."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from chatroom.probes import NoAnswer
from chatroom.up.child import MAX_CRASHES, Child, ChildContext, Spec
from chatroom.up.guard import Guard
from chatroom.up.output import Console
from common.backoff import Backoff
from common.errors import StartupError

RUNS = "import time; print('runs', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
CRASHES = "import sys, time; print('fine', flush=True); time.sleep(0.3); sys.exit('broken')"


class Screen(Console):
    """Keeps the lines instead of printing them."""

    def __init__(self) -> None:
        super().__init__(-1, colour=False, on_gone=lambda: None)
        self.text: list[str] = []
        self._more = asyncio.Event()

    def block(self, text: str) -> None:
        """Keep it."""
        self.text.append(text)
        self._more.set()

    async def shows(self, words: str) -> None:
        """Wait for a line with the words."""
        while not any(words in line for line in self.text):
            self._more.clear()
            await self._more.wait()


class Scene:
    """A guard, a screen, and who was given up."""

    def __init__(self, guard: Guard, tasks: asyncio.TaskGroup) -> None:
        self.screen = Screen()
        self.given_up: list[StartupError] = []
        self.tasks = tasks
        self.shared = ChildContext(guard.group, self.screen, self.given_up.append)

    def start(self, code: str, ready: Callable[[int], Awaitable[None]] | None = None, **more: float) -> Child:
        """Run a Python one-liner as a child."""
        argv = [sys.executable, "-I", "-S", "-c", code]
        spec = replace(Spec("tiny", argv, dict(os.environ), ready or self.printed), **more)  # type: ignore[arg-type]
        child = Child(spec, self.shared)
        child.backoff = Backoff(first_s=0.001, cap_s=0.01)
        self.tasks.create_task(child.run())
        return child

    @property
    def pid(self) -> int:
        """The process that was started last."""
        return [int(found[1]) for line in self.screen.text if (found := re.search(r"started \(pid (\d+)", line))][-1]

    async def printed(self, _pid: int) -> None:
        """Ready is who has printed something."""
        if not any(line.startswith("tiny") for line in self.screen.text):
            raise NoAnswer("silent")


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """Set the scene."""
    with Guard() as guard:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            yield Scene(guard, tasks)


async def never(_pid: int) -> None:
    """Ask who is never ready."""
    raise NoAnswer("not today")


async def test_stop_drains_and_says_how_it_ended() -> None:
    """SIGTERM, then its own end."""
    async with scene() as it:
        child = it.start(RUNS)
        await child.until_ready()
        await child.stop()
        assert it.screen.text[-1].startswith("up | tiny was killed by SIGTERM (")
        assert not it.given_up


async def test_stop_kills_who_does_not_end() -> None:
    """After the drain time."""
    async with scene() as it:
        child = it.start(DEAF, drain_s=0.2)
        await child.until_ready()
        await child.stop()
        assert any("did not end within 0 s: killing it" in line for line in it.screen.text)
        assert "SIGKILL" in it.screen.text[-1]


async def test_stop_while_it_starts_leaves_nothing_running() -> None:
    """Asked to stop in the same breath as to start."""
    async with scene() as it:
        child = it.start(RUNS, never)
        await child.stop()
        assert child.ended.is_set()


async def test_an_unasked_end_is_followed_by_another_start() -> None:
    """A signal from outside counts as a crash like any other."""
    async with scene() as it:
        child = it.start(RUNS)
        await child.until_ready()
        os.kill(it.pid, signal.SIGKILL)
        await it.screen.shows("ready again")
        assert any("was killed by SIGKILL: starting it again in 0.0 s" in line for line in it.screen.text)
        await child.stop()


async def test_the_fifth_crash_within_a_minute_gives_up_with_its_last_error() -> None:
    """Once it was ready, the supervisor hears of it."""
    async with scene() as it:
        child = it.start(CRASHES, it.printed)
        await child.ended.wait()
        assert [str(reason) for reason in it.given_up] == [
            "tiny crashed 5 times within 60 s, the last time with: broken"
        ]
        assert sum("started (pid" in line for line in it.screen.text) == MAX_CRASHES


async def test_an_end_of_its_own_before_it_was_ready_is_final() -> None:
    """It has said why; whoever waits for it hears that."""
    async with scene() as it:
        child = it.start(CRASHES, never)
        with pytest.raises(StartupError, match=r"^tiny can't start: broken$"):
            await child.until_ready()
        assert not it.given_up


async def test_a_missing_program_is_a_fault_with_its_name() -> None:
    """No traceback."""
    async with scene() as it:
        child = Child(Spec("tiny", ["/no/such/program"], {}, never), it.shared)
        it.tasks.create_task(child.run())
        with pytest.raises(StartupError, match=r"tiny can't start: .*/no/such/program"):
            await child.until_ready()


async def test_why_it_is_not_ready_is_known_meanwhile() -> None:
    """For the line that `up` shows while it waits."""
    asked, times = asyncio.Event(), iter((False, True))

    async def twice(_pid: int) -> None:
        if next(times, True):
            asked.set()  # so the first answer is known by now
        raise NoAnswer("not today")

    async with scene() as it:
        child = it.start(RUNS, twice)
        await asked.wait()
        assert child.why_not_ready == "not today"
        await child.stop()
        with pytest.raises(StartupError, match="tiny was stopped"):
            await child.until_ready()


async def test_a_pipe_held_by_what_it_left_behind_does_not_delay_its_end() -> None:
    """The grandchild has the pipes, yet the child's end is seen."""
    left = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])"
    code = f"import subprocess, sys; {left}; sys.exit('gone')"
    async with scene() as it:
        child = it.start(code, never)
        async with asyncio.timeout(10):
            with pytest.raises(StartupError, match="gone"):
                await child.until_ready()
