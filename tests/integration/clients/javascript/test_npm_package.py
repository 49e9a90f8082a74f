"""The JavaScript client as an npm package: packed, installed into an empty folder without a registry, and used."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatroom.up.guard import Guard
from testbed.service import CometProgram
from tests.support import npm, npm_bot
from tests.support.comet_settings import comet_settings
from tests.support.scripted_server import scripted_server

pytestmark = [
    pytest.mark.skipif(not npm.found(), reason=npm.MISSING),
    pytest.mark.timeout(npm.TIMEOUT_S),
]

OPTIONS = ("--noEmit", "--strict", "--checkJs", "--module", "nodenext", "--target", "es2022")
REFUSED = """import { ChatClient } from "chatroom-client";
import WebSocket from "ws";
const chat = new ChatClient(process.argv[1], { WebSocket });
await chat.connect().catch(({ code, reason }) => console.log(`${code} ${reason}`));"""
CODE = 'import * as all from "chatroom-client"; console.log(Object.keys(all).join())'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the installed package."""
    return npm.install_client(tmp_path)


def node(*arguments: str, cwd: Path) -> list[str]:
    """Run the Node that npm belongs to; return the lines of its output."""
    argv = [shutil.which("node") or "node", *arguments]
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


@contextmanager
def running(guard: Guard, bot: Path) -> Iterator[None]:
    """Run a bot in Node while inside."""
    argv = [shutil.which("node") or "node", bot.name]
    with subprocess.Popen(argv, cwd=bot.parent, process_group=guard.group) as started:
        try:
            yield
        finally:
            started.kill()


def test_package_holds_the_modules_and_types_and_needs_nothing_else(folder: Path) -> None:
    """Neither tests nor development packages. The package is imported by its name."""
    package = folder / "node_modules" / "chatroom-client"
    held = {str(one.relative_to(package)) for one in package.rglob("*") if one.is_file()}
    modules = {f"client/{one.name}" for one in (npm.CLIENT / "client").iterdir()}
    assert held == modules | {"index.js", "index.d.ts", "package.json", "README.md", "LICENSE"}
    described = json.loads((package / "package.json").read_text())
    assert "dependencies" not in described
    assert f"./chatroom-client-{described['version']}.tgz" in (package / "README.md").read_text()
    assert node("--input-type=module", "--eval", CODE, cwd=folder) == [
        "ChatClient,ChatError,Disconnected,OutcomeUnknown"
    ]


def test_package_has_the_projects_license() -> None:
    """A copy, because npm packs no symbolic link."""
    assert (npm.CLIENT / "LICENSE").read_text() == (npm.CLIENT.parents[1] / "LICENSE").read_text()


def test_lock_file_names_no_registry() -> None:
    """Each developer's npm takes the packages from its own."""
    packages = json.loads((npm.CLIENT / "package-lock.json").read_text())["packages"]
    assert all("integrity" in one and "resolved" not in one for name, one in packages.items() if name)


def test_types_accept_the_readmes_bot_and_refuse_wrong_calls(folder: Path) -> None:
    """The installed package brings its types, and takes the WebSocket class of `ws`."""
    bot = folder / "bot.mjs"
    bot.write_text(npm_bot.source("localhost:8082"))
    right = npm.tsc(*OPTIONS, bot.name, cwd=folder)
    assert (right.returncode, right.stdout) == (0, "")
    wrong = ('chat.on("massage", () => {});', 'chat.send("room_001", 1);', "chat.nothing();")
    bot.write_text(npm_bot.source("localhost:8082") + "\n".join(wrong))
    faults = npm.tsc(*OPTIONS, bot.name, cwd=folder).stdout.splitlines()
    assert [fault.partition("error ")[2][:6] for fault in faults if fault.startswith(bot.name)] == [
        "TS2345", "TS2345", "TS2339",
    ]  # fmt: skip


async def test_a_first_handshake_that_is_refused_ends_the_client_with_status_and_url(folder: Path) -> None:
    """The class of `ws` tells the status, in the words that the client looks for."""
    async with scripted_server() as server:
        server.refusal = 404
        arguments = ("--input-type=module", "--eval", REFUSED, server.url)
        told = await asyncio.to_thread(lambda: node(*arguments, cwd=folder))
        assert told == [f"404 {server.url} refused the WebSocket handshake with HTTP status 404"]


async def test_readmes_bot_answers_under_node_also_after_a_refused_send_and_a_crash(
    folder: Path, guard: Guard, redis_url: str
) -> None:
    """Ten lines under Node 20 or later with the WebSocket class of `ws`."""
    [version] = node("--version", cwd=folder)
    assert int(version.removeprefix("v").partition(".")[0]) >= 20
    with CometProgram(guard, folder, redis_url) as comet:
        bot = folder / "bot.mjs"
        bot.write_text(npm_bot.source(f"127.0.0.1:{comet.port}"))
        assert len(bot.read_text().splitlines()) == 10
        async with npm_bot.alice(comet.url) as alice:
            with running(guard, bot):
                await alice.until_contents(npm_bot.ROOM, [npm_bot.GREETING])
                await npm_bot.repeats(alice, "hi")
                largest = "x" * comet_settings().max_content_bytes  # Comet refuses its repeat as too large
                await alice.send(npm_bot.ROOM, largest)
                await alice.until_contents(npm_bot.ROOM, [npm_bot.GREETING, "hi", "Alice said: hi", largest])
                await npm_bot.repeats(alice, "and now?")
                comet.kill()
                comet.start()
                async with npm_bot.alice(comet.url) as again:
                    await npm_bot.repeats(again, "still there?")
