"""Each mutant breaks the very behaviour that it is named for, so that a hunt that catches it has caught that.

What a test patches is undone behind it. Most do the same to sound services too, where what is promised holds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from comet import leases as leases_module
from comet.forwarder import Forwarder
from comet.join import Join
from comet.leases import Leases
from common import outbox as outbox_module
from common.append_script import Appended, StoreLimits
from common.envelope import User
from common.health import Health
from common.outbox import Outbox
from common.positions import Position
from common.registry import Registry
from common.shards import Shards
from common.store import Store
from job.partitions import Partitions
from tests.chaos import mutants
from tests.chaos.hunt import HUNTS
from tests.support.comet_settings import comet_settings
from tests.support.eventually import eventually
from tests.support.fake_log import Node, running
from tests.support.fake_outbox import FakeLeases, FakeNodes, FakeOutbox, waiting
from tests.support.rooms import Recorder

Mutate = Callable[[str], None]
ALICE = User("alice", "Alice")
SINCE = Position(1, 1)


@pytest.fixture
def mutate(monkeypatch: pytest.MonkeyPatch) -> Mutate:
    """Switch a mutant on until the test ends."""

    def swap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(owner, name, make(getattr(owner, name)))

    monkeypatch.setattr(mutants, "_swap", swap)
    return lambda name: mutants.MUTANTS[name]()


def test_every_mutant_is_hunted() -> None:
    """And every hunt has its mutant."""
    assert sorted(hunt.mutant for hunt in HUNTS) == sorted(mutants.MUTANTS)


# -- Job -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", [False, True])
async def test_commit_before_push_commits_above_what_is_finished(mutate: Mutate, *, mutant: bool) -> None:
    """Of two records in flight the sound Job commits none, the mutant both."""
    if mutant:
        mutate("commit_before_push")
    committed: list[dict[int, int]] = []

    async def commit(offsets: dict[int, int]) -> None:
        committed.append(offsets)

    partitions = Partitions(lambda: None)
    partitions[0].add(5, 0, 10)
    partitions[0].add(6, 0, 10)
    await partitions.commit(commit)
    assert committed == ([{0: 7}] if mutant else [])


# -- appends -------------------------------------------------------------------------------------------------------


class FakeRedis:
    """Redis, as far as the store appends to it: one room of epoch 4."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[list[Any]] = []  # the arguments of each append that was carried out
        self.published: list[tuple[str, bytes]] = []

    def register_script(self, _text: str) -> None:
        """As Redis.register_script, for reads."""

    @property
    def connection_pool(self) -> "FakeRedis":
        """As Redis.connection_pool, which makes connections."""
        return self

    def make_connection(self) -> "_Connection":
        """As ConnectionPool.make_connection."""
        return _Connection(self)

    async def publish(self, channel: str, message: bytes) -> None:
        """As Redis.publish."""
        self.published.append((channel, message))


class _Connection:
    def __init__(self, redis: FakeRedis) -> None:
        self._redis = redis
        self._answers: list[Any] = []

    async def connect(self) -> None:
        if self._redis.away:
            raise RedisConnectionError("away")

    async def write_commands(self, commands: list[tuple[Any, ...]]) -> None:
        await self.connect()
        first = len(self._redis.asked) + 1
        self._redis.asked += [arguments for _eval, _script, _keys, *arguments in commands]
        ms = 1_700_000_000_000
        self._answers = [[0, f"4 {seq} {ms}-{seq}".encode(), 1] for seq in range(first, first + len(commands))]

    async def read_answers(self, least: int) -> list[Any]:
        await asyncio.sleep(0)
        assert len(self._answers) == least
        return self._answers

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait


@asynccontextmanager
async def appending(redis: FakeRedis) -> AsyncIterator[Store]:
    """Run a store over this Redis."""
    store = Store(cast("Redis", redis), Shards(4), StoreLimits())
    task = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def append(store: Store, text: str, ref: str | None = None) -> Appended:
    """Append a message to the room."""
    async with asyncio.timeout(5):
        return await store.append("r", ALICE, [text], ref)


async def test_ack_before_append_acks_a_likely_place_and_stores_nothing(mutate: Mutate) -> None:
    """Only where Redis is away: else its answer is given."""
    mutate("ack_before_append")
    redis = FakeRedis()
    async with appending(redis) as store:
        assert await append(store, "stored") == Appended(4, 1, ["1700000000000-1"])
        redis.away = True
        acked = [await append(store, "lost"), await append(store, "lost too")]
    assert [(one.epoch, one.first_seq) for one in acked] == [(4, 2), (4, 3)]
    assert all(abs(int(one.ids[0].partition("-")[0]) / 1000 - time.time()) < 60 for one in acked)
    assert len(redis.asked) == 1


async def test_a_sound_store_acks_nothing_while_redis_is_away() -> None:
    """It asks again until Redis answers."""
    redis = FakeRedis()
    redis.away = True
    async with appending(redis) as store:
        answer = store.append("r", ALICE, ["patient"])
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        redis.away = False
        assert await answer == Appended(4, 1, ["1700000000000-1"])


async def test_publish_outside_the_script_publishes_when_the_ack_is_out(mutate: Mutate) -> None:
    """The script does not publish any more; what is published later is what it would have been."""
    mutate("publish_outside_the_script")
    redis = FakeRedis()
    async with appending(redis) as store:
        assert "'PUBLISH'" not in store._lane._script.text  # noqa: SLF001 - what Redis is asked is nowhere else
        await append(store, "hello")
        assert not redis.published
        await eventually(lambda: redis.published)
    [(channel, message)] = redis.published
    assert channel == store.keys_of("r").channel
    assert message.startswith(b'4 1 1\n{"id":"1700000000000-1","seq":1,"timestamp":1700000000000,"content":"hello"')


@pytest.mark.parametrize("mutant", [False, True])
async def test_ref_forgotten_looks_for_no_ref_twice(mutate: Mutate, *, mutant: bool) -> None:
    """What is sent again is looked for under the same key, by the mutant under another."""
    if mutant:
        mutate("ref_forgotten")
    redis = FakeRedis()
    async with appending(redis) as store:
        await append(store, "once", "ref-1")
        await append(store, "once", "ref-1")
    ref_keys = {arguments[4] for arguments in redis.asked}
    assert len(ref_keys) == (2 if mutant else 1)


# -- forwarding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", [False, True])
async def test_outbox_entry_dropped_removes_what_logic_did_not_take(mutate: Mutate, *, mutant: bool) -> None:
    """What failed stays in the outbox, but for the mutant."""
    if mutant:
        mutate("outbox_entry_dropped")
    outbox = FakeOutbox()
    outbox.holders[1] = "node-1"
    outbox.entries.append(waiting(1))
    forwarder = Forwarder(cast("Outbox", outbox), cast("Leases", FakeLeases(1)), "http://logic/", 1.0, Health())
    await forwarder._settle(list(outbox.entries), [("failed", "away")])  # noqa: SLF001 - without an HTTP session
    assert len(outbox.entries) == (0 if mutant else 1)


@pytest.mark.parametrize("mutant", [False, True])
async def test_stale_forwarder_goes_on_when_its_leases_ran_out(
    mutate: Mutate, monkeypatch: pytest.MonkeyPatch, *, mutant: bool
) -> None:
    """And Redis lets it remove what is another's."""
    if mutant:
        mutate("stale_forwarder")
    leases = Leases(cast("Outbox", FakeOutbox()), cast("Registry", FakeNodes(1)), Shards(4))
    await leases._balance()  # noqa: SLF001 - one round, and none after it
    assert sorted(leases.held()) == [0, 1, 2, 3]
    later = time.monotonic() + 60
    monkeypatch.setattr(leases_module, "time", SimpleNamespace(monotonic=lambda: later))
    held = leases.held()
    assert held == ([0, 1, 2, 3] if mutant else [])
    assert ("return -1" in outbox_module._REMOVE) != mutant  # noqa: SLF001 - the fence itself


# -- rooms ---------------------------------------------------------------------------------------------------------


def join(node: Node, session: Recorder) -> Join:
    """Return a session's way into the room."""
    return Join(node.hub, node.presences, session, "room_1", comet_settings(join_messages=5))


@pytest.mark.parametrize("mutant", [False, True])
async def test_hole_not_read_leaves_a_room_waiting(mutate: Mutate, *, mutant: bool) -> None:
    """What PubSub did not bring is read from the stream, but not by the mutant."""
    if mutant:
        mutate("hole_not_read")
    session = Recorder()
    async with running(Node()) as node:
        await join(node, session).fresh()
        node.store.append(2)  # which no path brings
        node.bring(node.store.append())
        await node.settle()
    assert session.seqs == ([] if mutant else [1, 2, 3])


@pytest.mark.parametrize("mutant", [False, True])
async def test_joins_not_held_back_mixes_what_comes_with_what_was_missed(mutate: Mutate, *, mutant: bool) -> None:
    """A message that races with the join comes behind what was missed; with the mutant before it, and again."""
    if mutant:
        mutate("joins_not_held_back")
    first, session, node = Recorder("first"), Recorder(), Node(history=2)

    def race() -> None:
        node.store.on_read = lambda: None
        node.bring(node.store.append())

    async with running(node):
        node.store.append(5)  # of which the room holds two
        await join(node, first).fresh()
        node.store.on_read = race
        await join(node, session).resume(SINCE)
        await node.settle()
    kinds = [frame["type"] for frame in session.frames]
    assert kinds[0] == ("serverMessages" if mutant else "joined")
    assert session.seqs == ([6, 2, 3, 4, 5, 6] if mutant else [2, 3, 4, 5, 6])
