"""Draws docs/terminal.svg, the picture of `chatroom chat` in the README: `python -m tests.support.terminal_picture`."""

import asyncio
import re
import tempfile
from pathlib import Path

from chatroom.terminal.app import ChatApp
from chatroom.up.guard import Guard
from chatroom_client import ChatClient
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.support.eventually import eventually

PICTURE = Path(__file__).parents[2] / "docs" / "terminal.svg"
ROOMS = ["room_001", "lobby", "releases"]
PEOPLE = ("alice", "bob", "carol")
TALK = (
    ("bob", "Morning! The new build is up on both nodes."),
    ("bob", "Can somebody look at the dashboard?"),
    ("carol", "Looking. Both paths are green, and the lag is back to 0."),
    ("alice", "Great, thanks! I am going to restart the first node, watch this."),
    ("carol", "Did you? I have not noticed anything."),
    ("alice", "Exactly."),
)


async def _draw(url: str) -> str:
    """Hold a conversation and return its picture."""
    alice = ChatClient(url, name="Alice", uid="alice")  # the app enters it
    async with ChatClient(url, name="Bob", uid="bob", rooms=ROOMS) as bob:
        async with ChatClient(url, name="Carol", uid="carol", rooms=ROOMS) as carol:
            app = ChatApp(alice, ROOMS)
            async with app.run_test(size=(104, 26)) as pilot:
                await eventually(lambda: all(log.more is not None for log in app.logs.values()))
                for who, words in TALK:
                    await {"alice": alice, "bob": bob, "carol": carol}[who].send(ROOMS[0], words)
                await bob.send("lobby", "Lunch?")
                await eventually(lambda: app.logs["lobby"].unread == 1 and len(app.log_shown.users) == len(PEOPLE))
                await pilot.pause()
                drawn = app.export_screenshot(title="chatroom chat")
            await alice.close()
    return drawn


def main() -> None:
    """Draw it. The fonts that the exported picture would fetch from elsewhere are left out."""
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        with RedisServer(guard, Path(folder)) as redis, CometProgram(guard, Path(folder), redis.url) as comet:
            drawn = asyncio.run(_draw(comet.url))
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    PICTURE.write_text(re.sub(r"<!--.*?-->\s*", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    main()
