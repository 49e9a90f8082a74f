"""The JavaScript client as an npm package."""

import asyncio
import shutil
from pathlib import Path

from tests.conformance.subjects import NODE

WEB = Path(__file__).parents[3] / "comet" / "web"


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
