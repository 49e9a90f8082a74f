"""Several nodes on one Redis, and what clients notice of a Redis that goes, hangs, or is full: nothing but a delay."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from common import keys
from common.registry import Registry
from testbed.redis_server import RedisServer
from tests.support.comet_node import Client, CometNode, running
from tests.support.eventually import eventually
from tests.support.shards import SHARDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


def total(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def ready(node: CometNode) -> tuple[int, dict[str, Any]]:
    """Ask whether the node is ready."""
    async with aiohttp.ClientSession() as http, http.get(f"{node.http_url}/readyz") as answer:
        report: dict[str, Any] = await answer.json()
        return answer.status, report


# -- two nodes -----------------------------------------------------------------------------------------------------


async def test_clients_of_different_nodes_see_each_others_messages_once_and_in_one_order(redis_url: str) -> None:
    """Whoever sends where."""
    async with running(redis_url) as one, running(redis_url) as two:
        async with one.client(uid="alice", rooms=ROOM) as alice, two.client(uid="bob", rooms=ROOM) as bob:
            for i in range(30):
                await alice.send(ROOM, f"a{i}")
                await bob.send(ROOM, f"b{i}")
            for client in (alice, bob):
                await client.until(lambda: len(client.messages(ROOM)) >= 60)  # noqa: B023 - asked at once
                await client.settle()
            assert alice.messages(ROOM) == bob.messages(ROOM)
            assert [message["seq"] for message in alice.messages(ROOM)] == list(range(1, 61))
            for name in "ab":
                mine = [one["content"] for one in alice.messages(ROOM) if one["content"][0] == name]
                assert mine == [f"{name}{i}" for i in range(30)]


async def test_presence_is_put_together_over_nodes(redis_url: str) -> None:
    """A user on both is one entry and stays one; a node that died takes its users with it."""
    async with running(redis_url) as one, running(redis_url) as two, Redis.from_url(redis_url, protocol=2) as redis:
        registry = Registry(redis, SHARDS)

        async def recorded() -> bool:
            """Whether both nodes recorded all, so that nothing is on its way any more."""
            found = [await registry.presence([ROOM], without=node) for node in await registry.nodes()]
            return sorted(len(presence.users) for [presence] in found) == [1, 2]

        async with one.client(uid="alice", rooms=ROOM) as alice, two.client(uid="alice", rooms=ROOM):
            async with two.client(uid="bob", rooms=ROOM):

                async def online() -> tuple[int, list[str]]:
                    found = await alice.answer("requestPresence", {"roomId": ROOM}, "presence")
                    return found["onlineCount"], sorted(user["id"] for user in found["users"])

                async def alone() -> bool:
                    return await online() == (1, ["alice"])

                await eventually(recorded)
                assert await online() == (2, ["alice", "bob"])
                await two.kill()
                for name in await registry.nodes():
                    if name != alice.frames("hello")[0]["node"]:
                        await redis.delete(keys.node(name))  # its life runs out
                await eventually(alone)


async def test_rooms_and_users_are_registered_where_they_are(redis_url: str, node: CometNode) -> None:
    """So that Job finds them; gone when they go, the node too when it stops."""
    async with Redis.from_url(redis_url, protocol=2) as redis:
        registry = Registry(redis, SHARDS)
        async with node.client(uid="alice", rooms="a,b") as alice:
            name = alice.frames("hello")[0]["node"]

            async def there() -> bool:
                rooms, users = await registry.serving(["a", "b"]), await registry.locate(["alice"])
                return rooms == [[name], [name]] and users == [[name]]

            await eventually(there)
            [entry] = (await registry.nodes()).values()
            assert entry.grpc == node.grpc_address

        async def gone() -> bool:
            return [*await registry.serving(["a", "b"]), *await registry.locate(["alice"])] == [[], [], []]

        await eventually(gone)
        await node.stop()
        assert await registry.nodes() == {}


async def test_a_node_presumed_dead_goes_on_under_another_name(redis_url: str, node: CometNode) -> None:
    """Its life ran out while it was stopped: it registers anew with all it serves; clients notice nothing."""
    async with Redis.from_url(redis_url, protocol=2) as redis, node.client(uid="alice", rooms=ROOM) as alice:
        registry = Registry(redis, SHARDS)
        name = alice.frames("hello")[0]["node"]
        await redis.delete(keys.node(name))

        async def back() -> bool:
            nodes = await registry.nodes()
            [rooms], [users] = await registry.serving([ROOM]), await registry.locate(["alice"])
            return len(nodes) == 1 and name not in nodes and nodes.keys() <= set(rooms) and nodes.keys() <= set(users)

        await eventually(back)
        await alice.settle()


# -- PubSub is a hint ----------------------------------------------------------------------------------------------


async def test_where_publish_is_forbidden_the_check_of_the_tails_brings_every_message(own_redis: RedisServer) -> None:
    """Within about three seconds, also the last one, also on other nodes; in order and once."""
    with own_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-publish")
    async with running(own_redis.url) as one, running(own_redis.url) as two:
        async with one.client(rooms=ROOM) as alice, two.client(rooms=ROOM) as bob:
            begun = time.monotonic()
            for i in range(10):
                await alice.send(ROOM, str(i))
            for client in (alice, bob):
                await client.until_contents(ROOM, [str(i) for i in range(10)], 5)
            assert time.monotonic() - begun < 4


async def test_a_lost_pubsub_connection_costs_no_message(redis_url: str, node: CometNode) -> None:
    """It is made anew, and what was published meanwhile is read from the streams at once."""
    async with Redis.from_url(redis_url, protocol=2) as redis, node.client(rooms=ROOM) as alice:
        contents: list[str] = []
        for _ in range(5):
            before = total("comet_pubsub_lost_total")
            await redis.client_kill_filter(_type="pubsub")
            for _ in range(5):
                contents.append(str(len(contents)))
                await alice.send(ROOM, contents[-1])
            await alice.until_contents(ROOM, contents, 5)
            await eventually(lambda: total("comet_pubsub_lost_total") > before)  # noqa: B023 - asked at once


async def test_what_somebody_else_publishes_in_a_room_is_passed_over(redis_url: str, node: CometNode) -> None:
    """It is counted, and chat goes on."""
    async with Redis.from_url(redis_url, protocol=2) as redis, node.client(rooms=ROOM) as alice:
        before = total("comet_foreign_publishes_total")
        channel = keys.room_keys(SHARDS.of(ROOM), ROOM).channel
        for nonsense in (b"hello", b"", b"1 2\n{}", b"a b c\n{}"):
            await redis.publish(channel, nonsense)
        await alice.send(ROOM, "still here")
        await alice.until_contents(ROOM, ["still here"])
        assert total("comet_foreign_publishes_total") - before == 4


# -- Redis goes and comes back -------------------------------------------------------------------------------------


async def test_without_redis_connections_stay_and_senders_are_told(own_redis: RedisServer) -> None:
    """`unavailable` with their ref and no ack; /readyz says why; with Redis all goes on by itself, nothing doubled."""
    async with running(own_redis.url, append_timeout_seconds=0.5) as node, node.client(rooms=ROOM) as alice:
        await alice.send(ROOM, "before")
        await alice.until_contents(ROOM, ["before"])
        await asyncio.to_thread(own_redis.stop)
        for kind, payload in (
            ("clientMessages", {"roomId": ROOM, "content": "lost", "ref": "r"}),
            ("joinRoom", {"roomId": "another", "ref": "r"}),
            ("requestRoomHistory", {"roomId": ROOM, "ref": "r"}),
            ("requestPresence", {"roomId": ROOM, "ref": "r"}),
        ):
            error = await alice.answer(kind, payload, "error")
            assert (error["code"], error["ref"]) == ("unavailable", "r"), kind
        assert len(alice.frames("ack")) == 1

        async def unready() -> bool:
            status, report = await ready(node)
            return status == 503 and "redis" in report["reasons"]

        await eventually(unready)
        await asyncio.to_thread(own_redis.start)
        ack = await alice.answer("clientMessages", {"roomId": ROOM, "content": "after", "ref": "r"}, "ack")
        assert ack["messages"][0]["seq"] == 2
        await alice.until_contents(ROOM, ["before", "after"])

        async def is_ready() -> bool:
            return (await ready(node))[0] == 200

        await eventually(is_ready)


async def test_who_connects_without_redis_is_sent_away_and_may_come_again(own_redis: RedisServer) -> None:
    """1013: try again later."""
    async with running(own_redis.url) as node:
        await asyncio.to_thread(own_redis.stop)
        async with node.connection(rooms=ROOM) as connection:
            assert await Client(connection).until_closed() == 1013
        await asyncio.to_thread(own_redis.start)
        async with node.client(rooms=ROOM) as alice:
            await alice.send(ROOM, "hello")
            await alice.until_contents(ROOM, ["hello"])


async def test_messages_under_way_when_redis_is_killed_are_stored_once(own_redis: RedisServer) -> None:
    """Clients that wait see nothing but a delay: every message is acked, seen once, in order, by both nodes."""
    async with running(own_redis.url, append_timeout_seconds=20) as one, running(own_redis.url) as two:
        async with one.client(rooms=ROOM) as alice, two.client(rooms=ROOM) as bob:
            for i in range(150):
                await alice.send(ROOM, str(i))
                if i == 50:
                    await alice.until(lambda: len(alice.messages(ROOM)) > 20)
                    await asyncio.to_thread(own_redis.kill)
                if i == 100:
                    await asyncio.to_thread(own_redis.start)
            contents = [str(i) for i in range(150)]
            for client in (alice, bob):
                await client.until_contents(ROOM, contents)
            await alice.until(lambda: len(alice.frames("ack")) == 150)
            assert alice.frames("joined") == bob.frames("joined") == []


async def test_a_full_redis_refuses_senders_and_recovers(own_redis: RedisServer) -> None:
    """`overloaded` with the ref, no ack; what writes nothing goes on, also for who comes; with room again all works."""
    async with running(own_redis.url) as node, node.client(rooms=ROOM, uid="alice") as alice:
        await alice.send(ROOM, "before")
        await alice.until_contents(ROOM, ["before"])
        await alice.until(lambda: alice.frames("ack"))
        with own_redis.client() as admin:
            admin.config_set("maxmemory", "100kb")
            error = await alice.answer("clientMessages", {"roomId": ROOM, "content": "x", "ref": "r"}, "error")
            assert (error["code"], error["ref"]) == ("overloaded", "r")
            assert len(alice.frames("ack")) == 1
            history = await alice.answer("requestRoomHistory", {"roomId": ROOM}, "roomHistory")
            assert [message["content"] for message in history["messages"]] == ["before"]
            assert (await alice.answer("joinRoom", {"roomId": "another"}, "joined"))["recovered"] is True
            async with node.client(rooms="", uid="bob") as bob:
                joined = await bob.answer("joinRoom", {"roomId": ROOM, "since": {"epoch": 0, "seq": 0}}, "joined")
                assert [message["content"] for message in joined["messages"]] == ["before"]
                found = await bob.answer("requestPresence", {"roomId": ROOM}, "presence")
                assert {user["id"] for user in found["users"]} == {"alice", "bob"}
            admin.config_set("maxmemory", "512mb")
        await alice.send(ROOM, "after", ref="r")
        await alice.until_contents(ROOM, ["before", "after"])


async def test_a_full_redis_takes_no_node_for_dead(own_redis: RedisServer) -> None:
    """Its life is prolonged all the same, so Job still finds it."""
    async with running(own_redis.url), Redis.from_url(own_redis.url, protocol=2) as redis:
        await eventually(Registry(redis, SHARDS).nodes)
        [name] = await Registry(redis, SHARDS).nodes()
        await redis.config_set("maxmemory", "100kb")
        await redis.expire(keys.node(name), 5)

        async def prolonged() -> bool:
            return int(await redis.ttl(keys.node(name))) > 5

        await eventually(prolonged)
        assert list(await Registry(redis, SHARDS).nodes()) == [name]
