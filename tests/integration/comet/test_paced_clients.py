"""Our clients against a Comet with limits: however much a program sends at once, no client is closed for it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import pytest

from tests.conformance import subjects
from tests.conformance.scenario import Subject
from tests.support.comet_node import CometNode, running
from tests.support.metrics import asample

pytestmark = pytest.mark.asyncio(loop_scope="package")

SENDS: Final = 10_000
RATE: Final = {"rate_messages_per_second": 2000, "rate_burst_messages": 400}
ROOM: Final = "r"

Client = Callable[[], AbstractAsyncContextManager[Subject]]


@asynccontextmanager
async def javascript() -> AsyncIterator[Subject]:
    """Have a JavaScript client in a Node of its own while inside."""
    async with subjects.node() as node, node.client() as subject:
        yield subject


async def send_at_once(client: Subject, count: int) -> list[dict[str, Any]]:
    """Send m0, m1 and so on without waiting, and return their acks."""
    sending = (client.ask("send", room=ROOM, content=f"m{i}", ref=None) for i in range(count))
    return list(await asyncio.gather(*sending))


async def count(node: CometNode, metric: str, code: str) -> float:
    """Return how often a node has counted something."""
    return await asample(node.metrics_url, metric, code=code)


async def stored(node: CometNode) -> list[str]:
    """Return the contents of a room, oldest first, page by page."""
    contents: list[str] = []
    async with subjects.python() as reader:
        await reader.enter(node.url(), {"rooms": []})
        before: str | None = None
        while True:
            page = await reader.ask("history", room=ROOM, before=before, limit=None)
            contents[:0] = [one["content"] for one in page["messages"]]
            if not page["hasMore"]:
                return contents
            before = page["messages"][0]["id"]


@pytest.mark.parametrize("client", [subjects.python, javascript], ids=["python", "javascript"])
async def test_ten_thousand_sends_at_once_are_each_stored_and_acked_once(redis_url: str, client: Client) -> None:
    """The client stays within the limits that `hello` told, so that hardly any is refused."""
    async with running(redis_url, **RATE) as node, client() as subject:
        refused = await count(node, "comet_errors_total", "rate_limited")
        await subject.enter(node.url(), {"uid": "u1", "rooms": [ROOM]})
        acks = await send_at_once(subject, SENDS)
        assert sorted(ack["seq"] for ack in acks) == list(range(1, SENDS + 1))
        assert Counter(await stored(node)) == Counter(f"m{i}" for i in range(SENDS))
        assert await count(node, "comet_errors_total", "rate_limited") < refused + SENDS / 10


@pytest.mark.parametrize("client", [subjects.python, javascript], ids=["python", "javascript"])
async def test_client_that_is_refused_obeys_and_is_not_closed(
    redis_url: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even by a server without patience for long, as an older one tells no limits."""
    monkeypatch.setattr("comet.limits.as_json", lambda _settings: b"null")
    slow = {"rate_messages_per_second": 200, "rate_burst_messages": 20, "rate_patience_seconds": 1.5}
    async with running(redis_url, **slow) as node, client() as subject:
        closed, refused = (
            await count(node, "comet_closed_total", "4002"),
            await count(node, "comet_errors_total", "rate_limited"),
        )
        await subject.enter(node.url(), {"uid": "u1", "rooms": [ROOM]})
        acks = await send_at_once(subject, 100)
        assert sorted(ack["seq"] for ack in acks) == list(range(1, 101))
        assert await count(node, "comet_errors_total", "rate_limited") > refused
        assert await count(node, "comet_closed_total", "4002") == closed
