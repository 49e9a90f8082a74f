"""A subprocess of the bench that answers lines of JSON with lines of JSON: load generators, baselines, the sink.

It runs on the core that it is given, and belongs to the test bed's group, so that it dies with the bench.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO, Any, Final

import orjson

from bench.measures import Unmeasured
from chatroom.up.guard import Guard
from testbed.program import kept_on, program_environ

ANSWER_TIMEOUT_S: Final = 180.0
LINE_BYTES: Final = 1 << 24


class Died(Unmeasured):
    """The program ended instead of answering; the text is the end of what it wrote."""


class JsonSubprocess:
    """The asking end."""

    def __init__(
        self, name: str, running: subprocess.Popen[bytes], answers: asyncio.StreamReader, said: IO[bytes]
    ) -> None:
        self.name = name
        self._running = running
        self._answers = answers
        self._said = said  # what it wrote on stderr

    @property
    def pid(self) -> int:
        """Its process."""
        return self._running.pid

    async def ask(self, **order: object) -> dict[str, Any]:
        """Send a line and return the answer. Raises Died."""
        assert self._running.stdin is not None  # noqa: S101 - made so
        try:
            self._running.stdin.write(orjson.dumps(order) + b"\n")
            self._running.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """Return what it says next. Raises Died."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            line = await self._answers.readline()
        if not line:
            raise self._died()
        found: dict[str, Any] = orjson.loads(line)
        return found

    def _died(self) -> Died:
        self._said.seek(0)
        return Died(f"{self.name} ended: {self._said.read().decode(errors='replace').strip()[-2000:]}")


def say(answer: Mapping[str, Any]) -> None:
    """Write an answer, in the subprocess."""
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


@asynccontextmanager
async def json_subprocess(
    guard: Guard, module: str, *arguments: str, core: int | None = None
) -> AsyncIterator[JsonSubprocess]:
    """Run `python -m bench.load.<module>` with these arguments."""
    loop = asyncio.get_running_loop()
    answers = asyncio.StreamReader(limit=LINE_BYTES)
    with tempfile.TemporaryFile() as said:
        with kept_on(core):
            running = subprocess.Popen(  # noqa: S603, ASYNC220 - ours; asyncio's can't join a group under uvloop
                [sys.executable, "-m", f"bench.load.{module}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=program_environ({}),
                process_group=guard.group,
            )
        assert running.stdin is not None  # noqa: S101 - made so
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(answers), running.stdout)
        try:
            yield JsonSubprocess(module, running, answers, said)
        finally:
            running.kill()
            running.wait()
            transport.close()
            running.stdin.close()
