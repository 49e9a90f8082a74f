"""Kafka or Redis away: what is refused, that nothing is stored, and that it all comes back."""

import asyncio
import os
from contextlib import ExitStack, suppress
from itertools import zip_longest

import aiohttp
import psutil
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient

from common import keys
from logic.replies import Error
from protos.job_pb2 import PushMsg
from testbed.kafka_server import KafkaServer
from testbed.redis_server import RedisServer
from tests.support.eventually import eventually
from tests.support.frozen import frozen
from tests.support.kafka_reader import Topic
from tests.support.logic_node import Answer, Logic, backend_send, comet_send, running, settings_of
from tests.support.metrics import asample, until_sample
from tests.support.shards import SHARDS


def _is_refusal(answer: Answer, code: str = "unavailable") -> bool:
    error = Error.model_validate(answer.json)
    return (answer.status, error.code) == (503, code) and int(answer.headers["Retry-After"]) > 0


async def test_with_kafka_stopped_everything_is_503_and_nothing_is_stored_until_it_returns(
    own_kafka: KafkaServer, redis_url: str
) -> None:
    """The state is known before a message is stored; when Kafka returns no restart is needed."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    settings = settings_of(own_kafka, topic, redis_url)
    async with running(settings) as logic, redis.asyncio.Redis.from_url(redis_url) as client:
        assert (await logic.post("/logic/send", backend_send("room", "before"))).status == 200
        await asyncio.to_thread(own_kafka.kill)
        assert "no broker answers" in await logic.unready("kafka")
        for path, body in (
            ("/logic/send", backend_send("other", "x", ref="r")),
            ("/logic/send", comet_send("other", 1)),
            ("/logic/send/batch", {"sends": [comet_send("other", 1), backend_send("other", "x", ref="r")]}),
            ("/logic/push", {"userIds": ["a"], "body": "x"}),
            ("/logic/broadcast", {"body": "x"}),
        ):
            assert _is_refusal(await logic.post(path, body)), path
        assert (await logic.get("/logic/rooms/other/messages")).json["messages"] == []
        assert await client.keys("chat:{*other*") == []
        assert (await logic.get("/healthz")).status == 200

        await asyncio.to_thread(own_kafka.start)
        await asyncio.to_thread(own_kafka.create_topic, topic)
        await logic.ready()
        assert (await logic.post("/logic/send", backend_send("room", "after"))).status == 200
        async with Topic(own_kafka.brokers, topic) as records:
            found = await records.messages(2 if own_kafka.durable else 1)
        assert [one.first_seq for one in found] == ([1, 2] if own_kafka.durable else [2])


async def test_a_kafka_that_hangs_gives_503_with_the_ref_and_a_retry_gets_the_first_id(
    own_kafka: KafkaServer, redis_url: str
) -> None:
    """What was stored before Kafka failed is not stored again; it reaches Kafka in the end."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    patient = {"LOGIC_PRODUCE_TIMEOUT_SECONDS": "0.5", "LOGIC_CHECK_SECONDS": "3", "LOGIC_CHECK_TIMEOUT_SECONDS": "1"}
    async with running(settings_of(own_kafka, topic, redis_url, **patient)) as logic:
        with frozen(own_kafka.pid):
            refused = await logic.post("/logic/send", backend_send("room", "x"))
            assert _is_refusal(refused)
        ref = refused.json["ref"]
        assert ref
        await logic.ready()
        again = await _insist(logic, backend_send("room", "x", ref=ref))
        assert [one["seq"] for one in again.json["messages"]] == [1]
        assert len((await logic.get("/logic/rooms/room/messages")).json["messages"]) == 1
        async with Topic(own_kafka.brokers, topic) as records:
            assert "room" in {one.room for one in await records.messages(1)}


async def _insist(logic: Logic, body: object) -> Answer:
    """Repeat a send as its client would."""
    async with asyncio.timeout(20):
        while (answer := await logic.post("/logic/send", body)).status == 503:
            await asyncio.sleep(0.1)
    assert answer.status == 200
    return answer


async def test_a_batch_that_kafka_does_not_take_is_failed_and_what_is_behind_it_skipped(
    own_kafka: KafkaServer, redis_url: str
) -> None:
    """Each room's first send is failed, its later ones skipped; a retry is produced in order."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    slow_check = {"LOGIC_PRODUCE_TIMEOUT_SECONDS": "0.5", "LOGIC_CHECK_SECONDS": "3"}
    sends = [comet_send("a", 1), comet_send("b", 1), comet_send("a", 2), comet_send("c d", 1), comet_send("a", 3)]
    async with running(settings_of(own_kafka, topic, redis_url, **slow_check)) as logic:
        with frozen(own_kafka.pid):
            answer = await logic.post("/logic/send/batch", {"sends": sends})
        assert (answer.status, answer.json["status"]) == (200, "partial")
        assert [one["status"] for one in answer.json["results"]] == [
            "failed",
            "failed",
            "skipped",
            "rejected",
            "skipped",
        ]
        await logic.ready()
        async with asyncio.timeout(20):
            while "failed" in {one["status"] for one in await _results(logic, sends)}:
                await asyncio.sleep(0.1)
        async with Topic(own_kafka.brokers, topic) as records:
            found = await records.messages(4)
    firsts = list(dict.fromkeys(one.first_seq for one in found if one.room == "a"))
    assert firsts == [1, 2, 3]


async def test_under_load_nothing_overtakes_what_kafka_did_not_take(own_kafka: KafkaServer, redis_url: str) -> None:
    """Kafka hangs twice for longer than Logic waits: batches fail in the middle, forwarders repeat, backends go on.

    A room's records come in seq order the first time, whoever sent them, and what got 200 is there.
    """
    topic = await asyncio.to_thread(own_kafka.create_topic)
    slow_check = {"LOGIC_PRODUCE_TIMEOUT_SECONDS": "0.5", "LOGIC_CHECK_SECONDS": "3"}
    async with running(settings_of(own_kafka, topic, redis_url, **slow_check)) as logic:
        forwarded = {f"comet-{number}": 150 for number in range(4)}
        acked: dict[str, list[int]] = {f"backend-{number}": [] for number in range(4)}
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            forwarding = [tasks.create_task(_forward(logic, room, most)) for room, most in forwarded.items()]
            for room, seqs in acked.items():
                tasks.create_task(_send_backend(logic, room, seqs, stop))
            for least in (10, 20):
                await eventually(lambda least=least: min(map(len, acked.values())) >= least)  # type: ignore[misc]
                with frozen(own_kafka.pid):
                    await _until_failing(logic)
                await logic.ready()
            await asyncio.wait(forwarding)
            stop.set()
        expected = {**forwarded, **{room: len(seqs) for room, seqs in acked.items()}}
        async with Topic(own_kafka.brokers, topic) as records, asyncio.timeout(30):
            firsts: dict[str, list[int]] = {}
            while not all(len(firsts.get(room, ())) >= count for room, count in expected.items()):
                firsts = _firsts(await records.messages(len(records.found) + 1))
    for room in expected:
        assert firsts[room] == list(range(1, len(firsts[room]) + 1)), room


def _firsts(found: list[PushMsg]) -> dict[str, list[int]]:
    """Return each room's seqs in the order in which they first came."""
    rooms: dict[str, dict[int, None]] = {}
    for one in found:
        rooms.setdefault(one.room, {})[one.first_seq] = None
    return {room: list(seqs) for room, seqs in rooms.items()}


async def _until_failing(logic: Logic) -> None:
    """Wait until Logic has given up what it was writing."""
    async with asyncio.timeout(20):
        while (await logic.post("/logic/broadcast", {"body": "x"})).status == 200:
            await asyncio.sleep(0.05)


async def _forward(logic: Logic, room: str, most: int) -> None:
    """Be Comet's forwarder of one room: batches from the head on, only what succeeded is removed."""
    waiting = [comet_send(room, seq) for seq in range(1, most + 1)]
    while waiting:
        answer = await logic.post("/logic/send/batch", {"sends": waiting[:5]})
        results = [one["status"] for one in answer.json["results"]] if answer.status == 200 else []
        waiting = [send for send, result in zip_longest(waiting, results[: len(waiting)]) if result != "success"]
        await asyncio.sleep(0.02)  # spreads the load, proves nothing


async def _send_backend(logic: Logic, room: str, acked: list[int], stop: asyncio.Event) -> None:
    """Be a backend: the next message after the last one's 200, repeated with its ref until then."""
    while not stop.is_set():
        body = backend_send(room, str(len(acked) + 1), ref=f"{room}-{len(acked) + 1}")
        acked += [one["seq"] for one in (await _insist(logic, body)).json["messages"]]
        await asyncio.sleep(0.02)  # spreads the load, proves nothing


async def _results(logic: Logic, sends: list[dict[str, object]]) -> list[dict[str, str]]:
    answer = await logic.post("/logic/send/batch", {"sends": sends})
    results: list[dict[str, str]] = [{"status": "failed"}] if answer.status == 503 else answer.json["results"]
    return results


async def test_with_redis_away_comets_sends_go_on_and_the_rest_is_503(
    kafka: KafkaServer, topic: str, records: Topic, own_redis: RedisServer
) -> None:
    """What needs Redis is refused at once; what needs Kafka alone is not."""
    async with running(settings_of(kafka, topic, own_redis.url)) as logic:
        await asyncio.to_thread(own_redis.kill)
        assert await logic.unready("redis")
        assert _is_refusal(await logic.post("/logic/send", backend_send("room", "x")))
        for path in ("/logic/rooms", "/logic/rooms/a/messages", "/logic/rooms/a/online", "/logic/online"):
            assert _is_refusal(await logic.get(path)), path
        assert (await logic.post("/logic/send", comet_send("room", 1))).status == 200
        mixed = {"sends": [comet_send("room", 2), backend_send("room", "x", ref="r")]}
        answer = await logic.post("/logic/send/batch", mixed)
        assert [one["status"] for one in answer.json["results"]] == ["success", "failed"]
        assert (await logic.post("/logic/broadcast", {"body": "x", "ref": "b"})).status == 200
        await asyncio.to_thread(own_redis.start)
        await logic.ready()
        assert (await logic.post("/logic/send", backend_send("room", "x"))).status == 200
    assert len(await records.messages(4)) == 4


async def test_a_redis_that_refuses_is_told_from_one_that_is_away(logic: Logic, redis_url: str) -> None:
    """503 as well, but the message names the fault that somebody else has to mend."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.set(keys.room_keys(SHARDS.of("room"), "room").stream, "no stream")
    answer = await logic.get("/logic/rooms/room/messages")
    assert _is_refusal(answer)
    assert "Redis refuses" in answer.json["message"]
    assert "WRONGTYPE" in answer.json["message"]
    assert "away" not in answer.json["message"]


async def test_it_leaves_no_connection_open_although_kafka_hangs_at_its_end(
    own_kafka: KafkaServer, redis_url: str
) -> None:
    """What gives up closing politely closes nevertheless, before Logic ends."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    hasty = {"LOGIC_CHECK_SECONDS": "30", "LOGIC_PRODUCE_TIMEOUT_SECONDS": "30", "LOGIC_DRAIN_SECONDS": "3"}
    with ExitStack() as stack:
        async with running(settings_of(own_kafka, topic, redis_url, **hasty)) as logic:
            assert _connections_to(own_kafka)
            stack.enter_context(frozen(own_kafka.pid))
            waiting = asyncio.ensure_future(logic.post("/logic/broadcast", {"body": "x"}))
            metrics = f"http://127.0.0.1:{logic.settings.http_bind_port}/metrics"
            await until_sample(metrics, "logic_produce_waiting_bytes", 1)
        assert not _connections_to(own_kafka)
    with suppress(aiohttp.ClientError):
        await waiting


def _connections_to(kafka: KafkaServer) -> list[object]:
    port = int(kafka.brokers.rpartition(":")[2])
    return [one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == port]


async def test_with_nothing_there_at_the_start_it_waits_and_says_for_what(
    own_kafka: KafkaServer, own_redis: RedisServer
) -> None:
    """Neither Kafka nor Redis need to be there first."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    await asyncio.to_thread(own_kafka.kill)
    await asyncio.to_thread(own_redis.kill)
    async with running(settings_of(own_kafka, topic, own_redis.url), ready=False) as logic:
        assert "no broker answers at 127.0.0.1" in await logic.unready("kafka")
        assert await logic.unready("redis")
        assert _is_refusal(await logic.post("/logic/send", comet_send("room", 1)))
        assert _is_refusal(await logic.get("/logic/rooms/room/messages"))  # nobody knows yet in which shard
        await asyncio.to_thread(own_redis.start)
        await asyncio.to_thread(own_kafka.start)
        await asyncio.to_thread(own_kafka.create_topic, topic)
        await logic.ready()
        assert (await logic.post("/logic/send", backend_send("room", "x"))).status == 200


async def test_a_missing_topic_is_named_and_never_made_by_accident(kafka: KafkaServer, redis_url: str) -> None:
    """Brokers that create topics when asked for one are not asked; once somebody creates it all is well."""
    name = "not-there-yet-" + os.urandom(4).hex()
    async with running(settings_of(kafka, name, redis_url), ready=False) as logic:
        reason = await logic.unready("kafka")
        while reason == "not connected yet":
            reason = await logic.unready("kafka")
        assert f"the topic {name} does not exist: create it" in reason
        assert _is_refusal(await logic.post("/logic/send", comet_send("room", 1)))
        assert name not in await _topics(kafka)
        await asyncio.to_thread(kafka.create_topic, name)
        await logic.ready()
        assert (await logic.post("/logic/send", comet_send("room", 1))).status == 200


async def _topics(kafka: KafkaServer) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.brokers)
    await admin.start()
    try:
        found: list[str] = await admin.list_topics()
    finally:
        await admin.close()
    return found


async def test_past_a_bound_requests_are_refused_as_overloaded(own_kafka: KafkaServer, redis_url: str) -> None:
    """Requests in work and bytes that wait for Kafka are bounded; the newest is refused, the others go on."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    bounds = {"LOGIC_MAX_REQUESTS": "5", "LOGIC_CHECK_SECONDS": "30", "LOGIC_PRODUCE_TIMEOUT_SECONDS": "10"}
    async with running(settings_of(own_kafka, topic, redis_url, **bounds)) as logic:
        with frozen(own_kafka.pid):
            waiting = [asyncio.ensure_future(logic.post("/logic/send", comet_send(f"room_{n}", 1))) for n in range(5)]
            refused = await _until_overloaded(logic)
            assert _is_refusal(refused, "overloaded")
            assert (await logic.get("/healthz")).status == 200  # busy, and alive
            metrics = f"http://127.0.0.1:{logic.settings.http_bind_port}/metrics"
            assert await asample(metrics, "logic_overloaded_total") >= 1
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}


async def _until_overloaded(logic: Logic) -> Answer:
    async with asyncio.timeout(20):
        while (answer := await logic.get("/openapi.json")).status == 200:
            await asyncio.sleep(0.01)
    return answer


async def test_past_the_queues_bytes_sends_are_refused_as_overloaded(own_kafka: KafkaServer, redis_url: str) -> None:
    """Nothing of what is refused is stored."""
    topic = await asyncio.to_thread(own_kafka.create_topic)
    bounds = {
        "LOGIC_PRODUCE_QUEUE_BYTES": "65536",
        "LOGIC_CHECK_SECONDS": "30",
        "LOGIC_PRODUCE_TIMEOUT_SECONDS": "10",
    }
    async with running(settings_of(own_kafka, topic, redis_url, **bounds)) as logic:
        with frozen(own_kafka.pid):
            waiting = asyncio.ensure_future(logic.post("/logic/broadcast", {"body": "x" * 70_000}))
            metrics = f"http://127.0.0.1:{logic.settings.http_bind_port}/metrics"
            await until_sample(metrics, "logic_produce_waiting_bytes", 70_000)
            assert _is_refusal(await logic.post("/logic/send", backend_send("room", "x")), "overloaded")
        assert (await waiting).status == 200
        assert (await logic.get("/logic/rooms/room/messages")).json["messages"] == []


async def test_what_redis_takes_and_what_it_may_lose_are_measured(kafka: KafkaServer, own_redis: RedisServer) -> None:
    """Memory and its limit as Redis says; a setting that is weakened counts and is named, until it is mended."""
    topic = await asyncio.to_thread(kafka.create_topic)
    settings = settings_of(kafka, topic, own_redis.url)
    url = f"http://127.0.0.1:{settings.http_bind_port}/metrics"
    async with running(settings) as logic, redis.asyncio.Redis.from_url(own_redis.url) as admin:
        await admin.set("ballast", bytes(20_000_000))
        memory = await until_sample(url, "logic_redis_memory_bytes", 20_000_000)
        assert memory < await asample(url, "logic_redis_memory_limit_bytes") == 512 * 2**20
        assert await asample(url, "logic_redis_weak_settings") == 0
        await admin.config_set("appendfsync", "everysec")
        await admin.config_set("maxmemory", 0)
        await until_sample(url, "logic_redis_weak_settings", 2)
        warnings = (await logic.get("/readyz")).json["warnings"]
        assert "everysec" in warnings["redis_appendfsync"]
        assert "redis_maxmemory" in warnings
        await admin.config_set("appendfsync", "always")
        await admin.config_set("maxmemory", "512mb")

        async def mended() -> bool:
            return await asample(url, "logic_redis_weak_settings") == 0

        await eventually(mended)
        assert (await logic.get("/readyz")).json["warnings"] == {}
        await admin.execute_command("ACL", "SETUSER", "default", "-config")  # type: ignore[no-untyped-call]  # untyped in the library
        await until_sample(url, "logic_redis_weak_settings", 1)
        assert "unreadable" in (await logic.get("/readyz")).json["warnings"]["redis_config"]
