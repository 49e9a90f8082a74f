"""The documented clients do what is said of them, run as a reader would."""

import asyncio
import shutil
import sys
from pathlib import Path

from chatroom.client import ChatClient
from chatroom.guard import Guard
from tests.conformance.subjects import NODE
from tests.support.comet_program import CometProgram
from tests.support.documented import example

WEB = Path(__file__).parents[3] / "comet" / "web"
TIMEOUT_S = 30.0


async def until(out: asyncio.StreamReader, line: str) -> None:
    """Read until this line."""
    async with asyncio.timeout(TIMEOUT_S):
        while (read := await out.readline()) != f"{line}\n".encode():
            assert read, f"it ended without {line!r}"


async def test_the_python_example_chats(guard: Guard, tmp_path: Path, redis_url: str) -> None:
    """It says hello, and prints what others say."""
    with CometProgram(guard, tmp_path, redis_url) as comet:
        code = example("clients.md", "python", f"127.0.0.1:{comet.port}")
        pipe = asyncio.subprocess.PIPE
        running = await asyncio.create_subprocess_exec(sys.executable, "-u", "-c", code, stdout=pipe)
        try:
            assert running.stdout is not None
            await until(running.stdout, "Bot Hello from Python")
            async with ChatClient(comet.url, name="Alice", rooms=["room_001"]) as alice:
                await alice.send("room_001", "Hello bot")
            await until(running.stdout, "Alice Hello bot")
        finally:
            running.kill()
            await running.wait()


async def test_the_npm_package_is_whole(tmp_path: Path) -> None:
    """What it says it holds is all that its client needs."""
    package = tmp_path / "node_modules" / "chatroom-suite-client"
    shutil.copytree(WEB / "client", package / "client")
    for name in ("client.js", "package.json"):
        shutil.copy(WEB / name, package)
    code = 'import * as all from "chatroom-suite-client"; console.log(Object.keys(all).join())'
    (tmp_path / "main.mjs").write_text(code)
    running = await asyncio.create_subprocess_exec(NODE, tmp_path / "main.mjs", stdout=asyncio.subprocess.PIPE)
    out, _ = await running.communicate()
    assert out == b"ChatClient,ChatError,Disconnected\n"
