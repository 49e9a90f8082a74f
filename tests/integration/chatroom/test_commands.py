"""`chatroom send`, `tail`, `topics` and `status` against real servers, as people run them."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from chatroom.up.guard import Guard
from common.characters import ACTING
from common.envelope import User
from protos.job_pb2 import PushMsg
from testbed.chatroom_up import ChatroomUp
from testbed.kafka_server import KafkaServer, run_aside
from testbed.ports import free_port
from testbed.program import bare_environ
from testbed.redis_server import RedisServer
from testbed.service import CometProgram
from tests.support.commands import Following, chatroom
from tests.support.open_store import open_store
from tests.support.scripted_server import scripted_server

ROOM = "lobby"
HOME, REST_OF_LINE, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"  # of a terminal: where to go, what to clear
SETTLE_S = 60.0  # at most, until what was sent is forwarded, pushed and committed


@pytest.fixture
def comet(guard: Guard, redis_url: str, tmp_path: Path) -> Iterator[CometProgram]:
    """A node on an empty Redis."""
    with CometProgram(guard, tmp_path, redis_url) as it:
        yield it


def said(lines: list[str] | tuple[str, ...] | object) -> list[str]:
    """Return what lines of `tail` say, without their times."""
    assert isinstance(lines, list)
    return [line.split("  ", 1)[1] for line in lines]


def test_what_is_sent_is_stored_and_tailed(comet: CometProgram, guard: Guard) -> None:
    """`send` prints the id of what is in the history; `-` keeps the order of the lines; `tail` goes on from there."""
    at = ["--url", comet.url]
    sent = chatroom("send", ROOM, "Grüße \x1b[31m", "--name", "Alice", "--json", *at)
    ack = json.loads(sent.stdout)
    assert (ack["room"], ack["seq"]) == (ROOM, 1)
    ids = chatroom("send", ROOM, "-", "--name", "Bob", *at, typed="one\n\ntwo\r\nthree").stdout.splitlines()
    with Following(guard, "tail", ROOM, "-n", "3", *at) as tail, Following(guard, "tail", ROOM, "--json", *at) as whole:
        assert said(tail.lines(3)) == ["Bob: one", "Bob: two", "Bob: three"]
        shown = [json.loads(line) for line in whole.lines(4)]
        assert [one["content"] for one in shown] == ["Grüße \x1b[31m", "one", "two", "three"]
        assert [one["id"] for one in shown] == [ack["id"], *ids]
        chatroom("send", ROOM, "four", "--name", "Bob", *at)
        assert said(tail.lines(1)) == ["Bob: four"]
        assert tail.interrupt() == (130, "", [])
        since = f"{shown[1]['epoch']}:{shown[1]['seq']}"
    with Following(guard, "tail", ROOM, "--since", since, *at) as later:
        assert said(later.lines(3)) == ["Bob: two", "Bob: three", "Bob: four"]


def test_nothing_that_others_wrote_acts_on_the_terminal(comet: CometProgram, guard: Guard, redis_url: str) -> None:
    """Neither a name that an earlier version took nor a content; JSON has every character of them, as an escape."""
    hostile = "\x1b[2J\x9b31m\u202eab"

    async def store() -> None:
        async with open_store(redis_url, runs=True) as it:
            await it.append(ROOM, User("u\x9b", f"Eve{hostile}"), [f"hi\r\n{hostile}"])

    asyncio.run(store())
    with Following(guard, "tail", ROOM, "--url", comet.url) as tail:
        [line] = tail.lines(1)
    assert not ACTING.search(line)
    assert line.endswith("Eve␛[2J\ufffd31m\ufffdab: hi ⏎ ␛[2J\ufffd31m\ufffdab")
    with Following(guard, "tail", ROOM, "--json", "--url", comet.url) as whole:
        [line] = whole.lines(1)
    assert not ACTING.search(line)
    assert json.loads(line)["content"] == f"hi\r\n{hostile}"


async def test_tail_prints_no_log_line_of_its_client() -> None:
    """The client warns of each malformed frame. `tail` shows its text as that of an operator, and nothing else."""
    async with scripted_server() as server:
        tailing = asyncio.create_task(
            asyncio.to_thread(chatroom, "tail", ROOM, "-n0", "--url", server.url, check=False)
        )
        peer = await server.accept()
        await peer.let_in()
        malformed = {"roomId": ROOM, "onlineCount": 1, "users": ["\u202e\x9b31m"]}
        await peer.text(json.dumps({"type": "presence", "payload": malformed}, ensure_ascii=False))
        await peer.say("error", code="\u202e", message="\x9b31m")
        await peer.close(1008)
        done = await tailing
    assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (1, 1, 1)
    assert not ACTING.search(done.stdout.rstrip("\n") + done.stderr.rstrip("\n"))
    assert "1008 as scripted): check --url and --token" in done.stderr


def test_tail_shows_each_message_once_over_a_restart(comet: CometProgram, guard: Guard) -> None:
    """And tells on standard error that the connection was lost. A history longer than a page is whole."""
    many = "\n".join(f"m{i}" for i in range(150))
    chatroom("send", ROOM, "-", "--name", "Bob", "--url", comet.url, typed=many)
    with Following(guard, "tail", ROOM, "-n", "120", "--url", comet.url) as tail:
        assert said(tail.lines(120)) == [f"Bob: m{i}" for i in range(30, 150)]
        comet.kill()
        comet.start()
        chatroom("send", ROOM, "after", "--name", "Bob", "--url", comet.url)
        assert said(tail.lines(1)) == ["Bob: after"]
        code, told, more = tail.interrupt()
    assert (code, more) == (130, [])
    assert told.startswith("connection lost (1006")


def test_tail_counts_the_messages_of_all_epochs(own_redis: RedisServer, guard: Guard, tmp_path: Path) -> None:
    """After Redis was restarted the room goes on in a new epoch, and `-n 2` still shows two messages, then new ones."""
    with CometProgram(guard, tmp_path, own_redis.url) as comet:
        at = ["--url", comet.url]
        chatroom("send", ROOM, "-", "--name", "Bob", *at, typed="one\ntwo\nthree")
        own_redis.kill()
        own_redis.start()
        chatroom("send", ROOM, "-", "--name", "Bob", *at, typed="four\nfive\nsix")
        with (
            Following(guard, "tail", ROOM, "-n", "2", *at) as two,
            Following(guard, "tail", ROOM, "-n", "5", *at) as five,
        ):
            assert said(two.lines(2)) == ["Bob: five", "Bob: six"]
            assert said(five.lines(5)) == ["Bob: two", "Bob: three", "Bob: four", "Bob: five", "Bob: six"]
            chatroom("send", ROOM, "new", "--name", "Bob", *at)
            assert [said(one.lines(1)) for one in (two, five)] == [["Bob: new"]] * 2


def test_a_position_that_never_was_is_told_as_a_hole(comet: CometProgram, guard: Guard) -> None:
    """Not passed over in silence."""
    chatroom("send", ROOM, "hi", "--name", "Bob", "--url", comet.url)
    with Following(guard, "tail", ROOM, "--since", "1:99", "--url", comet.url) as tail:
        assert tail.lines(1) == ["-- messages are missing here: the server no longer has them --"]


def test_the_same_ref_is_stored_once_and_a_refusal_is_one_line(comet: CometProgram) -> None:
    """So a script may send again what it is not sure of; with the server's own reason, and exit code 1."""
    at = ["--url", comet.url]
    first, again = (chatroom("send", ROOM, "hi", "--uid", "u1", "--ref", "mine", *at).stdout for _ in range(2))
    assert first == again
    for arguments, told in (
        (["send", "no room", "hi"], "not sent: roomId holds U+0020 SPACE at position 3"),
        (["send", "r" * 129, "hi"], "not sent: roomId must be a string of 1 to 128 characters without spaces"),
        (["send", ROOM, "other", "--uid", "u1", "--ref", "mine"], "not sent: ref was used for other contents before"),
        (["send", ROOM, "hi", "--uid", "a\u200bb"], "1008 uid holds U+200B ZERO WIDTH SPACE at position 2"),
        (["send", ROOM, "hi", "--name", "\u202ex"], "1008 name holds U+202E RIGHT-TO-LEFT OVERRIDE at position 1"),
        (["send", ROOM, ""], "not sent: content must be a string that is not empty"),
        (["tail", "no room"], "can't follow no room: roomId holds U+0020 SPACE"),
        (["tail", "no\x1b[2Jroom"], "can't follow no␛[2Jroom: roomId holds U+001B (a control character)"),
    ):
        done = chatroom(*arguments, *at, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert told in done.stderr
        assert "--token" not in done.stderr, "the URL and the token are right"


@pytest.mark.parametrize("command", [["send", ROOM, "hi"], ["tail", ROOM]])
def test_a_server_that_is_away_is_one_line(command: list[str]) -> None:
    """At once, and it says what to do."""
    done = chatroom(*command, "--url", f"ws://127.0.0.1:{free_port()}/", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "start it with `chatroom up`, or name another with --url" in done.stderr


@pytest.mark.parametrize("command", [["send", ROOM, "hi"], ["tail", ROOM]])
def test_a_server_that_is_no_chat_is_one_line(comet: CometProgram, command: list[str]) -> None:
    """The metrics' port answers, with a status that is named."""
    done = chatroom(*command, "--url", f"ws://127.0.0.1:{comet.health_port}/nothing", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "refused the WebSocket handshake with HTTP status 404" in done.stderr
    assert "check --url" in done.stderr


def test_a_reader_that_leaves_ends_tail(comet: CometProgram) -> None:
    """As `| head -1` does, though nothing more is said in the room: exit code 0 and not a word."""
    chatroom("send", ROOM, "-", "--name", "Bob", "--url", comet.url, typed="one\ntwo")
    argv = [sys.executable, "-m", "chatroom", "tail", ROOM, "--url", comet.url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=bare_environ()) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.readline().endswith("Bob: one\n")
        tail.stdout.close()
        try:
            assert tail.wait(30) == 0
        finally:
            tail.kill()
        assert tail.stderr.read() == ""


async def produce(brokers: str, topic: str, *values: bytes, **headers: bytes) -> None:
    """Write records, one after the other, in a batch each and then all in one."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, linger_ms=20)
    await producer.start()
    try:
        await producer.send_and_wait(topic, values[0], partition=0, headers=list(headers.items()))
        waiting = [
            await producer.send(topic, value, partition=0, headers=list(headers.items())) for value in values[1:]
        ]
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


def push(content: str) -> bytes:
    """Return a PushMsg to everyone."""
    return PushMsg(type=PushMsg.BROADCAST, operation=4, msg=content.encode()).SerializeToString()


def test_topics_shows_the_last_records_and_those_that_come(kafka: KafkaServer, topic: str, guard: Guard) -> None:
    """Decoded, all of a batch, the dead letters among them as soon as their topic exists."""
    at = ["--kafka", kafka.brokers, "--topic", topic]
    run_aside(produce(kafka.brokers, topic, *(push(f"m{i}") for i in range(6))))
    shown = [line.split("  ", 1)[1] for line in chatroom("topics", "-n", "4", *at).stdout.splitlines()]
    assert shown == [f"{topic}[0]@{i}  BROADCAST to everyone  m{i}" for i in range(2, 6)]
    with Following(guard, "topics", "-n", "1", "--follow", "--json", *at) as following:
        assert json.loads(following.lines(1)[0])["pushMsg"]["msg"] == "m5"
        run_aside(produce(kafka.brokers, topic, push("m6")))
        assert json.loads(following.lines(1)[0])["pushMsg"]["msg"] == "m6"
        kafka.create_topic(f"{topic}.dlq")
        run_aside(produce(kafka.brokers, f"{topic}.dlq", b"\xff", reason=b"nobody can read it"))
        letter = json.loads(following.lines(1)[0])
        assert (letter["headers"], letter["value"]) == ({"reason": "nobody can read it"}, "ff")
        assert following.interrupt() == (130, "", [])
    last = chatroom("topics", "-n", "1", *at).stdout
    assert "dead letter (nobody can read it)" in last


def test_a_topic_that_is_not_there_is_one_line(kafka: KafkaServer) -> None:
    """That says what to do; and asking for a topic does not make it."""
    for _ in range(2):
        done = chatroom("topics", "--kafka", kafka.brokers, "--topic", "nobodys", check=False)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "there is no topic nobodys at" in done.stderr


def test_status_tells_of_a_whole_stack_and_of_what_is_away(stack: ChatroomUp, guard: Guard) -> None:
    """Exit code 0 while all is well, 1 when Logic is gone; with --watch again and again."""
    room = f"status-{secrets.token_hex(4)}"
    at = ["--url", stack.ws_url(), "--logic", stack.logic_url, "--job", stack.job_metrics_url.removesuffix("/metrics")]
    at += ["--redis", stack.redis_url, "--kafka", stack.kafka_brokers, "--topic", stack.kafka_topic]
    at += ["--group", stack.consumer_group]
    with Following(guard, "status", "--watch", "--every", "0.1", "--json", *at) as watching:
        before = json.loads(watching.lines(1)[0])
        chatroom("send", room, "hi", "--url", stack.ws_url())
        with Following(guard, "tail", room, "-n", "1", "--url", stack.ws_url()) as tail:
            tail.lines(1)
            deadline = time.monotonic() + SETTLE_S
            while not _settled(shown := json.loads(watching.lines(1)[0])):
                assert time.monotonic() < deadline, shown
        assert {service["state"] for service in shown["services"].values()} == {"ok"}
        assert [(node["grpc"], node["health"]) for node in shown["nodes"]] == [(stack.grpc(), "ok")]
        assert (shown["rooms"], shown["outbox"]["waiting"]) == (before["rooms"] + 1, 0)
        assert sorted(shown["lag"]["partitions"]) == ["0", "1", "2", "3"]
        assert watching.interrupt()[:2] == (130, "")
    assert chatroom("status", *at, check=False).returncode == 0
    without = [f"http://127.0.0.1:{free_port()}" if one == stack.logic_url else one for one in at]
    table = chatroom("status", *without, check=False)
    assert (table.returncode, table.stderr) == (1, "")
    assert "logic    no answer from http://127.0.0.1:" in table.stdout
    assert "job      ok" in table.stdout


def test_status_is_drawn_over_itself_on_a_terminal(guard: Guard) -> None:
    """Again and again in the same place, until Ctrl-C."""
    away = f"127.0.0.1:{free_port()}"
    at = ["--url", f"ws://{away}/", "--logic", f"http://{away}", "--job", f"http://{away}"]
    at += ["--redis", f"redis://{away}/0", "--kafka", away]
    argv = [sys.executable, "-m", "chatroom", "status", "--watch", "--every", "0.1", *at]
    ours, theirs = os.openpty()
    with subprocess.Popen(
        argv,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=bare_environ() | {"TERM": "xterm"},
        process_group=guard.group,
    ) as watching:
        try:
            shown = ""
            while shown.count(BELOW) < 3:
                shown += os.read(ours, 65_536).decode()
            watching.send_signal(signal.SIGINT)
            _, complaints = watching.communicate(timeout=30)
        finally:
            watching.kill()
            os.close(theirs)
            os.close(ours)
    assert (watching.returncode, complaints) == (130, b"")
    cleared, *looks = shown.split(HOME)
    assert cleared.startswith("\x1b[2J")
    for look in looks[:3]:
        lines = look.split("\r\n")
        assert lines[0].startswith("service  health")
        assert all(line.endswith(REST_OF_LINE) for line in lines[:-1])
        assert lines[-1].startswith(BELOW)
        assert any(line.startswith("Redis       no answer") for line in lines)


def _settled(shown: dict[str, Any]) -> bool:
    """Whether somebody is there, and the message is through: forwarded, pushed and committed."""
    return bool(shown["sessions"] and shown["healthy"] and not shown["lag"]["total"] and not shown["outbox"]["waiting"])
