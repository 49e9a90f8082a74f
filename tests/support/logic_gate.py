"""A gate between Comet and Logic that counts what goes through, slows it down, and shuts when the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from testbed.ports import free_port

PATH = "/logic/send/batch"
BAD = "refuse me"  # a message with this content is refused for good


class LogicGate:
    """Comet is told `url`; what it posts goes on to `target`."""

    def __init__(self, pause_s: float) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.target = ""
        self.shut = False
        self.told: Counter[str] = Counter()  # messages, by what Comet was told of them: success or failed
        self.took: Counter[str] = Counter()  # what Logic answered: posts, and the sends in them by their status
        self._pause_s = pause_s
        self._http: aiohttp.ClientSession | None = None

    async def batch(self, request: web.Request) -> web.Response:
        """POST /logic/send/batch."""
        sends = orjson.loads(await request.read())["sends"]
        await asyncio.sleep(self._pause_s)
        if self.shut:
            self.told["failed"] += sum(len(send["messages"]) for send in sends)
            return web.json_response({"code": "unavailable"}, status=503)
        bad = [any(message["content"] == BAD for message in send["messages"]) for send in sends]
        passed = iter(await self._pass_on([send for send, is_bad in zip(sends, bad, strict=True) if not is_bad]))
        results = [{"status": "rejected", "reason": "the gate's"} if is_bad else next(passed) for is_bad in bad]
        for send, result in zip(sends, results, strict=True):
            outcome = "success" if result["status"] == "success" else "failed"
            self.told[outcome] += len(send["messages"])
        return web.json_response({"status": "partial", "results": results})

    async def _pass_on(self, sends: list[Any]) -> list[dict[str, str]]:
        if not sends:
            return []
        assert self._http is not None
        async with self._http.post(self.target + PATH, json={"sends": sends}) as answer:
            results: list[dict[str, str]] = (await answer.json())["results"]
        self.took.update(["posts", *(result["status"] for result in results)])
        return results

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while inside."""
        app = web.Application(client_max_size=64_000_000)
        app.router.add_post(PATH, self.batch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            async with aiohttp.ClientSession() as self._http:
                await web.TCPSite(runner, "127.0.0.1", self.port).start()
                yield
        finally:
            await runner.cleanup()
