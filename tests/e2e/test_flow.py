"""The whole pipeline through `chatroom up`: what the README shows, with clients that know no more than it tells."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL
from typing import Any

import psutil
import redis
from redis.asyncio import Redis

from common.envelope import User
from common.redis_client import connect
from common.registry import Registry, RoomPresence
from common.shards import Shards, stored
from protos.job_pb2 import PushMsg
from testbed.chatroom_up import ChatroomUp
from testbed.kafka_server import KafkaServer
from tests.conftest import StackMaker
from tests.support.frozen import freeze
from tests.support.kafka_reader import push_msgs
from tests.support.metrics import asample, until_sample
from tests.support.open_store import open_store
from tests.support.plain_client import PlainClient, plain_client

DELIVERIES = "comet_deliveries_total"
FORWARDS: dict[str, Any] = {"service": "comet", "name": "logic_forward"}


def new_room() -> str:
    """Return a room that no other test uses."""
    return f"room_{secrets.token_hex(4)}"


@asynccontextmanager
async def two_clients(room: str, url: str, other_url: str = "") -> AsyncIterator[tuple[PlainClient, PlainClient]]:
    """Connect Alice and Bob to a room."""
    alice, bob = f"{url}?uid=1001&name=Alice&rooms={room}", f"{other_url or url}?uid=1002&name=Bob&rooms={room}"
    async with plain_client(alice) as first, plain_client(bob) as second:
        yield first, second


def of_room(room: str, count: int) -> Callable[[list[PushMsg]], bool]:
    """Return a condition: so many PushMsgs of a room are there."""
    return lambda found: sum(one.room == room for one in found) >= count


async def test_a_message_goes_down_both_paths_and_arrives_once(stack: ChatroomUp) -> None:
    """Two plain clients get a message once, under one id; one path delivered it, the other brought a duplicate."""
    room = new_room()
    url = stack.metrics_url()
    async with two_clients(room, stack.ws_url()) as (alice, bob):
        delivered = await asample(url, DELIVERIES, path="pubsub", result="delivered")
        repeated = await asample(url, DELIVERIES, path="push", result="duplicate")
        forwarded = await asample(url, "grpc_calls_total", **FORWARDS, status="success")
        await alice.send(room, "Test message")
        for client in (alice, bob):
            await client.until_contents(room, ["Test message"])
        await until_sample(url, DELIVERIES, repeated + 1, path="push", result="duplicate")
        assert await asample(url, DELIVERIES, path="pubsub", result="delivered") == delivered + 1
        assert await asample(url, DELIVERIES, path="push", result="duplicate") == repeated + 1
        assert await asample(url, "grpc_calls_total", **FORWARDS, status="success") == forwarded + 1
        for client in (alice, bob):
            await client.settle()
        [at_alice], [at_bob] = alice.messages(room), bob.messages(room)
        assert at_alice == at_bob
        assert at_alice["user"] == {"id": "1001", "username": "Alice"}
        history = await bob.answer("requestRoomHistory", {"roomId": room}, "roomHistory")
        assert history["messages"] == [at_alice]
    [in_kafka] = [
        one for one in await push_msgs(stack.kafka_brokers, stack.kafka_topic, of_room(room, 1)) if one.room == room
    ]
    assert (in_kafka.type, in_kafka.operation) == (PushMsg.ROOM, 4)
    frame = json.loads(in_kafka.msg)
    assert frame["type"] == "serverMessages"
    assert [one["id"] for one in frame["payload"]["messages"]] == [at_alice["id"]]


async def test_the_logs_say_what_the_seed_says(stack: ChatroomUp) -> None:
    """Each service logs its step of a message's way in the words of the README."""
    room = new_room()
    async with two_clients(room, stack.ws_url()) as (alice, bob):
        await alice.send(room, "Test message")
        await bob.until_contents(room, ["Test message"])
        # Job pushes to those who are still there.
        for service, text in (
            ("comet", f"Message broadcast initiated for room {room}"),
            ("comet", "Async request to Logic service initiated"),
            ("comet", f"Successfully sent message to Logic service for room {room}"),
            ("comet", "logic_forward"),
            ("logic", "Received POST /logic/send"),
            ("logic", "handleSend successfully"),
            ("job", r"\[Consumer \d\] Received PushMsg:"),
            ("job", "Type: 1"),
            ("job", "Operation: 4"),
            ("job", f"roomId: {room}"),
            ("job", r"msg: .*type.*serverMessages"),
            ("job", "BroadcastRoom success"),
        ):
            await asyncio.to_thread(stack.wait_for_line, rf"^{service} *\| .*{text}")


async def test_the_grpcurl_line_reaches_everybody_in_the_room(stack: ChatroomUp) -> None:
    """The README's grpcurl line works letter by letter (but for the port): no .proto, and a body of plain text."""
    request = """{
         "roomId": "room_001",
         "proto": {"ver": 1, "op": 4, "seq": 0, "body": "test message"}
       }"""
    async with plain_client(stack.ws_url()) as alice, plain_client(stack.ws_url()) as bob:
        program = Path(sys.executable).with_name("grpcurl")
        command = [str(program), "-plaintext", "-d", request, stack.grpc(), "ChatRoom.Comet.Comet/BroadcastRoom"]
        await asyncio.to_thread(lambda: subprocess.run(command, check=True, timeout=30))
        for client in (alice, bob):
            await client.until(lambda: "test message" in client.texts)  # noqa: B023 - awaited within the round


async def test_what_was_accepted_under_an_id_that_is_illegal_now_goes_all_the_way(stack: ChatroomUp) -> None:
    """It lies in an outbox while the services are upgraded: Logic, Job and a node take it, nothing is parked."""
    room, jobs = f"{new_room()}\u200be\u0301", stack.job_metrics_url
    parked = await asample(stack.metrics_url(), "comet_forward_dead_letters_total")
    pushed = await asample(jobs, "job_records_total", result="pushed")
    async with connect(stack.redis_url) as client:
        shards = Shards(await stored(client))
        [node] = await Registry(client, shards).nodes()
        await Registry(client, shards).record(node, {room: RoomPresence(1, [])}, {}, 60)
        async with open_store(stack.redis_url, shards) as store:
            await store.append(room, User("\u202eEve", "Eve\u200b"), ["said before the upgrade"])
    [record] = [
        one for one in await push_msgs(stack.kafka_brokers, stack.kafka_topic, of_room(room, 1)) if one.room == room
    ]
    [message] = json.loads(record.msg)["payload"]["messages"]
    assert message["user"] == {"id": "\u202eEve", "username": "Eve\u200b"}
    await until_sample(jobs, "job_records_total", pushed + 1, result="pushed")
    assert await asample(jobs, "job_records_total", result="refused") == 0
    assert await asample(stack.metrics_url(), "comet_forward_dead_letters_total") == parked


async def test_each_path_alone_is_enough(make_stack: StackMaker, own_kafka: KafkaServer) -> None:
    """With PUBLISH denied a message still arrives, by push; with Kafka stopped it still arrives, by PubSub."""
    own_kafka.create_topic("both-paths")
    stack = make_stack(kafka=own_kafka, environ={"CHAT_KAFKA_TOPIC": "both-paths"})
    room = new_room()
    async with two_clients(room, stack.ws_url()) as (alice, bob), Redis.from_url(stack.redis_url) as server:
        url = stack.metrics_url()
        await alice.send(room, "over both")
        await bob.until_contents(room, ["over both"])
        await until_sample(url, DELIVERIES, 1, path="push", result="duplicate")

        await server.acl_setuser(
            "default", enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", "-publish"]
        )
        await alice.send(room, "by push")
        await bob.until_contents(room, ["over both", "by push"])
        assert await asample(url, DELIVERIES, path="push", result="delivered") == 1
        await server.acl_setuser("default", commands=["+publish"])

        freeze(own_kafka.pid)
        try:
            await alice.send(room, "by PubSub")
            await bob.until_contents(room, ["over both", "by push", "by PubSub"])
            assert await asample(url, DELIVERIES, path="pubsub", result="delivered") == 2
        finally:
            os.kill(own_kafka.pid, SIGCONT)
        await bob.settle()
        assert [one["seq"] for one in bob.messages(room)] == [1, 2, 3]


async def test_while_logic_is_down_chat_goes_on_and_nothing_is_lost(make_stack: StackMaker) -> None:
    """With Logic killed clients notice nothing and `failed` grows; afterwards Kafka has everything, in order."""
    stack = make_stack()
    room, contents = new_room(), [f"message {i}" for i in range(60)]
    async with two_clients(room, stack.ws_url()) as (alice, bob):
        await alice.send(room, contents[0])
        await until_sample(stack.metrics_url(), "grpc_calls_total", 1, **FORWARDS, status="success")
        before = len(stack.lines)
        stack.kill("logic", SIGKILL)
        for content in contents[1:]:
            await alice.send(room, content)
        await bob.until_contents(room, contents)
        await until_sample(stack.metrics_url(), "grpc_calls_total", 1, **FORWARDS, status="failed")
        await asyncio.to_thread(stack.wait_ready_again, "logic", before)
    found = await push_msgs(
        stack.kafka_brokers, stack.kafka_topic, lambda found: {*range(1, 61)} <= {one.first_seq for one in found}
    )
    first = list(dict.fromkeys(one.first_seq for one in found if one.room == room))
    assert first == list(range(1, 61))


async def test_clients_on_two_nodes_see_each_other_once(make_stack: StackMaker) -> None:
    """With two nodes a room spans both, each message arriving once; also while one node's PubSub is cut."""
    stack = make_stack(comets=2)
    room = new_room()
    async with two_clients(room, stack.ws_url(0), stack.ws_url(1)) as (alice, bob):
        await alice.send(room, "from node 0")
        await bob.until_contents(room, ["from node 0"])
        await bob.send(room, "from node 1")
        await alice.until_contents(room, ["from node 0", "from node 1"])
        with_both = ["from node 0", "from node 1"]

        async with asyncio.timeout(60), cut_pubsub(stack.redis_url, stack.pid_of("comet-1")):
            # Whether a push or the node's own look at the stream brings a message is chance; in the end one is pushed.
            pushed, contents = 0.0, list(with_both)
            while not pushed:
                contents.append(f"while cut {len(contents)}")
                await alice.send(room, contents[-1])
                await bob.until_contents(room, contents)
                pushed = await asample(stack.metrics_url(1), DELIVERIES, path="push", result="delivered")
            contents.append("from the cut node")
            await bob.send(room, contents[-1])
            for client in (alice, bob):
                await client.until_contents(room, contents)
        for client in (alice, bob):
            await client.settle()
            assert [one["seq"] for one in client.messages(room)] == list(range(1, len(contents) + 1))


@asynccontextmanager
async def cut_pubsub(redis_url: str, pid: int) -> AsyncIterator[None]:
    """Kill a program's PubSub connections again and again while inside."""
    cut, enough = asyncio.Event(), asyncio.Event()

    async def kill() -> None:
        async with Redis.from_url(redis_url) as server:
            while not enough.is_set():
                ports = {str(one.laddr.port) for one in psutil.Process(pid).net_connections("tcp") if one.laddr}
                for client in await server.client_list():
                    if int(client["sub"]) and client["addr"].rsplit(":", 1)[1] in ports:
                        await _kill(server, client["id"])
                cut.set()
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kill())
        await cut.wait()
        try:
            yield
        finally:
            enough.set()


async def _kill(server: Redis, client_id: str) -> None:
    try:
        await server.client_kill_filter(_id=client_id)
    except redis.exceptions.ResponseError:
        return  # it went by itself meanwhile
