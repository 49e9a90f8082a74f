"""A Logic that does as it is told: an aiohttp server that records what Comet forwards and answers as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from tests.support.ports import free_port

Sends = list[dict[str, Any]]
Answer = tuple[int, Any]


class LogicStandin:
    """`answer` gets a batch's sends and returns status and JSON; while `open` is not set nothing is answered at all."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.batches: list[Sends] = []  # as they came
        self.taken: list[dict[str, Any]] = []  # messages of the sends that were answered with success, in that order
        self.open = asyncio.Event()
        self.open.set()
        self.answer: Callable[[Sends], Answer] = all_well

    async def batch(self, request: web.Request) -> web.Response:
        """POST /logic/send/batch."""
        sends: Sends = orjson.loads(await request.read())["sends"]
        self.batches.append(sends)
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
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", logic.port).start()
    try:
        yield logic
    finally:
        await runner.cleanup()
