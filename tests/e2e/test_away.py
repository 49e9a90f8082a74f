"""The whole stack while Redis or Kafka hangs: connections stay, the right ones are told, all resumes by itself."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from protos.job_pb2 import PushMsg
from testbed.chatroom_up import ChatroomUp
from testbed.kafka_server import KafkaServer
from testbed.redis_server import RedisServer
from tests.conftest import StackMaker
from tests.support.eventually import eventually
from tests.support.frozen import frozen
from tests.support.kafka_reader import push_msgs
from tests.support.metrics import asample, until_sample
from tests.support.plain_client import PlainClient, plain_client

ROOM = "room_1"
DELIVERIES = "comet_deliveries_total"
PATIENCE_S = 60.0


def ask(url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """GET, or POST the body; return status and JSON."""
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - likewise
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.loads(e.read())


async def until_reasons(stack: ChatroomUp, services: str, *, against: str = "") -> None:
    """Wait until /readyz of the services names one thing against them, or nothing."""
    urls = {"comet": stack.metrics_url(), "logic": f"{stack.logic_url}/metrics", "job": stack.job_metrics_url}
    for service in services.split():
        url = urls[service].replace("/metrics", "/readyz")

        async def as_expected() -> bool:
            status, report = await asyncio.to_thread(ask, url)  # noqa: B023 - awaited within the round
            if not against:
                return status == 200
            return status == 503 and against in json.dumps(report["reasons"]).lower()

        await eventually(as_expected, f"{service}: {against or 'ready'}", PATIENCE_S)


async def by_both_paths(stack: ChatroomUp, alice: PlainClient, bob: PlainClient, content: str) -> None:
    """Send a message; it arrives, and comes a second time by way of Kafka."""
    repeated = await asample(stack.metrics_url(), DELIVERIES, path="push", result="duplicate")
    await alice.send(ROOM, content)
    await bob.until(lambda: content in [one["content"] for one in bob.messages(ROOM)])
    await until_sample(
        stack.metrics_url(), DELIVERIES, repeated + 1, path="push", result="duplicate", timeout_s=PATIENCE_S
    )


async def in_kafka(stack: ChatroomUp, contents: list[str]) -> None:
    """Wait until Kafka has these messages of the room; the first occurrences in this order."""

    def read(found: list[PushMsg]) -> list[str]:
        return list(
            dict.fromkeys(
                message["content"]
                for one in found
                if one.room == ROOM
                for message in json.loads(one.msg)["payload"]["messages"]
            )
        )

    found = await push_msgs(stack.kafka_brokers, stack.kafka_topic, lambda found: len(read(found)) >= len(contents))
    assert read(found) == contents


@pytest.fixture
def room_for_two(make_stack: StackMaker, own_kafka: KafkaServer, own_redis: RedisServer) -> ChatroomUp:
    """A stack on a Redis and a Kafka that a test may freeze."""
    own_kafka.create_topic("away")
    return make_stack(redis=own_redis, kafka=own_kafka, environ={"CHAT_KAFKA_TOPIC": "away"})


async def test_while_kafka_hangs_clients_notice_nothing_and_backends_are_told(
    room_for_two: ChatroomUp, own_kafka: KafkaServer
) -> None:
    """Acks go on; POST /logic/send is 503 with the ref, /readyz of Logic and Job name Kafka; then Kafka gets it all."""
    stack, url = room_for_two, f"{room_for_two.ws_url()}?rooms={ROOM}"
    async with plain_client(url) as alice, plain_client(url) as bob:
        await by_both_paths(stack, alice, bob, "before")
        with frozen(own_kafka.pid):
            for i in range(20):
                await alice.send(ROOM, f"meanwhile {i}")
            await alice.until(lambda: len(alice.frames("ack")) == 21)
            body = {"roomId": ROOM, "userId": "b", "userName": "B", "ref": "r", "messages": [{"content": "x"}]}
            await until_reasons(stack, "logic job", against="kafka")
            status, answer = await asyncio.to_thread(ask, f"{stack.logic_url}/logic/send", body)
            assert (status, answer["ref"]) == (503, "r")
            await until_reasons(stack, "comet")
        await until_reasons(stack, "comet logic job")
        await by_both_paths(stack, alice, bob, "after")
        contents = ["before", *(f"meanwhile {i}" for i in range(20)), "after"]
        await bob.until_contents(ROOM, contents)
        assert alice.frames("error") == bob.frames("error") == []
        assert alice.frames("joined") == bob.frames("joined") == []
    await in_kafka(stack, contents)


async def test_a_redis_that_hangs_is_told_and_both_paths_resume(
    room_for_two: ChatroomUp, own_redis: RedisServer
) -> None:
    """Frozen past every timeout: `unavailable` with the ref, all three say why, nobody restarts, nothing is doubled."""
    stack, url = room_for_two, f"{room_for_two.ws_url()}?rooms={ROOM}"
    pids = [stack.pid_of(name) for name in ("comet", "logic", "job")]
    async with plain_client(url) as alice, plain_client(url) as bob:
        await by_both_paths(stack, alice, bob, "before")
        with frozen(own_redis.pid):
            await alice.send(ROOM, "meanwhile", ref="r")
            await until_reasons(stack, "comet logic job", against="redis")
            await alice.until(lambda: alice.frames("error"), PATIENCE_S)
            [error] = alice.frames("error")
            assert (error["code"], error["ref"]) == ("unavailable", "r")
        await until_reasons(stack, "comet logic job")
        await alice.send(ROOM, "meanwhile", ref="r")
        await alice.until(lambda: len(alice.frames("ack")) == 2)
        await by_both_paths(stack, alice, bob, "after")
        await bob.until_contents(ROOM, ["before", "meanwhile", "after"])
    assert [stack.pid_of(name) for name in ("comet", "logic", "job")] == pids
    await in_kafka(stack, ["before", "meanwhile", "after"])
