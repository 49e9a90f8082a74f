"""The programs of a cluster as faults see them: started, killed, stopped, frozen, and asked whether they are ready.

A `Part` never blocks the loop: what blocks runs in threads. It knows which of its ends were asked for, and remembers
the others, and tracebacks in its log, for `Cluster.unexpected`.
"""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from testbed.program import Program
from testbed.service import ServiceProgram

READY_TIMEOUT_S: Final = 60.0
ASK_AGAIN_S: Final = 0.1
START_AGAIN_S: Final = 1.0
TRACEBACK: Final = "Traceback (most recent call last)"
TRACEBACK_CHARS: Final = 3000


class NotReady(Exception):
    """A part that did not come back; the text names it and says why."""


class Part:
    """One program of the cluster."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.name = program.name
        self.unexpected: list[str] = []
        self._frozen = False
        self._read = 0  # of its log, in search of tracebacks

    @property
    def pid(self) -> int:
        """The process that runs now."""
        return self.program.pid

    @property
    def log(self) -> Path:
        """The file that it writes to, over all its lives."""
        return self.program.directory / f"{self.name}.log"

    @property
    def frozen(self) -> bool:
        """Whether it is stopped by SIGSTOP."""
        return self._frozen

    # -- what faults do ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it; `ready` waits for it."""
        await asyncio.to_thread(self.program.spawn)

    async def kill(self) -> None:
        """SIGKILL it."""
        self._note_end()
        await asyncio.to_thread(self.program.kill)
        self._frozen = False

    async def stop(self) -> int | None:
        """SIGTERM it, wait and return its exit code: whoever asks judges it. What does not end is killed."""
        self._note_end()
        return await asyncio.to_thread(self.program.stop)

    def freeze(self) -> None:
        """SIGSTOP it."""
        self._frozen = True
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it; nothing where it is not frozen."""
        if self._frozen:
            self._frozen = False
            with suppress(ProcessLookupError, AssertionError):
                os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """SIGKILL it here and now, for good."""
        self._frozen = False
        self.program.kill()

    async def ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it serves; one that ended by itself is noted and started again. Raises NotReady."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self._note_end():
                await asyncio.sleep(START_AGAIN_S)
                await self.start()
            if await asyncio.to_thread(self.program.answers):
                return
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} is not ready after {timeout_s:.0f} s: {await self._why()}")
            await asyncio.sleep(ASK_AGAIN_S)

    async def _why(self) -> str:
        said = await asyncio.to_thread(self.program.report) if isinstance(self.program, ServiceProgram) else {}
        return f"{json.dumps(said)}; the end of its log {self.log}:\n{_tail(self.log)}"

    # -- what nobody asked for ---------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look for an end that nobody asked for and for tracebacks; add them to `unexpected`."""
        self._note_end()
        if isinstance(self.program, ServiceProgram):
            self._note_tracebacks()

    def _note_end(self) -> bool:
        """Whether it has ended by itself."""
        code = self.program.exit_code
        if code is None:
            return False
        self.unexpected.append(f"{self.name} ended by itself with exit code {code}: {_tail(self.log, 300)}")
        self.program.kill()  # it is dead: this only takes note
        self._frozen = False
        return True

    def _note_tracebacks(self) -> None:
        if not self.log.exists():
            return
        with self.log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        whole = text.rfind(b"\n") + 1  # a line may still be on its way
        self._read += whole
        lines = text[:whole].decode(errors="replace")
        at = lines.find(TRACEBACK)
        while at >= 0:
            self.unexpected.append(f"{self.name} logged a traceback: {lines[at : at + TRACEBACK_CHARS]}")
            at = lines.find(TRACEBACK, at + TRACEBACK_CHARS)


def _tail(log: Path, most: int = 2000) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - most))
        return file.read().decode(errors="replace")
