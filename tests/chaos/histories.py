"""The rooms' histories when all is over, as a client of Comet pages through them; Redis must agree with each page."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from common import keys, redis_client
from common.backoff import Backoff
from common.shards import Shards, stored
from tests.chaos.evidence import Evidence, Stored

PAGE: Final = 100  # Comet gives no more at once
STREAM_PAGE: Final = 1000
ANSWER_TIMEOUT_S: Final = 15.0
TRIES: Final = 10
RETRIABLE: Final = frozenset(("unavailable", "overloaded", "rate_limited"))


async def read_history(redis_port: int, ws_url: str, rooms: Sequence[str], run: Evidence) -> None:
    """Note what each room's history shows, and the outbox's dead letters. Raises OSError, TimeoutError, RedisError.

    `ws_url` is a Comet's, `ws://host:port/`. A frame does not tell each message's own epoch, so that is Redis's word;
    where Redis has other messages than the client was shown, that is noted as unexpected.
    """
    redis = redis_client.connect(f"redis://127.0.0.1:{redis_port}/0")
    try:
        shards = Shards(await stored(redis))
        async with connect(f"{ws_url}?rooms=", max_size=None, open_timeout=ANSWER_TIMEOUT_S) as client:
            for room in rooms:
                shown = await _shown(client, room)
                logged = await _logged(redis, keys.room_keys(shards.of(room), room).stream)
                run.stored[room] = [
                    Stored(one["seq"], logged.get(one["id"], (0, 0))[1], one["id"], one["content"]) for one in shown
                ]
                _compare(room, run, logged)
        for shard in range(shards.count):
            run.dead_letters += await redis.xlen(keys.outbox_dead(shard))
    finally:
        await redis.aclose()


def _compare(room: str, run: Evidence, logged: dict[str, tuple[int, int]]) -> None:
    """Compare what was shown with the log: id to (seq, epoch)."""
    shown = {one.id: (one.seq, one.epoch) for one in run.stored[room]}
    if shown != logged or len(run.stored[room]) != len(logged):
        strange = list(islice(shown.items() ^ logged.items(), 5))
        run.unexpected.append(
            f"the history of {room} shows {len(run.stored[room])} messages, Redis has {len(logged)}; such as {strange}"
        )


async def _shown(client: ClientConnection, room: str) -> list[dict[str, Any]]:
    """Page through a room's history, newest page first; return it oldest first."""
    pages: list[list[dict[str, Any]]] = []
    more, wanted = True, {"roomId": room, "limit": PAGE}
    while more:
        page = await _page(client, wanted)
        pages.append(page["messages"])
        more = page["hasMoreMessages"] and bool(page["messages"])
        if more:
            wanted = {**wanted, "firstMessageId": page["messages"][0]["id"]}
    return [one for page in reversed(pages) for one in page]


async def _page(client: ClientConnection, wanted: dict[str, Any]) -> dict[str, Any]:
    backoff = Backoff(0.1, 1.0)
    for _ in range(TRIES):
        await client.send(orjson.dumps({"type": "requestRoomHistory", "payload": wanted}).decode())
        frame = await _answer(client)
        if frame["type"] == "roomHistory":
            payload: dict[str, Any] = frame["payload"]
            return payload
        await backoff.wait()
    raise TimeoutError(f"no history of {wanted} after {TRIES} tries")


async def _answer(client: ClientConnection) -> dict[str, Any]:
    """Return the next page, or the error in its place. What isn't about it (hello, a broadcast) is passed over."""
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while True:
            text = str(await client.recv())
            frame = orjson.loads(text) if text.startswith("{") else {}
            if frame.get("type") == "roomHistory":
                return dict(frame)
            if frame.get("type") == "error":
                if frame["payload"]["code"] not in RETRIABLE:
                    raise AssertionError(f"history is refused: {frame}")
                return dict(frame)


async def _logged(redis: Redis, stream: str) -> dict[str, tuple[int, int]]:
    """Return the stream's ids, each with its seq and epoch."""
    found: dict[str, tuple[int, int]] = {}
    after = "-"
    while True:
        entries: Any = await redis.xrange(stream, after, "+", STREAM_PAGE)
        for entry_id, fields in entries:
            found[entry_id.decode()] = (int(fields[b"seq"]), int(fields[b"epoch"]))
        if len(entries) < STREAM_PAGE:
            return found
        after = f"({entries[-1][0].decode()}"
