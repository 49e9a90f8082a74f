"""One supervised program: started in the guard's group, read line by line, asked whether it is ready, stopped.

A program that ends unasked is started again after a backoff; the fifth time within a minute its supervisor is told to
give up. One that ends by itself before it was ever ready is not tried again: it has said why (a port in use, say).
Neighbours: `supervisor.py` owns the children, `output.py` prints their lines, `stack.py` says which there are.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from chatroom.probes import NoAnswer
from chatroom.up.endings import LastWords, how_it_ended
from chatroom.up.output import UP, Console, Lines
from common.backoff import Backoff
from common.errors import StartupError

MAX_CRASHES = 5
CRASH_WINDOW_S = 60.0
_PROBE_EVERY_S = 0.1
_LAST_LINES_S = 1.0
_KILL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Spec:
    """How to start a program and how long its drain may take.

    `ready` is given the pid; it raises NoAnswer while the program is not ready, or where another one answers.
    """

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    ready: Callable[[int], Awaitable[None]]
    drain_s: float = 15.0
    stage: int = 0  # programs stop in the order of their stages
    hint: str = ""  # what to look at when it can't run
    quiet_start: bool = False  # what it says before it is ready is only of interest if it never is


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What all children of one supervisor share."""

    group: int
    console: Console
    give_up: Callable[[StartupError], None]


class Child:
    """A program from its first start to its last end. `run()` belongs in a TaskGroup; `stop()` ends it."""

    def __init__(self, spec: Spec, shared: ChildContext) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()  # for good
        self.why_not_ready = "starting"
        self.words = LastWords()
        self._shared = shared
        self._lives = 0
        self._was_ready = False
        self._code = 0
        self._reason: StartupError | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.subprocess.Process | None = None
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)  # only the last few count
        self.backoff = Backoff(first_s=0.5, cap_s=8.0)

    async def run(self) -> None:
        """Keep it running until it is stopped or given up."""
        try:
            while not self._stopping.is_set():
                await self._live()
                if self._stopping.is_set() or not self._try_again():
                    return
                await self._pause()
        except OSError as e:  # no such program, no rights, no memory to fork
            self._give_up(f"can't start: {e}")
        finally:
            self.ended.set()

    async def until_ready(self) -> None:
        """Wait until it is ready for the first time. Raises the StartupError that says why it never will be."""
        async with asyncio.TaskGroup() as tasks:
            waits = [tasks.create_task(event.wait()) for event in (self.ready, self.ended)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        if self.ended.is_set():
            raise self._reason or StartupError(f"{self.spec.name} was stopped")

    async def stop(self) -> None:
        """Ask it to drain and wait for its end; kill it when its time is over. Idempotent."""
        began = time.monotonic()
        self._stopping.set()
        if self._running is None and self.ended.is_set():
            return
        self._say(f"stopping {self.spec.name}")
        self._send(signal.SIGTERM)
        if not await self._ends_within(self.spec.drain_s):
            self._say(f"{self.spec.name} did not end within {self.spec.drain_s:.0f} s: killing it")
            self._send(signal.SIGKILL)
            await self._ends_within(_KILL_TIMEOUT_S)
        self._say(f"{self.spec.name} {how_it_ended(self._code)} ({time.monotonic() - began:.1f} s)")

    def _send(self, signum: signal.Signals) -> None:
        """Send it a signal, if there is anything to send it to."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                self._running.send_signal(signum)

    async def _ends_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self.ended.wait()
        except TimeoutError:
            return False
        return True

    async def _live(self) -> None:
        """Run it once, from start to end."""
        self.words = LastWords()
        pipes: list[Lines] = []
        running = self._running = await self._start(pipes)
        if self._stopping.is_set():  # asked to while it started
            self._send(signal.SIGTERM)
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self._probe(running.pid))
            self._code = await running.wait()
            probing.cancel()
        self._running = None
        self.ready.clear()
        self.why_not_ready = "restarting"
        await _last_lines(pipes)

    async def _start(self, pipes: list[Lines]) -> asyncio.subprocess.Process:
        out, out_fd = await _pipe(lambda text: self._read(text, self.words.lines))
        err, err_fd = await _pipe(lambda text: self._read(text, self.words.errors))
        try:
            running = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out_fd,
                stderr=err_fd,
                env=dict(self.spec.environ),
                process_group=self._shared.group,
            )
        finally:
            os.close(out_fd)
            os.close(err_fd)
        pipes += [out, err]
        self._lives += 1
        self._say(f"{self.spec.name} started (pid {running.pid})")
        return running

    async def _probe(self, pid: int) -> None:
        while not self.ready.is_set():
            try:
                await self.spec.ready(pid)
            except NoAnswer as e:
                self.why_not_ready = str(e)
                await asyncio.sleep(_PROBE_EVERY_S)
            else:
                self.ready.set()
                self._was_ready = True
        if self._lives > 1:
            self._say(f"{self.spec.name} is ready again")

    def _try_again(self) -> bool:
        """Count the crash; return False where it ends everything."""
        why = self.words.why(self._code)
        if self._code >= 0 and not self._was_ready:
            self._give_up(f"can't start: {why}")
            return False
        now = time.monotonic()
        if not self._crashes or now - self._crashes[-1] > CRASH_WINDOW_S:
            self.backoff.reset()
        self._crashes.append(now)
        if len(self._crashes) == MAX_CRASHES and now - self._crashes[0] <= CRASH_WINDOW_S:
            times = f"{MAX_CRASHES} times within {CRASH_WINDOW_S:.0f} s"
            self._give_up(f"crashed {times}, the last time with: {why}")
            return False
        return True

    async def _pause(self) -> None:
        """Wait before the next start, or until asked to stop."""
        wait_s = self.backoff.next_s()
        self._say(f"{self.spec.name} {how_it_ended(self._code)}: starting it again in {wait_s:.1f} s")
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _give_up(self, reason: str) -> None:
        """Whoever waits for the first readiness hears of it there; later the supervisor must."""
        hint = f" ({self.spec.hint})" if self.spec.hint else ""
        self._reason = StartupError(f"{self.spec.name} {reason}{hint}")
        if self._was_ready:
            self._shared.give_up(self._reason)

    def _read(self, text: str, kept: deque[str]) -> None:
        kept.append(text)
        if self.ready.is_set() or not self.spec.quiet_start:
            self._shared.console.line(self.spec.name, text)

    def _say(self, text: str) -> None:
        self._shared.console.line(UP, text)


async def _pipe(on_line: Callable[[str], None]) -> tuple[Lines, int]:
    """Return who reads, and the end to write to; with asyncio's own pipes wait() would wait for all who hold them."""
    read_fd, write_fd = os.pipe()
    _, lines = await asyncio.get_running_loop().connect_read_pipe(lambda: Lines(on_line), os.fdopen(read_fd, "rb", 0))
    return lines, write_fd


async def _last_lines(pipes: Sequence[Lines]) -> None:
    """Wait for what an ended program wrote last, but not for long: one that it left behind may hold the pipe."""
    try:
        async with asyncio.timeout(_LAST_LINES_S):
            for lines in pipes:
                await lines.ended.wait()
    except TimeoutError:
        for lines in pipes:
            lines.close()
