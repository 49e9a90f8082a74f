"""One node on a host whose only address beyond loopback is fd00::1; run in a network namespace of its own.

It prints as JSON what the node registered, what /readyz says, and that Job and a client reach it at that address.
"""

import asyncio
import json
import sys
import tempfile
import urllib.request
from pathlib import Path

from websockets.asyncio.client import connect

from chatroom.up.guard import Guard
from common import redis_client
from common.registry import Registry
from job.comet_client import CometClient
from protos.comet_pb2 import BroadcastRoomReq
from protos.protocol_pb2 import Proto
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.support.shards import SHARDS

ADDRESS = "fd00::1"


def main() -> None:
    """Start the servers, ask, and print the answers."""
    with Guard() as guard, tempfile.TemporaryDirectory() as folder, RedisServer(guard, Path(folder, "redis")) as redis:
        settings = {"COMET_HTTP_BIND_IP": sys.argv[1]}
        with CometProgram(guard, Path(folder, "comet"), redis.url, settings) as node:
            sys.stdout.write(json.dumps(asyncio.run(_ask(node, redis.url))))


async def _ask(node: CometProgram, redis_url: str) -> dict[str, object]:
    redis = redis_client.connect(redis_url)
    async with connect(f"ws://[{ADDRESS}]:{node.port}/?rooms=r", proxy=None) as client:
        await client.recv()  # hello, which it says only once it is registered
        [registered] = (await Registry(redis, SHARDS).nodes()).values()
        await redis.aclose()
        job = CometClient(registered.grpc)
        await job.broadcast_room(BroadcastRoomReq(room_id="r", proto=Proto(ver=1, op=4, body="pushed")), 10)
        await job.close()
        pushed = await client.recv()
    ready = await asyncio.to_thread(_ready, node.health_port)
    return {"grpc": registered.grpc, "port": node.grpc_port, "pushed": pushed, "ready": ready}


def _ready(port: int) -> object:
    with urllib.request.urlopen(f"http://[{ADDRESS}]:{port}/readyz", timeout=5) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
