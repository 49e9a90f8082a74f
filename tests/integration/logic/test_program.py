"""`python -m logic` as an operator meets it: how it starts, logs and drains, and what its faults look like."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest
import redis

from chatroom.up.guard import Guard
from chatroom.up.ports import LOOPBACK
from common import keys
from testbed.kafka_server import KafkaServer
from testbed.ports import free_port
from testbed.service import ServiceProgram, shared_settings
from tests.support import loops
from tests.support.eventually import eventually
from tests.support.frozen import freeze
from tests.support.kafka_reader import Topic
from tests.support.logic_node import backend_send, comet_send
from tests.support.metrics import until_sample

EXIT_TIMEOUT_S = 30.0


class LogicProgram(ServiceProgram):
    """`python -m logic` with a log of JSON lines."""

    def __init__(self, guard: Guard, directory: Path, settings: Mapping[str, str]) -> None:
        super().__init__(guard, "logic", directory, {"CHAT_LOG_FORMAT": "json", **settings})

    @property
    def topic(self) -> str:
        """The topic that it produces to."""
        return self.settings["CHAT_KAFKA_TOPIC"]

    def lines(self) -> list[dict[str, object]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.splitlines()]


async def started(guard: Guard, directory: Path, kafka: KafkaServer, settings: Mapping[str, str]) -> LogicProgram:
    """Start a Logic on a topic of its own in this Kafka, which it does not check while a test freezes the broker."""
    topic = await asyncio.to_thread(kafka.create_topic)
    own = {"CHAT_KAFKA_BROKERS": kafka.brokers, "CHAT_KAFKA_TOPIC": topic, "LOGIC_CHECK_SECONDS": "60"}
    program = LogicProgram(guard, directory, {**settings, **own})
    await asyncio.to_thread(program.start)
    return program


@pytest.fixture
def settings(kafka: KafkaServer, topic: str, redis_url: str) -> dict[str, str]:
    """The settings for the worker's servers."""
    shared = shared_settings(redis_url, kafka.brokers, topic)
    return {**kafka.settings, **shared, "LOGIC_HTTP_BIND_IP": LOOPBACK}


@pytest.fixture
def program(guard: Guard, tmp_path: Path, settings: dict[str, str]) -> Iterator[LogicProgram]:
    """A Logic as a process of its own."""
    with LogicProgram(guard, tmp_path, settings) as it:
        yield it


async def test_it_logs_the_documented_words_and_ends_with_0(program: LogicProgram, records: Topic) -> None:
    """`Received POST /logic/send` and `handleSend successfully`, with room, id and seq, for sends and batches."""
    async with aiohttp.ClientSession(program.http_url) as session:
        await (await session.post("/logic/send", json=backend_send("room_a", "x"))).read()
        await (await session.post("/logic/send/batch", json={"sends": [comet_send("room_b", 5)]})).read()
    await records.records(2)
    assert await asyncio.to_thread(program.stop) == 0
    lines = program.lines()
    assert {line["service"] for line in lines} == {"logic"}
    received = [line for line in lines if str(line["event"]).startswith("Received POST /logic/send")]
    done = [line for line in lines if line["event"] == "handleSend successfully"]
    assert [line["room"] for line in received] == ["room_a", "room_b"]
    assert [(line["room"], line["seq"], line["level"]) for line in done] == [
        ("room_a", 1, "info"),
        ("room_b", 5, "info"),
    ]
    assert done[1]["id"] == "1700000000005-0"
    assert "Traceback" not in program.log


async def test_sigterm_answers_what_was_taken_and_takes_nothing_more(
    guard: Guard, tmp_path: Path, settings: dict[str, str], own_kafka: KafkaServer
) -> None:
    """A send that waits for Kafka when SIGTERM comes is acknowledged before Logic ends, with 0."""
    patient = {"LOGIC_PRODUCE_TIMEOUT_SECONDS": "30", "LOGIC_DRAIN_SECONDS": "30"}
    program = await started(guard, tmp_path, own_kafka, settings | patient)
    async with aiohttp.ClientSession(program.http_url) as session:
        freeze(own_kafka.pid)
        try:
            sent = asyncio.ensure_future(session.post("/logic/send", json=comet_send("room", 1)))
            await until_sample(program.metrics_url, "logic_produce_waiting_bytes", 1)
            ended = asyncio.ensure_future(asyncio.to_thread(program.stop))
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                while await _listens(program.health_port):
                    await asyncio.sleep(0.02)
            assert not sent.done()
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)
        async with await sent as answer:
            assert answer.status == 200
    assert await ended == 0
    async with Topic(own_kafka.brokers, program.topic) as records:
        assert len(await records.messages(1)) == 1


async def test_sigterm_under_load_loses_nothing_that_was_answered_and_answers_nothing_that_is_lost(
    guard: Guard, tmp_path: Path, settings: dict[str, str], own_kafka: KafkaServer
) -> None:
    """From Comets and from backends, while Kafka is slow: what got 200 is in Kafka, in its room's order; exit code 0.

    What came before SIGTERM is answered when Kafka goes on; nobody connects any more.
    """
    patient = {"LOGIC_PRODUCE_TIMEOUT_SECONDS": "30", "LOGIC_DRAIN_SECONDS": "30"}
    program = await started(guard, tmp_path, own_kafka, settings | patient)
    acked: dict[str, list[int]] = {f"{kind}-{number}": [] for kind in ("comet", "backend") for number in range(8)}
    loads = [asyncio.ensure_future(_keep_sending(program.http_url, room, seqs)) for room, seqs in acked.items()]
    await eventually(lambda: min(map(len, acked.values())) > 20)
    freeze(own_kafka.pid)
    try:
        await until_sample(program.metrics_url, "logic_requests_in_flight", len(loads))
        ended = asyncio.ensure_future(asyncio.to_thread(program.stop))
        async with asyncio.timeout(EXIT_TIMEOUT_S):
            while await _listens(program.health_port):
                await asyncio.sleep(0.02)
        taken = sum(map(len, acked.values()))
    finally:
        os.kill(own_kafka.pid, signal.SIGCONT)
    assert await ended == 0
    await asyncio.gather(*loads)
    assert sum(map(len, acked.values())) > taken, "what was in flight was answered"
    async with Topic(own_kafka.brokers, program.topic) as records:
        found = await records.messages(sum(map(len, acked.values())))
    for room, seqs in acked.items():
        there = list(dict.fromkeys(one.first_seq for one in found if one.room == room))
        assert there[: len(seqs)] == seqs == list(range(1, len(seqs) + 1))
    assert "Traceback" not in program.log


async def _keep_sending(url: str, room: str, acked: list[int]) -> None:
    """Send to a room, each message after the last one's 200, until Logic is gone."""
    from_comet = room.startswith("comet")
    async with aiohttp.ClientSession(url) as session:
        while True:
            seq = len(acked) + 1
            send = comet_send(room, seq) if from_comet else backend_send(room, str(seq), ref=f"{room}-{seq}")
            try:
                if from_comet:
                    async with session.post("/logic/send/batch", json={"sends": [send]}) as answer:
                        good = answer.status == 200 and (await answer.json())["status"] == "success"
                else:
                    async with session.post("/logic/send", json=send) as answer:
                        good = answer.status == 200
            except aiohttp.ClientError:
                return
            if good:
                acked.append(seq)


async def test_a_drain_ends_in_time_although_kafka_never_answers(
    guard: Guard, tmp_path: Path, settings: dict[str, str], own_kafka: KafkaServer
) -> None:
    """What hangs behind Logic holds it up no longer than `drain_seconds`, nor changes the exit code.

    Were it to wait for Kafka, it would do so longer than `stop` has patience.
    """
    hasty = {"LOGIC_PRODUCE_TIMEOUT_SECONDS": "300", "LOGIC_DRAIN_SECONDS": "3"}
    program = await started(guard, tmp_path, own_kafka, settings | hasty)
    async with aiohttp.ClientSession(program.http_url) as session:
        freeze(own_kafka.pid)
        try:
            sent = asyncio.ensure_future(session.post("/logic/send", json=comet_send("room", 1)))
            await until_sample(program.metrics_url, "logic_produce_waiting_bytes", 1)
            assert await asyncio.to_thread(program.stop) == 0
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)
        with pytest.raises(aiohttp.ClientError):
            await sent
    assert "Traceback" not in program.log


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True


def _fails(settings: Mapping[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(
        [sys.executable, "-m", "logic", *flags],
        env=environ,
        capture_output=True,
        text=True,
        timeout=EXIT_TIMEOUT_S,
        check=False,
    )


def test_another_number_of_shards_is_one_line_and_exit_1(settings: dict[str, str], redis_url: str) -> None:
    """The line says what to set."""
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.SHARDS, 8)
    done = _fails(settings | {"CHAT_SHARDS": "16"}, "--http-bind-port", str(free_port()))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "8 shards" in line
    assert "CHAT_SHARDS" in line


def test_a_redis_that_changes_its_number_of_shards_ends_it_in_one_line(program: LogicProgram, redis_url: str) -> None:
    """Exit 1, so that its supervisor starts it again: then it adopts the new number."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.get(keys.SHARDS) == b"64"
        client.set(keys.SHARDS, 8)
    loops.wait_until(lambda: program.exit_code is not None, EXIT_TIMEOUT_S, "Logic ends")
    assert program.exit_code == 1
    assert "set up with 8 shards, but this process adopted 64" in program.log.splitlines()[-1]
    assert "Traceback" not in program.log


def test_a_port_in_use_is_one_line_and_exit_1(program: LogicProgram, settings: dict[str, str]) -> None:
    """The line names the port and the setting."""
    done = _fails(settings, "--http-bind-port", str(program.health_port))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(program.health_port) in line
    assert "LOGIC_HTTP_BIND_PORT" in line


@pytest.mark.parametrize(
    ("changes", "named", "code"),
    [
        ({"LOGIC_MAX_BODY_BYTES": "many"}, "LOGIC_MAX_BODY_BYTES", 2),
        ({"LOGIC_COLOUR": "red"}, "LOGIC_COLOUR", 2),
        ({"LOGIC_MAX_CONTENT_BYTES": "1000000"}, "max_content_bytes", 2),
        ({"CHAT_KAFKA_BROKERS": "host:port"}, "CHAT_KAFKA_BROKERS", 2),
        ({"CHAT_REDIS_URL": "host:port"}, "CHAT_REDIS_URL", 2),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(
    settings: dict[str, str], changes: dict[str, str], named: str, code: int
) -> None:
    """No traceback, whichever part finds it."""
    done = _fails(settings | changes, "--http-bind-port", str(free_port()))
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert named in line
