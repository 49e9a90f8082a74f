"""A client in one room of a real node whose every frame is checked as it comes (tests/support/room_view.py)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from common.positions import Position
from tests.support.comet_node import CometNode
from tests.support.room_view import RoomView

TIMEOUT_S = 30.0


class RoomClient(RoomView):
    """Joins, sends, reads, and may come back through any node with what it knows."""

    def __init__(self, room: str, uid: str) -> None:
        super().__init__()
        self.room = room
        self.uid = uid
        self.acks: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.contents: list[str] = []  # of all messages, in the order in which they came
        self._connection: Any = None

    @asynccontextmanager
    async def on(self, node: CometNode) -> AsyncIterator["RoomClient"]:
        """Be connected to a node while inside, and in the room: from where it stands if it was in it before."""
        async with node.connection(uid=self.uid, rooms="") as self._connection:
            await self.join()
            yield self
        self.refused()

    async def join(self) -> None:
        """Join, from where it stands if it was in the room before, and wait for the answer."""
        await self.settle()
        since = self.position
        self.asks(since)
        at = None if since is None else {"epoch": since.epoch, "seq": since.seq}
        await self._say("joinRoom", {"roomId": self.room, "since": at})
        await self.until(lambda: not self.asked)

    async def send(self, *contents: str, ref: str | None = None) -> None:
        """Send messages in one frame; nothing is waited for."""
        payload = {"roomId": self.room, "messages": [{"content": content} for content in contents], "ref": ref}
        await self._say("clientMessages", payload)

    async def _say(self, kind: str, payload: dict[str, Any]) -> None:
        await self._connection.send(json.dumps({"type": kind, "payload": payload}))

    async def settle(self) -> None:
        """Take whatever was sent before now."""
        await self._say("ping", {})
        await self.until(lambda: None)

    async def until(self, true: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Take frames until it is true; if it never says (None), until a pong."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true():
                    frame = json.loads(await self._connection.recv())
                    if frame["type"] == "pong" and true() is None:
                        return
                    self._sort(frame)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {self.uid} stands at {self.position}") from None

    async def until_at(self, seq: int, timeout_s: float = TIMEOUT_S) -> None:
        """Take frames up to the message at a seq."""
        await self.until(lambda: self.position is not None and self.position.seq >= seq, timeout_s)

    def _sort(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "ack":
            ends = [(ack["epoch"], ack["messages"][-1]["seq"]) for ack in (*self.acks[-1:], frame["payload"])]
            assert ends == sorted(ends), f"acked positions ran backwards: {ends}"
            self.acks.append(frame["payload"])
        elif frame["type"] == "error":
            self.errors.append(frame["payload"])
        elif self.asked and frame["type"] == "serverMessages":
            return  # sent before the joinRoom came there, so it is in the answer again
        elif frame["payload"].get("roomId") == self.room and "messages" in frame["payload"]:
            self.take(frame)

    def saw(self, position: Position, message: dict[str, Any]) -> None:
        """Keep what it says."""
        super().saw(position, message)
        self.contents.append(message["content"])
