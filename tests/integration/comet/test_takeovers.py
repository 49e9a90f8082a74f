"""Who forwards a shard: its lease's holder and nobody else, whatever was stopped, killed, drained or joined meanwhile.

The nodes that are stopped or killed are processes of their own. What is forwarded is seen at Logic's end, what is
removed in Redis.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from chatroom.up.guard import Guard
from common import keys, redis_client
from common.envelope import User
from common.store import Store
from protos.job_pb2 import PushMsg
from testbed.kafka_server import KafkaServer
from testbed.service import CometProgram, ServiceProgram, shared_settings
from tests.support.comet_node import CometNode, running
from tests.support.eventually import eventually
from tests.support.frozen import freeze
from tests.support.kafka_reader import push_msgs
from tests.support.logic_standin import LogicStandin, Sends, serving, statuses
from tests.support.metrics import asample
from tests.support.open_store import open_store
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOMS = [f"room-{number}" for number in range(40)]
LEASES = [keys.lease(shard) for shard in range(SHARDS.count)]
ALICE = User("alice", "Alice")


class Writer:
    """Appends to all rooms as Comets do, so that something waits for whoever forwards."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.counts = dict.fromkeys(ROOMS, 0)

    async def say(self, rooms: list[str] = ROOMS) -> None:
        """Append the next message of each room."""
        await asyncio.gather(*(self._say(room) for room in rooms))

    async def _say(self, room: str) -> None:
        self.counts[room] += 1
        number = self.counts[room]
        await self._store.append(room, ALICE, [f"{room} {number}"], f"{number}", forward=True)

    async def keep_on(self) -> None:
        """Say something in every room again and again."""
        while True:
            await self.say()
            await asyncio.sleep(0.1)  # spreads the load, proves nothing


class Ground:
    """A Redis, a writer, a Logic that notes who posts, and nodes."""

    def __init__(  # noqa: PLR0913, PLR0917 - what there is
        self,
        guard: Guard,
        directory: Path,
        url: str,
        redis: Redis,
        writer: Writer,
        logic: LogicStandin,
        stack: AsyncExitStack,
    ) -> None:
        self._stack = stack
        self._guard = guard
        self._directory = directory
        self.url = url
        self.redis = redis
        self.writer = writer
        self.logic = logic
        self.tokens: dict[str, bytes] = {}  # what each node's leases hold
        self.strangers: list[str] = []  # posts of shards whose lease was another's as they came
        logic.coming = self._judge

    def program(self, name: str, **settings: str) -> CometProgram:
        """Return a node in a process of its own."""
        own = {"COMET_FORWARD_URL": f"{self.logic.url}/{name}", **settings}
        return CometProgram(self._guard, self._directory / name, self.url, own, name=name)

    async def node(self, name: str, **settings: object) -> CometNode:
        """Start a node in this process. It ends with the test at the latest."""
        return await self._stack.enter_async_context(
            running(self.url, forward_url=f"{self.logic.url}/{name}", **settings)
        )

    async def holders(self) -> list[bytes | None]:
        """Return each lease's holder."""
        found: Any = await self.redis.mget(LEASES)
        return list(found)

    async def known(self, name: str, share: int = SHARDS.count) -> bytes:
        """Wait until so many leases are a holder's of whom nobody knew; it is the node of this name."""
        token = b""

        async def holds() -> bool:
            nonlocal token
            held = [holder for holder in await self.holders() if holder and holder not in self.tokens.values()]
            token = held[0] if held else b""
            return held == [token] * share

        await eventually(holds, f"{name} holds {share} leases", 30)
        self.tokens[name] = token
        return token

    async def hold_all(self, name: str) -> None:
        """Wait until a node has every lease."""

        async def has_all() -> bool:
            return await self.holders() == [self.tokens[name]] * SHARDS.count

        await eventually(has_all, f"{name} holds all leases", 30)

    async def _judge(self, name: str, sends: Sends) -> None:
        """Note a post whose shards are not the poster's at this moment."""
        shards = {SHARDS.of(send["roomId"]) for send in sends}
        holders = await self.holders()
        if name in self.tokens and any(holders[shard] not in {None, self.tokens[name]} for shard in shards):
            self.strangers.append(name)

    async def waiting(self) -> dict[int, list[bytes]]:
        """Return the ids of what waits in each outbox."""
        found: dict[int, Any] = {shard: await self.redis.xrange(keys.outbox(shard)) for shard in range(SHARDS.count)}
        return {shard: [entry_id for entry_id, _ in entries] for shard, entries in found.items()}

    async def empty(self) -> None:
        """Wait until nothing waits."""

        async def is_empty() -> bool:
            return not any((await self.waiting()).values())

        await eventually(is_empty, "the outboxes are empty", 30)

    def check_order(self) -> None:
        """Every message came to Logic, the first time in its room's order."""
        for room, count in self.writer.counts.items():
            assert list(dict.fromkeys(self.logic.seqs(room))) == list(range(1, count + 1)), room


@pytest_asyncio.fixture(loop_scope="package")
async def ground(guard: Guard, tmp_path: Path, redis_url: str) -> AsyncIterator[Ground]:
    """All but the nodes."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(aclosing(redis_client.connect(redis_url)))
        store = await stack.enter_async_context(open_store(redis_url))
        logic = await stack.enter_async_context(serving(LogicStandin()))
        yield Ground(guard, tmp_path, redis_url, redis, Writer(store), logic, stack)


async def _presumed_dead(ground: Ground, incarnation: str) -> None:
    """Let a node's life be over, as it is after 10 s, so that others take what it held."""
    await ground.redis.delete(keys.node(incarnation))
    await ground.redis.zrem(keys.NODES, incarnation)


async def _the_only_node(ground: Ground) -> str:
    nodes: Any = await ground.redis.zrange(keys.NODES, 0, -1)
    [incarnation] = nodes
    return str(incarnation.decode())


async def test_a_node_stopped_past_its_lease_under_load_forwards_nothing_more_when_it_wakes(ground: Ground) -> None:
    """What it had asked Redis for comes to it as it sleeps; the other forwards that and goes on; awake, it does not.

    Until it holds leases anew, which is its right: whose lease it is, is looked up whenever something is posted.
    """
    stopped = ground.program("stopped")
    await asyncio.to_thread(stopped.start)
    try:
        await ground.known("stopped")
        incarnation = await _the_only_node(ground)
        load = asyncio.create_task(ground.writer.keep_on())
        await eventually(lambda: len(ground.logic.names) > 10)
        freeze(stopped.pid)
        await _presumed_dead(ground, incarnation)
        other = await ground.node("other")
        await ground.known("other")
        before = ground.logic.names.count("other")
        await eventually(lambda: ground.logic.names.count("other") > before + 10)
        ground.logic.names.clear()
        os.kill(stopped.pid, signal.SIGCONT)
        # It is awake and at work again, with its share of the leases, and posts what is its own.
        await eventually(lambda: "stopped" in ground.logic.names, timeout_s=40)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        await ground.empty()
        await other.stop()
    finally:
        await asyncio.to_thread(stopped.kill)
    assert ground.strangers == []
    ground.check_order()


async def test_a_node_stopped_with_a_post_in_flight_removes_nothing_when_it_wakes(ground: Ground) -> None:
    """Logic took the batch and its answer waits in the sleeper's socket. Another holds the lease when it is read."""
    stopped = ground.program("stopped", COMET_FORWARD_TIMEOUT_SECONDS="120")
    await asyncio.to_thread(stopped.start)
    try:
        await ground.known("stopped")
        incarnation = await _the_only_node(ground)
        ground.logic.open.clear()
        await ground.writer.say()
        await eventually(lambda: ground.logic.names == ["stopped"])
        freeze(stopped.pid)
        await _presumed_dead(ground, incarnation)
        ground.logic.open.set()
        await eventually(lambda: ground.logic.taken)
        # The other has all leases, but Logic takes nothing from it: so whatever goes, the sleeper removed.
        ground.logic.answer = lambda sends: statuses(["failed"] * len(sends))
        other = await ground.node("other")
        await ground.known("other")
        waiting = await ground.waiting()
        assert sum(map(len, waiting.values())) == len(ROOMS)
        os.kill(stopped.pid, signal.SIGCONT)
        await eventually(lambda: _forwarded(stopped), "the sleeper read the answer", 30)
        assert await ground.waiting() == waiting
        ground.logic.answer = lambda sends: statuses(["success"] * len(sends))
        await ground.empty()
        await other.stop()
    finally:
        await asyncio.to_thread(stopped.kill)
    assert ground.strangers == []
    ground.check_order()


async def _forwarded(node: CometProgram) -> bool:
    counted = await asample(
        node.metrics_url, "grpc_calls_total", service="comet", name="logic_forward", status="success"
    )
    return counted > 0


async def test_a_node_stopped_with_a_batch_already_read_posts_nothing_of_it_when_it_wakes(ground: Ground) -> None:
    """It slept while it waited for the first entries: Redis sent them, another forwarded them, then it wakes."""
    stopped = ground.program("stopped")
    await asyncio.to_thread(stopped.start)
    try:
        await ground.known("stopped")
        incarnation = await _the_only_node(ground)
        await eventually(lambda: _reading(ground.redis), "the node waits for the first entry")
        freeze(stopped.pid)
        await ground.writer.say()
        assert not await _reading(ground.redis), "Redis has answered the sleeper"
        await _presumed_dead(ground, incarnation)
        other = await ground.node("other")
        await ground.known("other")
        await ground.empty()
        assert set(ground.logic.names) == {"other"}
        os.kill(stopped.pid, signal.SIGCONT)
        await eventually(lambda: _awake(ground, "stopped"), "the sleeper has leases again", 40)
        await other.stop()
        await ground.hold_all("stopped")
        assert set(ground.logic.names) == {"other"}
        await ground.writer.say()
        await ground.empty()
    finally:
        await asyncio.to_thread(stopped.kill)
    assert ground.strangers == []
    ground.check_order()


async def _reading(redis: Redis) -> bool:
    clients: Any = await redis.client_list()
    return any("b" in one["flags"] and one["cmd"] == "xread" for one in clients)


async def _awake(ground: Ground, name: str) -> bool:
    return ground.tokens[name] in await ground.holders()


def _rooms_of(found: list[PushMsg]) -> Mapping[str, list[int]]:
    rooms: dict[str, list[int]] = {}
    for one in found:
        rooms.setdefault(one.room, []).extend(range(one.first_seq, one.first_seq + one.count))
    return rooms


async def test_in_kafka_first_occurrences_follow_seq_through_every_takeover(ground: Ground, kafka: KafkaServer) -> None:
    """Under load a node joins, one is killed, one drains, and each time Logic is killed and started again."""
    topic = await asyncio.to_thread(kafka.create_topic)
    settings = {**kafka.settings, **shared_settings(ground.url, kafka.brokers, topic)}
    logic = ServiceProgram(ground._guard, "logic", ground._directory, settings)  # noqa: SLF001 - the test's own
    forward = {"COMET_FORWARD_URL": logic.http_url}
    killed, drained, last = (ground.program(name, **forward) for name in ("killed", "drained", "last"))
    load = asyncio.create_task(ground.writer.keep_on())
    try:
        await asyncio.to_thread(logic.start)
        await asyncio.to_thread(killed.start)
        await ground.known("killed")
        await asyncio.to_thread(drained.start)  # it joins: shards are shared out anew
        await ground.known("drained", SHARDS.count // 2)
        await asyncio.to_thread(logic.kill)
        await asyncio.to_thread(killed.kill)
        await asyncio.to_thread(logic.start)
        await ground.hold_all("drained")  # the dead node's leases ran out
        await asyncio.to_thread(last.start)
        await ground.known("last", SHARDS.count // 2)
        await asyncio.to_thread(logic.kill)
        draining = asyncio.create_task(asyncio.to_thread(drained.stop))
        await asyncio.to_thread(logic.start)
        await draining
        await ground.hold_all("last")
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        await ground.empty()
    finally:
        load.cancel()
        for program in (killed, drained, last, logic):
            await asyncio.to_thread(program.kill)
    found = await push_msgs(kafka.brokers, topic, lambda found: _all_there(found, ground.writer.counts))
    for room, seqs in _rooms_of(found).items():
        assert list(dict.fromkeys(seqs)) == list(range(1, ground.writer.counts[room] + 1)), room


def _all_there(found: list[PushMsg], counts: Mapping[str, int]) -> bool:
    rooms = _rooms_of(found)
    return all(len(set(rooms.get(room, ()))) == count for room, count in counts.items())


async def test_shards_change_hands_without_being_forwarded_twice(ground: Ground) -> None:
    """A node joins and leaves under load, nothing fails: Logic gets each message once, from its lease's holder."""
    staying = await ground.node("a", drain_seconds=5)
    await ground.known("a")
    load = asyncio.create_task(ground.writer.keep_on())
    for _ in range(2):
        coming = await ground.node("b", drain_seconds=5)
        ground.tokens.pop("b", None)
        await ground.known("b", SHARDS.count // 2)
        before = ground.logic.names.count("b")
        await eventually(lambda at=before: ground.logic.names.count("b") > at + 3)  # type: ignore[misc]
        await coming.stop()
        await ground.hold_all("a")
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    await ground.empty()
    await staying.stop()
    assert ground.strangers == []
    for room, count in ground.writer.counts.items():
        assert ground.logic.seqs(room) == list(range(1, count + 1)), room
