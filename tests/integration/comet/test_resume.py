"""Resuming on a real Redis: exactly what was missed, then live, however a burst of sends races with the join."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from common import keys
from common.positions import Position
from testbed.redis_server import RedisServer
from tests.support.comet_node import Client, CometNode, running
from tests.support.eventually import eventually
from tests.support.room_client import RoomClient
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


def total(name: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name) or 0.0


async def say(client: Client, first: int, count: int) -> dict[str, Any]:
    """Send numbered messages in one frame each, wait until they came back and return the last ack."""
    for number in range(first, first + count):
        ack = await send(client, str(number))
    return ack


async def send(client: Client, *contents: str) -> dict[str, Any]:
    """Send messages in one frame, wait until they came back and return the ack."""
    messages = [{"content": content} for content in contents]
    ack = await client.answer("clientMessages", {"roomId": ROOM, "messages": messages}, "ack")
    await client.until(lambda: ack["messages"][-1]["seq"] in seen(client)[-100:])
    return ack


async def resume(client: Client, epoch: int, seq: int) -> dict[str, Any]:
    """Join with a position and return the answer; what was on its way when that was asked for is in it again."""
    before = len(client.texts)
    payload = {"roomId": ROOM, "since": {"epoch": epoch, "seq": seq}}
    answer = await client.answer("joinRoom", payload, "joined")
    at = next(i for i, text in enumerate(client.texts) if i >= before and '"type":"joined"' in text)
    del client.texts[before:at]
    return answer


def seen(client: Client) -> list[int]:
    """Return the seqs of all messages of the room in the order in which they came, in `joined` or live."""
    frames = [payload for payload in map(payload_of, client.texts) if payload.get("roomId") == ROOM]
    return [message["seq"] for payload in frames for message in payload.get("messages", ()) if "content" in message]


def payload_of(text: str) -> dict[str, Any]:
    """Return a frame's payload."""
    frame: dict[str, Any] = json.loads(text)
    payload: dict[str, Any] = frame["payload"]
    return payload


@pytest.mark.parametrize("since", [0, 1, 20, 29, 30])
async def test_a_resume_brings_exactly_what_was_missed(alice: Client, bob: Client, since: int) -> None:
    """From the stream or from the node's ring; then live."""
    ack = await say(alice, 1, 30)
    joined = await resume(bob, ack["epoch"], since)
    assert (joined["recovered"], joined["seq"], joined["epoch"]) == (True, 30, ack["epoch"])
    await say(alice, 31, 1)
    await bob.until(lambda: seen(bob)[-1:] == [31])
    assert seen(bob) == list(range(since + 1, 32))


async def test_a_resume_on_another_node_reads_the_stream(redis_url: str, node: CometNode, alice: Client) -> None:
    """Far more than a ring holds, on a node that never served the room."""
    assert node
    for _ in range(5):
        ack = await send(alice, *["x"] * 40)
    async with running(redis_url) as other, other.client(rooms="") as client:
        joined = await resume(client, ack["epoch"], 50)
        assert (joined["recovered"], len(joined["messages"])) == (True, 150)
        await say(alice, 201, 1)
        await client.until(lambda: seen(client)[-1:] == [201])
        assert seen(client) == list(range(51, 202))


async def test_what_does_not_fit_into_joined_follows_before_anything_live(redis_url: str) -> None:
    """In frames of at most `recovery_limit` messages, in order."""
    async with (
        running(redis_url, recovery_limit=30, rate_burst_messages=500) as node,
        node.client(uid="alice") as alice,
    ):
        for _ in range(3):
            ack = await send(alice, *["x"] * 67)
        async with node.client(rooms="") as bob:
            sending = asyncio.create_task(say(alice, 202, 20))
            joined = await resume(bob, ack["epoch"], 10)
            assert (joined["recovered"], joined["seq"], len(joined["messages"])) == (True, 40, 30)
            await sending
            await bob.until(lambda: seen(bob)[-1:] == [221])
            assert seen(bob) == list(range(11, 222))


async def test_a_position_that_is_gone_is_told(redis_url: str) -> None:
    """Trimmed away, above the tail, of another epoch: `recovered: false`, the newest messages, and live."""
    async with (
        running(redis_url, room_max_messages=100, join_messages=5, rate_burst_messages=1000) as node,
        node.client(uid="alice") as alice,
    ):
        for _ in range(6):
            ack = await send(alice, *["x"] * 100)
        for number, (epoch, seq) in enumerate([(ack["epoch"], 3), (ack["epoch"], 5000), (ack["epoch"] - 1, 599)], 601):
            async with node.client(rooms="") as bob:
                joined = await resume(bob, epoch, seq)
                assert (joined["recovered"], joined["seq"], joined["epoch"]) == (False, number - 1, ack["epoch"])
                await say(alice, number, 1)
                await bob.until(lambda: seen(bob)[-1:] == [number])  # noqa: B023 - asked at once
                assert seen(bob) == list(range(number - 5, number + 1))


@pytest.mark.parametrize("nodes", [1, 2])
async def test_joins_that_race_with_a_burst_of_sends_see_no_hole_and_no_repeat(redis_url: str, nodes: int) -> None:
    """Many clients join, leave, come back with their position and join anew while others send without pause."""
    async with running(redis_url, rate_burst_messages=10_000) as one, running(redis_url) as two:
        async with one.client(uid="alice", rooms=ROOM) as alice:
            first = await say(alice, 1, 1)
            stop = asyncio.Event()

            async def send_on() -> int:
                count = 1
                while not stop.is_set():
                    count += 5
                    await send(alice, *"abcde")
                return count

            async def come_and_go(node: CometNode, way: int) -> Client:
                async with node.client(rooms="") as client:
                    await resume(client, first["epoch"], 0)
                    for _ in range(6):
                        here = seen(client)[-1]
                        await client.until(lambda: seen(client)[-1] > here)  # noqa: B023 - asked at once
                        if way % 2:
                            await client.answer("leaveRoom", {"roomId": ROOM}, "left")
                            await asyncio.sleep(0.005 * way)
                        await resume(client, first["epoch"], seen(client)[-1])
                    await stop.wait()
                    total = await sending
                    await client.until(lambda: seen(client)[-1] == total)
                    return client

            sending = asyncio.create_task(send_on())
            places = [one, two] if nodes == 2 else [one]
            comers = [asyncio.create_task(come_and_go(places[i % nodes], i)) for i in range(8)]
            await eventually(lambda: len(alice.frames("ack")) > 60)
            await asyncio.sleep(0)
            stop.set()
            for client in await asyncio.gather(*comers):
                assert seen(client) == list(range(1, sending.result() + 1))
                assert all(joined["recovered"] for joined in client.frames("joined"))


async def test_a_restarted_redis_costs_nobody_a_message(own_redis: RedisServer) -> None:
    """A new epoch without loss: clients in the room see seqs run on, those who resume over it are recovered."""
    async with running(own_redis.url) as node, node.client(uid="alice", rooms=ROOM) as alice:
        async with node.client(rooms=ROOM) as bob:
            first = await say(alice, 1, 3)
            await asyncio.to_thread(own_redis.kill)
            await asyncio.to_thread(own_redis.start)
            last = await say(alice, 4, 3)
            assert last["epoch"] > first["epoch"]
            await bob.until(lambda: seen(bob)[-1:] == [6])
            assert (seen(bob), bob.frames("joined")) == ([1, 2, 3, 4, 5, 6], [])
        async with node.client(rooms="") as carol:
            joined = await resume(carol, first["epoch"], 2)
            await carol.until(lambda: seen(carol)[-1:] == [6])
            assert (joined["recovered"], joined["epoch"], seen(carol)) == (True, first["epoch"], [3, 4, 5, 6])
        tail = {"epoch": last["epoch"], "seq": 6}
        async with node.client(rooms="") as dave, node.client(rooms=ROOM) as erin:
            fresh = await dave.answer("joinRoom", {"roomId": ROOM}, "joined")
            [hello] = erin.frames("hello")[-1]["rooms"]
            for client, head in ((dave, fresh), (erin, hello)):
                assert (head["epoch"], head["seq"], head["tail"]) == (first["epoch"], 3, tail)
                await client.until(lambda: [one["seq"] for one in client.messages(ROOM)] == [4, 5, 6])  # noqa: B023 - asked at once


async def test_a_redis_that_lost_its_tail_is_told_to_clients_once(own_redis: RedisServer) -> None:
    """They saw messages that the log no longer has; what comes then reaches them all, in the new epoch."""
    async with running(own_redis.url) as node, node.client(uid="alice", rooms=ROOM) as alice:
        async with node.client(rooms=ROOM) as bob:
            await say(alice, 1, 10)
            await bob.until(lambda: seen(bob)[-1:] == [10])
            async with Redis.from_url(own_redis.url, protocol=2) as redis:
                room = keys.room_keys(SHARDS.of(ROOM), ROOM)
                entries: Any = await redis.xrevrange(room.stream, count=4)
                await redis.xdel(room.stream, *(entry_id for entry_id, _ in entries))
                await redis.hset(room.meta, mapping={"seq": 6, "run": "another"})
            last = await say(alice, 11, 4)
            await bob.until(lambda: seen(bob)[-1:] == [10] and len(seen(bob)) > 10)
            assert seen(bob) == [*range(1, 11), 7, 8, 9, 10]
            [told] = bob.frames("joined")
            assert (told["recovered"], told["epoch"], told["messages"][0]["seq"]) == (False, last["epoch"], 7)


async def test_resumes_in_small_pieces_on_several_nodes_race_with_sends_and_nobody_is_told_of_a_hole(
    redis_url: str,
) -> None:
    """Clients lose their connection, come back through another node and send; frames hold at most three messages."""
    fast: dict[str, Any] = {"rate_messages_per_second": 1e6, "rate_burst_messages": 100_000, "recovery_limit": 3}
    made = [running(redis_url, **fast) for _ in range(3)]
    async with made[0] as one, made[1] as two, made[2] as three:
        people = [RoomClient(ROOM, f"user {i}") for i in range(6)]
        told = total("comet_told_holes_total")
        nodes = (one, two, three)

        async def live(number: int, person: RoomClient) -> None:
            for lap in range(8):
                async with person.on(nodes[(number + lap) % 3]):
                    for i in range(12):
                        await person.send(f"{number} {lap} {i} a", f"{number} {lap} {i} b")
                        await asyncio.sleep(0)
                    if lap % 2:
                        await person.join()
                    await person.until(lambda: len(person.acks) == 12 * (lap + 1))  # noqa: B023 - asked at once
            async with person.on(nodes[number % 3]):
                await person.until_at(len(people) * 8 * 24)

        await asyncio.gather(*(live(number, person) for number, person in enumerate(people)))
        full = RoomClient(ROOM, "who was there all the time")
        full.position = Position(people[0].position.epoch if people[0].position else 0, 0)
        async with full.on(one):
            await full.until_at(len(people) * 8 * 24)
        assert total("comet_told_holes_total") == told
    for person in people:
        assert (person.told, person.errors) == (0, [])
        assert person.contents == full.contents[-len(person.contents) :]
        assert {content for content in person.contents if content.startswith(f"{person.uid[5:]} ")} == {
            content for content in full.contents if content.startswith(f"{person.uid[5:]} ")
        }


async def test_the_same_ref_gets_the_first_ack_wherever_it_is_sent_again(own_redis: RedisServer) -> None:
    """At once, after a reconnect, through another node, and after Redis restarted: one message, seen once."""
    alice, bob = RoomClient(ROOM, "alice"), RoomClient(ROOM, "bob")
    async with running(own_redis.url) as one, running(own_redis.url) as two, bob.on(two):
        async with alice.on(one):
            for _ in range(2):
                await alice.send("hello", "again", ref="r-1")
            await alice.until(lambda: len(alice.acks) == 2)
        for acks, node in ((3, one), (4, two)):
            async with alice.on(node):
                await alice.send("hello", "again", ref="r-1")
                await alice.until(lambda: len(alice.acks) == acks)  # noqa: B023 - asked at once
        await asyncio.to_thread(own_redis.kill)
        await asyncio.to_thread(own_redis.start)
        async with alice.on(two):
            await alice.send("hello", "again", ref="r-1")
            await alice.until(lambda: len(alice.acks) == 5)
            await alice.send("the end")
            for client in (alice, bob):
                await client.until(lambda: client.contents[-1:] == ["the end"])  # noqa: B023 - asked at once
    assert all(ack == alice.acks[0] for ack in alice.acks[:5])
    assert alice.contents == bob.contents == ["hello", "again", "the end"]
    assert (alice.told, bob.told) == (0, 0)
