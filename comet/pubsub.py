"""Hop 4 of 9: PubSub, the fast path between nodes; from Redis, to comet/hub.py.

Owns one connection that is subscribed to the channels of all rooms with a member on this node. PubSub is a hint: it
may lose, so whenever the connection was lost, everything is subscribed anew and, once Redis confirmed all of it, the
hub is told to check its rooms: what is published from then on is heard, what was before is in the streams.

A connection that says nothing is pinged; one that does not even answer is dropped. There is no queue here: what comes
is handed on in the same iteration of the loop. When Redis dies now: connects anew with jitter until it is back.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from comet import metrics
from common import logs
from common.backoff import Backoff
from common.envelope import Burst, parse_burst
from common.errors import Unavailable, reason_of
from common.health import Health
from common.redis_client import REDIS_FAULTS, TIMEOUT_S, RedisConnection, connection_of

PING_S: Final = 2.0
CONFIRM_S: Final = 1.0  # for Redis to confirm a subscription, which a join waits for
SILENT_S: Final = 6.0  # without even an answer to a ping: the connection is dead
FAIR_MESSAGES: Final = 256  # taken in a row before others get the loop
# A connection in subscribed mode answers pings as messages; this one keeps it there while no room is served.
CONTROL_CHANNEL: Final = "chat:nodes"

log = logs.get()


class PubSub:
    """The node's subscriptions."""

    def __init__(self, redis: Redis, channel_of: Callable[[str], str], health: Health) -> None:
        self._health = health  # without PubSub chat goes on by push, so its absence is a warning and no reason
        self._redis = redis  # only makes the connection
        self._channel_of = channel_of
        self._rooms: dict[bytes, str] = {}  # by channel
        self._confirming: dict[bytes, asyncio.Future[None]] = {}
        self._unconfirmed: set[bytes] = set()  # of the channels subscribed with a new connection
        self._when_up: Callable[[], None] = _nothing  # called when all of those are confirmed
        self._outgoing: list[tuple[str, str]] = []  # commands of this iteration, sent as one
        self._connection: RedisConnection | None = None
        self._wake = asyncio.Event()
        self._heard = 0.0

    async def subscribe(self, room_id: str) -> None:
        """Subscribe to a room's channel and return once Redis confirmed it. Raises Unavailable."""
        channel = self._channel_of(room_id)
        key = channel.encode()
        self._rooms[key] = room_id
        confirmed = self._confirming.get(key)
        if confirmed is None:
            confirmed = self._confirming[key] = asyncio.get_running_loop().create_future()
            self._send("SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(CONFIRM_S):
                await asyncio.shield(confirmed)
        except TimeoutError:
            raise Unavailable("Redis did not confirm a subscription; try again later") from None

    def unsubscribe(self, room_id: str) -> None:
        """Stop hearing a room."""
        channel = self._channel_of(room_id)
        if self._rooms.pop(channel.encode(), None) is not None:
            self._confirming.pop(channel.encode(), None)
            self._send("UNSUBSCRIBE", channel)

    async def run(self, on_burst: Callable[[str, Burst], None], on_back: Callable[[], None]) -> None:
        """Keep the connection up and hand on what it brings, forever; tell when it is back after it was lost."""
        backoff, lost = Backoff(), False
        while True:
            connection: RedisConnection | None = None
            try:
                async with asyncio.timeout(TIMEOUT_S * 2):
                    connection = self._connection = await connection_of(self._redis)
                    self._outgoing.clear()
                    channels = [CONTROL_CHANNEL.encode(), *self._rooms]
                    self._unconfirmed, self._when_up = set(channels), on_back if lost else _nothing
                    await _subscribe(connection, channels)
                await self._converse(connection, on_burst, backoff)
            except* REDIS_FAULTS as lost_by:
                metrics.PUBSUB_LOST.inc()
                self._health.warnings["pubsub"] = f"PubSub is away: {reason_of(lost_by)}"
                log.warning("The PubSub connection was lost", error=reason_of(lost_by))
            finally:
                self._connection = None
                if connection is not None:
                    await connection.disconnect(nowait=True)
            lost = True
            await backoff.wait()

    async def _converse(
        self, connection: RedisConnection, on_burst: Callable[[str, Burst], None], backoff: Backoff
    ) -> None:
        self._heard = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(connection))
            tasks.create_task(self._ping(connection))
            await self._read(connection, on_burst, backoff)

    async def _read(
        self, connection: RedisConnection, on_burst: Callable[[str, Burst], None], backoff: Backoff
    ) -> None:
        loop = asyncio.get_running_loop()
        in_a_row = 0
        while True:
            answers = await connection.read_answers()
            self._heard = loop.time()
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
                if answer[0] == b"message":
                    self._hand_on(answer[1], answer[2], on_burst)
                elif answer[0] == b"subscribe":
                    self._confirm(answer[1])
                    backoff.reset()
            in_a_row += len(answers)
            if in_a_row >= FAIR_MESSAGES:
                in_a_row = 0
                await asyncio.sleep(0)

    def _hand_on(self, channel: bytes, payload: bytes, on_burst: Callable[[str, Burst], None]) -> None:
        room_id = self._rooms.get(channel)
        if room_id is None:
            return
        try:
            on_burst(room_id, parse_burst(payload))
        except ValueError:
            metrics.FOREIGN_PUBLISHES.inc()
            log.warning("Something that is no message was published in a room", room=room_id, payload=payload[:80])

    def _confirm(self, channel: bytes) -> None:
        confirmed = self._confirming.pop(channel, None)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)
        if channel in self._unconfirmed:
            self._unconfirmed.discard(channel)
            if not self._unconfirmed:
                self._health.warnings.pop("pubsub", None)
                self._when_up()

    def _send(self, command: str, channel: str) -> None:
        if self._connection is not None:
            self._outgoing.append((command, channel))
            self._wake.set()

    async def _write(self, connection: RedisConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, self._outgoing = self._outgoing, []
            async with asyncio.timeout(TIMEOUT_S):
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _ping(self, connection: RedisConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            if loop.time() - self._heard > SILENT_S:
                raise TimeoutError(f"nothing heard for {SILENT_S:.0f} s")
            async with asyncio.timeout(TIMEOUT_S):
                await connection.send_command("PING", check_health=False)


async def _subscribe(connection: RedisConnection, channels: Iterable[bytes]) -> None:
    commands = [("SUBSCRIBE", channel) for channel in channels]
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)


def _nothing() -> None:
    """Stand in for a callback that nobody waits for."""
