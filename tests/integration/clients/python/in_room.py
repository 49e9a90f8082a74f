"""A Python client that is connected to a scripted server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chatroom_client import ChatClient
from tests.support.scripted_server import Peer, ScriptedServer

TIMEOUT_S = 10.0
QUICK: dict[str, Any] = {"uid": "u1", "reconnect_first_s": 0.01, "reconnect_cap_s": 0.02}


@asynccontextmanager
async def in_room(server: ScriptedServer, seq: int = 0, **more: Any) -> AsyncIterator[tuple[ChatClient, Peer]]:
    """Connect a client that is in room r, or in the rooms of `more`, at a seq."""
    options = {**QUICK, "rooms": ["r"], **more}
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
        chat = ChatClient(server.url, **options)
        entering = tasks.create_task(chat.__aenter__())
        peer = await server.accept()
        for _ in options["rooms"]:
            await peer.let_in(seq)
        await entering
        try:
            yield chat, peer
        finally:
            await chat.close()
