"""PubSub over a connection that the test speaks for: what it subscribes to, hands on, and tells of a loss."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from comet import pubsub as module
from comet.pubsub import CONTROL_CHANNEL, PubSub
from common.backoff import Backoff
from common.envelope import Burst
from common.errors import Unavailable
from common.health import Health
from common.redis_client import RedisConnection
from tests.support.eventually import eventually
from tests.support.rooms import message


class FakeConnection:
    """One connection: notes commands, brings what the test says."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []
        self.closed = False
        self._answers: asyncio.Queue[list[Any] | Exception] = asyncio.Queue()

    def bring(self, *answers: Any) -> None:
        """Let answers come in one read."""
        self._answers.put_nowait(list(answers))

    def confirm(self, *channels: str) -> None:
        """Confirm subscriptions."""
        self.bring(*([b"subscribe", channel.encode(), 1] for channel in channels))

    def lose(self) -> None:
        """Lose the connection."""
        self._answers.put_nowait(RedisConnectionError("Redis closed the connection"))

    def pack_commands(self, commands: list[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
        """As redis-py's, but for the packing."""
        return commands

    async def send_packed_command(self, commands: list[tuple[str, str | bytes]], **_how: object) -> None:
        """Note them."""
        decoded = ((name, one.decode() if isinstance(one, bytes) else one) for name, one in commands)
        self.commands += decoded

    async def send_command(self, *_command: str, **_how: object) -> None:
        """Send a ping, which nobody answers."""

    async def read_answers(self) -> list[Any]:
        """Return what the test brings."""
        answers = await self._answers.get()
        if isinstance(answers, Exception):
            raise answers
        return answers

    async def disconnect(self, **_how: object) -> None:
        """Note it."""
        self.closed = True


class Rig:
    """A node's PubSub."""

    def __init__(self) -> None:
        self.health = Health()
        self.connections: list[FakeConnection] = []
        self.bursts: list[tuple[str, int, int]] = []  # room, first seq, count
        self.back = 0
        self.pubsub = PubSub(cast("Redis", None), lambda room: f"channel of {room}", self.health)

    async def connect(self, _redis: Redis) -> RedisConnection:
        """As connection_of."""
        self.connections.append(FakeConnection())
        return cast("RedisConnection", self.connections[-1])

    def on_burst(self, room: str, burst: Burst) -> None:
        """Note it."""
        self.bursts.append((room, burst.first_seq, burst.count))

    def on_back(self) -> None:
        """Count it."""
        self.back += 1

    async def subscribed(self, room: str) -> None:
        """Subscribe to a room and confirm it."""
        task = asyncio.create_task(self.pubsub.subscribe(room))
        await eventually(lambda: ("SUBSCRIBE", f"channel of {room}") in self.connections[-1].commands)
        assert not task.done()
        self.connections[-1].confirm(f"channel of {room}")
        await task


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Run one while inside, whose retries come at once."""
    rig = Rig()
    monkeypatch.setattr(module, "connection_of", rig.connect)
    monkeypatch.setattr(module, "Backoff", lambda: Backoff(0.001, 0.001))
    task = asyncio.create_task(rig.pubsub.run(rig.on_burst, rig.on_back))
    try:
        await eventually(lambda: rig.connections and rig.connections[0].commands)
        rig.connections[0].confirm(CONTROL_CHANNEL)
        yield rig
    finally:
        task.cancel()
        await asyncio.wait([task])


def a_burst(*seqs: int) -> bytes:
    """Return what append.lua publishes."""
    return b"1 %d %d\n" % (seqs[0], len(seqs)) + b",".join(map(message, seqs))


async def test_what_is_published_in_a_subscribed_room_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of a room that was left meanwhile is not, nor what is no burst."""
    async with running(monkeypatch) as rig:
        await rig.subscribed("a")
        await rig.subscribed("b")
        rig.pubsub.unsubscribe("b")
        one = rig.connections[0]
        one.bring([b"message", b"channel of a", a_burst(1, 2)], [b"message", b"channel of b", a_burst(1)])
        one.bring([b"message", b"channel of a", b"nonsense"], [b"message", b"channel of a", a_burst(3)])
        await eventually(lambda: len(rig.bursts) == 2)
        assert rig.bursts == [("a", 1, 2), ("a", 3, 1)]
        await eventually(lambda: one.commands[-1] == ("UNSUBSCRIBE", "channel of b"))


async def test_after_a_loss_all_rooms_are_subscribed_again_and_then_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published meanwhile is missing. The check waits until all subscriptions are confirmed."""
    async with running(monkeypatch) as rig:
        await rig.subscribed("a")
        await rig.subscribed("b")
        assert (rig.back, rig.health.warnings) == (0, {})
        rig.connections[0].lose()
        await eventually(lambda: len(rig.connections) == 2 and rig.connections[1].commands)
        again = rig.connections[1]
        assert rig.connections[0].closed
        channels = [CONTROL_CHANNEL, "channel of a", "channel of b"]
        assert again.commands == [("SUBSCRIBE", channel) for channel in channels]
        assert "PubSub is away" in rig.health.warnings["pubsub"]
        again.confirm(*channels[:2])
        again.bring([b"message", b"channel of a", a_burst(9)])
        await eventually(lambda: rig.bursts)
        assert rig.back == 0
        again.confirm(channels[2])
        await eventually(lambda: rig.back == 1)
        assert rig.health.warnings == {}


async def test_a_subscription_that_is_not_confirmed_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks does not wait for ever; two who ask at once share one command."""
    monkeypatch.setattr(module, "CONFIRM_S", 0.01)
    async with running(monkeypatch) as rig:
        found = await asyncio.gather(*(rig.pubsub.subscribe("a") for _ in range(2)), return_exceptions=True)
        assert [type(one) for one in found] == [Unavailable] * 2
        assert rig.connections[0].commands.count(("SUBSCRIBE", "channel of a")) == 1


async def test_a_connection_on_which_nothing_is_heard_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open one would never end by itself."""
    monkeypatch.setattr(module, "PING_S", 0.01)
    monkeypatch.setattr(module, "SILENT_S", 0.02)
    async with running(monkeypatch) as rig:
        await eventually(lambda: len(rig.connections) > 1)
        assert rig.connections[0].closed
