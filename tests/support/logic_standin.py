"""A Logic that does as it is told: an aiohttp server that records what Comet forwards and answers as the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from testbed.ports import free_port

Sends = list[dict[str, Any]]
Answer = tuple[int, Any]


class LogicStandin:
    """`answer` gets a batch's sends and returns status and JSON; while `open` is not set nothing is answered at all.

    Nodes that are told `url` and a name behind a slash are told apart: `names` and `coming` have it.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.batches: list[Sends] = []  # as they came
        self.names: list[str] = []  # whose they were; "" for a node without a name
        self.coming: Callable[[str, Sends], Awaitable[None]] = _nothing  # awaited first of all
        self.taken: list[dict[str, Any]] = []  # messages of the sends that were answered with success, in that order
        self.open = asyncio.Event()
        self.open.set()
        self.answer: Callable[[Sends], Answer] = all_well

    async def batch(self, request: web.Request) -> web.Response:
        """POST /logic/send/batch."""
        sends: Sends = orjson.loads(await request.read())["sends"]
        name = request.match_info.get("name", "")
        await self.coming(name, sends)
        self.batches.append(sends)
        self.names.append(name)
        await self.open.wait()
        status, body = self.answer(sends)
        if status == 200:
            for send, result in zip(sends, body["results"], strict=False):
                if result["status"] == "success":
                    self.taken += [{"room": send["roomId"], **message} for message in send["messages"]]
        return web.json_response(body, status=status)

    def contents(self, room: str) -> list[str]:
        """Return what was taken of a room, repeats left out."""
        seen = {message["seq"]: message["content"] for message in self.taken if message["room"] == room}
        return list(seen.values())

    def seqs(self, room: str) -> list[int]:
        """Return the seqs taken of a room, as they came."""
        return [message["seq"] for message in self.taken if message["room"] == room]


async def _nothing(_name: str, _sends: Sends) -> None:
    """Nothing to do."""


def all_well(sends: Sends) -> Answer:
    """Take everything."""
    return statuses(["success"] * len(sends))


def statuses(found: list[str], reason: str = "") -> Answer:
    """Answer with a status for each send."""
    return 200, {"status": "partial", "results": [{"status": one, "reason": reason} for one in found]}


@asynccontextmanager
async def serving(logic: LogicStandin) -> AsyncIterator[LogicStandin]:
    """Serve it while inside; it may be entered again."""
    app = web.Application(client_max_size=64_000_000)
    app.router.add_post("/logic/send/batch", logic.batch)
    app.router.add_post("/{name}/logic/send/batch", logic.batch)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", logic.port).start()
    try:
        yield logic
    finally:
        await runner.cleanup()
