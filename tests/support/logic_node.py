"""A Logic in the test's own process, on a real Redis and Kafka, and the sends that its tests give it."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from common.lifecycle import StopRequest
from logic import app
from logic.config import LogicSettings
from testbed.kafka_server import KafkaServer
from testbed.service import local_settings, shared_settings
from tests.support.eventually import eventually

WAIT_S = 20.0


@dataclass(slots=True)
class Answer:
    """An HTTP answer that was read."""

    status: int
    headers: Mapping[str, str]
    json: Any


class Logic:
    """A running Logic, as its clients see it."""

    def __init__(self, settings: LogicSettings, stop: StopRequest, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.stop = stop
        self.session = session

    async def get(self, path: str, **options: Any) -> Answer:
        """GET a path."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: object, **options: Any) -> Answer:
        """POST JSON, or bytes as they are."""
        sent = io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
        return await self.call("POST", path, data=sent, **options)

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Ask, and read the answer."""
        async with self.session.request(method, path, **options) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, answer.headers, await (answer.json() if is_json else answer.text()))

    async def ready(self) -> None:
        """Wait until it is ready."""
        await eventually(self._is_ready, "Logic is ready", WAIT_S)

    async def unready(self, name: str) -> str:
        """Wait until it is not, for the sake of `name`; return the reason."""
        reason = ""

        async def has_reason() -> bool:
            nonlocal reason
            reason = (await self.get("/readyz")).json["reasons"].get(name, "")
            return bool(reason)

        await eventually(has_reason, f"Logic is not ready because of {name}", WAIT_S)
        return reason

    async def _is_ready(self) -> bool:
        return (await self.get("/readyz")).status == 200


def settings_of(kafka: KafkaServer, topic: str, redis_url: str, **changes: str) -> LogicSettings:
    """Return the settings that suit the servers; `changes` by the names in the environment."""
    return LogicSettings.load(
        [],
        {
            **kafka.settings,
            **local_settings("logic"),
            **shared_settings(redis_url, kafka.brokers, topic),
            "CHAT_KAFKA_LINGER_MS": "0",
            "LOGIC_CHECK_SECONDS": "0.1",
            **changes,
        },
    )


@asynccontextmanager
async def running(settings: LogicSettings, *, ready: bool = True) -> AsyncIterator[Logic]:
    """Run Logic while inside; on the way out it drains."""
    stop = StopRequest()
    base = f"http://127.0.0.1:{settings.http_bind_port}"
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession(base) as session:
        serving = group.create_task(app.serve(settings, stop))
        logic = Logic(settings, stop, session)
        await eventually(lambda: _listens(logic), "Logic listens", WAIT_S)
        if ready:
            await logic.ready()
        try:
            yield logic
        finally:
            if not stop.made:
                stop.make("the test ends")
            async with asyncio.timeout(WAIT_S):
                await serving


async def _listens(logic: Logic) -> bool:
    try:
        return (await logic.get("/healthz")).status == 200
    except aiohttp.ClientConnectionError:
        return False


def comet_send(room: str, seq: int, count: int = 1, **changes: object) -> dict[str, Any]:
    """Return a send as Comet's forwarder makes it."""
    messages = [
        {
            "id": f"{1_700_000_000_000 + one}-0",
            "seq": one,
            "epoch": 1_700_000_000_000,
            "timestamp": 1_700_000_000_000 + one,
            "content": f"message {one}",
        }
        for one in range(seq, seq + count)
    ]
    return {"roomId": room, "userId": "1001", "userName": "Alice", "ref": f"r{seq}", "messages": messages, **changes}


def backend_send(room: str, *contents: str, **changes: object) -> dict[str, Any]:
    """Return a send as Comet forwards it."""
    messages = [{"content": content} for content in contents]
    return {"roomId": room, "userId": 1001, "userName": "Alice", "messages": messages, **changes}
