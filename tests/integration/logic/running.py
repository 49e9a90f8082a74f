"""A Logic inside the test's own loop, everything behind it real; and what Kafka has of it."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from common.lifecycle import StopRequest
from logic import app
from logic.config import LogicSettings
from protos.job_pb2 import PushMsg
from testbed.kafka_server import PARTITIONS, KafkaServer
from testbed.ports import free_port

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
        await until(self._is_ready)

    async def unready(self, name: str) -> str:
        """Wait until it is not, for the sake of `name`; return the reason."""
        reason = ""

        async def has_reason() -> bool:
            nonlocal reason
            reason = (await self.get("/readyz")).json["reasons"].get(name, "")
            return bool(reason)

        await until(has_reason)
        return reason

    async def _is_ready(self) -> bool:
        return (await self.get("/readyz")).status == 200


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is true; raise TimeoutError if that takes too long."""
    async with asyncio.timeout(WAIT_S):
        while not await true():
            await asyncio.sleep(0.02)


def settings_of(kafka: KafkaServer, topic: str, redis_url: str, **changes: str) -> LogicSettings:
    """Return the settings that suit the servers; `changes` by the names in the environment."""
    return LogicSettings.load(
        [],
        {
            **kafka.settings,
            "CHAT_KAFKA_BROKERS": kafka.brokers,
            "CHAT_KAFKA_TOPIC": topic,
            "CHAT_KAFKA_LINGER_MS": "0",
            "CHAT_REDIS_URL": redis_url,
            "LOGIC_HTTP_BIND_IP": "127.0.0.1",
            "LOGIC_HTTP_BIND_PORT": str(free_port()),
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
        await until(lambda: _listens(logic))
        if ready:
            await logic.ready()
        try:
            yield logic
        finally:
            if not stop.made:
                stop.make("the test ends")
            await serving


async def _listens(logic: Logic) -> bool:
    try:
        return (await logic.get("/healthz")).status == 200
    except aiohttp.ClientConnectionError:
        return False


class Topic:
    """What a topic holds, from its beginning on."""

    def __init__(self, kafka: KafkaServer, topic: str) -> None:
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.brokers, fetch_max_wait_ms=50, auto_offset_reset="earliest"
        )
        self.found: list[Any] = []  # aiokafka's ConsumerRecords

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def records(self, count: int) -> list[Any]:
        """Wait until there are so many records; return all there are."""
        async with asyncio.timeout(WAIT_S):
            while len(self.found) < count:
                for batch in (await self._consumer.getmany(timeout_ms=100)).values():
                    self.found += batch
        return self.found

    async def messages(self, count: int) -> list[PushMsg]:
        """Wait until there are so many records; return all there are, decoded."""
        return [PushMsg.FromString(record.value) for record in await self.records(count)]


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
