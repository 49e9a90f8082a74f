"""A WebSocket client that knows no more than the README tells, and reads only while a test waits for something.

It takes one text at a time and keeps them all, so a test sees the state after each frame. For many clients, and for
those that stop reading, take testbed/raw_client.py.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

TIMEOUT_S = 15.0


class PlainClient:
    """One connection and every text it was sent so far."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.texts: list[str] = []

    async def send(self, room: str, content: str, **more: object) -> None:
        """Send the README's frame."""
        payload = {"content": content, "roomId": room, **more}
        await self.send_frame("clientMessages", payload)

    async def send_frame(self, kind: str, payload: dict[str, Any]) -> None:
        """Send any frame."""
        await self._connection.send(json.dumps({"type": kind, "payload": payload}))

    def messages(self, room: str) -> list[dict[str, Any]]:
        """Return the messages of a room that came as serverMessages, oldest first."""
        return [
            message
            for frame in self.frames("serverMessages")
            if frame["roomId"] == room
            for message in frame["messages"]
        ]

    def frames(self, kind: str) -> list[dict[str, Any]]:
        """Return the payloads of all frames of one type that came."""
        parsed = [json.loads(text) for text in self.texts if text.startswith("{")]
        return [frame["payload"] for frame in parsed if frame.get("type") == kind]

    async def until(self, true: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Read until it is true; the assertion shows what came instead."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true():
                    self.texts.append(str(await self._connection.recv()))
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; came: {self.texts[-20:]}") from None

    async def until_contents(self, room: str, contents: list[str], timeout_s: float = TIMEOUT_S) -> None:
        """Read until the room brought these contents, in this order."""
        await self.until(lambda: [one["content"] for one in self.messages(room)] == contents, timeout_s)

    async def answer(self, kind: str, payload: dict[str, Any], answer: str) -> dict[str, Any]:
        """Send a frame and return the payload of the next frame of the answer's type."""
        before = len(self.frames(answer))
        await self.send_frame(kind, payload)
        await self.until(lambda: len(self.frames(answer)) > before)
        return self.frames(answer)[before]

    async def settle(self) -> None:
        """Read whatever was sent before now: a ping's answer comes behind it."""
        await self.answer("ping", {}, "pong")


@asynccontextmanager
async def plain_client(url: str) -> AsyncIterator[PlainClient]:
    """Connect and wait for the hello."""
    async with connect(url, open_timeout=TIMEOUT_S) as connection:
        client = PlainClient(connection)
        await client.until(lambda: client.frames("hello"))
        yield client
