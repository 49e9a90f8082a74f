"""The sink of forwarded messages, `python -m bench.load.sink`: a Logic that accepts everything.

Comet forwards as in production and its outbox doesn't grow, but no Kafka and no Job use CPU. The sink writes its port
in a line of JSON.
"""

import asyncio
import sys

import orjson
from aiohttp import web

from bench.load.json_subprocess import say
from chatroom.up.ports import LOOPBACK

LARGEST_BYTES = 64_000_000


async def take(request: web.Request) -> web.Response:
    """POST /logic/send/batch: success for each send."""
    sends = orjson.loads(await request.read())["sends"]
    body = {"status": "success", "results": [{"status": "success"}] * len(sends)}
    return web.Response(body=orjson.dumps(body), content_type="application/json")


async def main() -> None:
    """Serve until stdin ends."""
    app = web.Application(client_max_size=LARGEST_BYTES)
    app.router.add_post("/logic/send/batch", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, 0)
    await site.start()
    say({"port": runner.addresses[0][1]})
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
