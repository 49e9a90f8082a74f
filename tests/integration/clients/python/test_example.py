"""The example of docs/python-client.md, as it stands there, against a real server."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatroom.up.guard import Guard
from chatroom_client import ChatClient, Message
from testbed.program import bare_environ
from testbed.service import CometProgram
from tests.support.documented import example

TIMEOUT_S = 40.0


async def heard(chat: ChatClient, content: str) -> None:
    """Wait for a message."""
    async for event in chat:
        if isinstance(event, Message) and event.content == content:
            return


@contextmanager
def running(guard: Guard, program: str) -> Iterator[None]:
    """Run a program while inside."""
    with subprocess.Popen([sys.executable, "-c", program], env=bare_environ(), process_group=guard.group) as started:
        try:
            yield
        finally:
            started.kill()


async def test_the_documented_example_runs(guard: Guard, redis_url: str, tmp_path: Path) -> None:
    """At most 15 lines, in which a bot answers, and answers on when the server was killed and is there again."""
    with CometProgram(guard, tmp_path, redis_url) as comet:
        program = example("python-client.md", "python", f"127.0.0.1:{comet.port}")
        assert len(program.splitlines()) <= 15
        with running(guard, program):
            async with asyncio.timeout(TIMEOUT_S):
                async with ChatClient(comet.url, name="Alice", rooms=["room_001"], reconnect_cap_s=0.5) as alice:
                    await heard(alice, "Say something, and I repeat it")
                    await alice.send("room_001", "hi")
                    await heard(alice, "Alice said: hi")
                    comet.kill()
                    await asyncio.to_thread(comet.start)
                    await alice.send("room_001", "still there?")
                    await heard(alice, "Alice said: still there?")
