"""A WebSocket server on loopback that says exactly what a test tells it to: for what a real Comet does too rarely."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

TIMEOUT_S = 10.0
ME = {"id": "u1", "username": "Alice"}


def message(seq: int, content: str = "") -> dict[str, Any]:
    """Return a message as frames carry it."""
    return {"id": f"1-{seq}", "seq": seq, "content": content or f"m{seq}", "timestamp": 1, "user": ME}


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        request = connection.request
        assert request is not None
        self.path = request.path
        self.authorization = request.headers.get("Authorization")

    async def say(self, kind: str, **payload: object) -> None:
        """Send a frame."""
        await self.connection.send(json.dumps({"type": kind, "payload": payload}))

    async def text(self, text: str) -> None:
        """Send any text."""
        await self.connection.send(text)

    async def hello(self, limits: dict[str, Any] | None = None) -> None:
        """Greet, with limits as a newer server does or without."""
        told = {} if limits is None else {"limits": limits}
        await self.say("hello", me=ME, node="n1", rooms=[], **told)

    async def expect(self, kind: str) -> dict[str, Any]:
        """Return the payload of the next frame, which is of this type."""
        async with asyncio.timeout(TIMEOUT_S):
            frame = json.loads(await self.connection.recv())
        assert frame["type"] == kind, frame
        payload: dict[str, Any] = frame["payload"]
        return payload

    async def let_in(self, seq: int = 0, epoch: int = 1, *messages: dict[str, Any]) -> dict[str, Any]:
        """Answer a joinRoom with a position and return what was asked."""
        asked = await self.expect("joinRoom")
        await self.joined(asked["roomId"], seq, epoch, *messages)
        return asked

    async def joined(
        self,
        room: str,
        seq: int = 0,
        epoch: int = 1,
        *messages: dict[str, Any],
        recovered: bool = True,
        tail: dict[str, int] | None = None,
    ) -> None:
        """Say that a room is joined. Without a `tail` the frame is that of an older server."""
        await self.say(
            "joined",
            roomId=room,
            epoch=epoch,
            seq=seq,
            recovered=recovered,
            messages=list(messages),
            onlineCount=1,
            **({} if tail is None else {"tail": tail}),
        )

    async def deliver(self, *seqs: int, epoch: int = 1, room: str = "r") -> None:
        """Send a room's messages."""
        await self.say("serverMessages", roomId=room, epoch=epoch, messages=[message(seq) for seq in seqs])

    async def ack(self, sent: dict[str, Any], seq: int = 1) -> None:
        """Acknowledge a clientMessages."""
        stored = [{"id": f"1-{seq}", "seq": seq, "timestamp": 1}]
        await self.say("ack", ref=sent["ref"], roomId=sent["roomId"], epoch=1, messages=stored)

    async def history(self, room: str, *seqs: int, more: bool) -> None:
        """Answer a requestRoomHistory."""
        messages = [message(seq) for seq in seqs]
        await self.say("roomHistory", roomId=room, epoch=1, messages=messages, hasMoreMessages=more)

    async def refuse(self, asked: dict[str, Any], code: str, **more: object) -> None:
        """Answer with an error."""
        await self.say("error", code=code, message=f"it is {code}", ref=asked["ref"], **more)

    async def close(self, code: int) -> None:
        """Close with a code."""
        await self.connection.close(code, "as scripted")

    def cut(self) -> None:
        """Abort the connection."""
        self.connection.transport.abort()

    async def quiet(self) -> None:
        """Check that the client has nothing more to say: a WebSocket ping's answer comes behind what it sent."""
        async with asyncio.timeout(TIMEOUT_S):
            await (await self.connection.ping())
        try:
            async with asyncio.timeout(0.01):
                raise AssertionError(f"came: {await self.connection.recv()!r}")
        except TimeoutError:
            return


class ScriptedServer:
    """Where connections come in."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Peer] = asyncio.Queue()
        self.total = 0
        self.url = ""
        self.refusal: int | None = None  # the HTTP status that answers each handshake

    async def accept(self, *, greet: bool = True, limits: dict[str, Any] | None = None) -> Peer:
        """Wait for the next connection, and greet it."""
        async with asyncio.timeout(TIMEOUT_S):
            peer = await self.came.get()
        if greet:
            await peer.hello(limits)
        return peer

    def refuse(self, connection: ServerConnection, _request: Request) -> Response | None:
        """Refuse a handshake, where a test says so, as a proxy does during a rollout."""
        if self.refusal is None:
            return None
        response = connection.respond(HTTPStatus(self.refusal), "refused as scripted\n")
        response.headers["Location"] = "https://127.0.0.1/elsewhere"  # where a redirect leads: to no WebSocket
        return response

    async def serve(self, connection: ServerConnection) -> None:
        """Hand a connection to the test and keep it until it is closed."""
        self.total += 1
        self.came.put_nowait(Peer(connection))
        await connection.wait_closed()


def port_of(server: Server) -> int:
    """Return the port that a server listens on."""
    sockets: Sequence[Any] = list(server.sockets)
    port: int = sockets[0].getsockname()[1]
    return port


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    """Run one while inside."""
    scripted = ScriptedServer()
    async with serve(scripted.serve, "127.0.0.1", 0, close_timeout=1, process_request=scripted.refuse) as server:
        scripted.url = f"ws://127.0.0.1:{port_of(server)}/"
        yield scripted
