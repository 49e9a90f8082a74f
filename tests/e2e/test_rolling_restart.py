"""A rolling restart of every service under load: clients see reconnects and nothing else."""

import asyncio
import json
import secrets
from signal import SIGTERM
from typing import Any

from chatroom_client import ChatClient, Hole, Message, Reconnecting
from protos.job_pb2 import PushMsg
from testbed.chatroom_up import ChatroomUp
from tests.conftest import StackMaker
from tests.support.kafka_reader import push_msgs

CLIENTS = 6
PAUSE_S = 0.05  # between a client's messages: some 100 a second in all
RESTARTING = 1012


class Member:
    """One client: what it sent, and all that it was told."""

    def __init__(self, urls: list[str], number: int, rooms: list[str]) -> None:
        self._number = number
        self._rooms = rooms
        self.chat = ChatClient(urls, uid=f"user-{number}", rooms=rooms, trace=self._trace)
        self.acked: dict[str, list[tuple[int, str]]] = {room: [] for room in rooms}  # (seq, content)
        self.seen: dict[str, list[tuple[int, str]]] = {room: [] for room in rooms}
        self.holes: list[Hole] = []
        self.codes: list[int] = []  # with which connections ended
        self.frames: list[dict[str, Any]] = []  # `joined` and `error`, as they came
        self._changed = asyncio.Event()

    def _trace(self, direction: str, text: str) -> None:
        if direction == "in" and text.startswith(('{"type":"joined"', '{"type":"error"')):
            self.frames.append(json.loads(text))

    async def follow(self) -> None:
        """Take note of everything, until the client is closed."""
        async for event in self.chat:
            if isinstance(event, Message):
                self.seen[event.room].append((event.seq, event.content))
            elif isinstance(event, Hole):
                self.holes.append(event)
            elif isinstance(event, Reconnecting):
                self.codes.append(event.code)
            self._changed.set()

    async def talk(self, enough: asyncio.Event) -> None:
        """Send to each room in turn, each message after the ack of the one before."""
        number = 0
        while not enough.is_set():
            room, content = self._rooms[number % len(self._rooms)], f"{self._number}-{number}"
            ack = await self.chat.send(room, content)
            self.acked[room].append((ack.seq, content))
            number += 1
            await asyncio.sleep(PAUSE_S)

    async def until_seen(self, room: str, count: int) -> None:
        """Wait until so many messages of a room came."""
        async with asyncio.timeout(30):
            while len(self.seen[room]) < count:
                self._changed.clear()
                await self._changed.wait()


async def restart_all(stack: ChatroomUp) -> None:
    """SIGTERM one service after the other, and wait until it was started again and is ready."""
    for name in ("comet-0", "comet-1", "logic", "job"):
        before = len(stack.lines)
        stack.kill(name, SIGTERM)
        await asyncio.to_thread(stack.wait_ready_again, name, before)
        stack.wait_for_line(rf"^up +\| {name} ended with exit code 0", since=before)


async def test_a_rolling_restart_loses_nothing_and_clients_see_only_reconnects(make_stack: StackMaker) -> None:
    """Each message is acked, and seen by all, once and in order; Kafka has all; no hole is told and no error."""
    stack = await asyncio.to_thread(make_stack, comets=2)
    rooms = [f"room_{secrets.token_hex(4)}" for _ in range(3)]
    urls = [stack.ws_url(0), stack.ws_url(1)]
    members = [Member(urls if i % 2 else urls[::-1], i, rooms) for i in range(CLIENTS)]
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for member in members:
            await member.chat.__aenter__()
            tasks.create_task(member.follow())
        talking = [tasks.create_task(member.talk(enough)) for member in members]
        await restart_all(stack)
        enough.set()
        await asyncio.wait(talking)
        sent = {room: sorted(one for member in members for one in member.acked[room]) for room in rooms}
        for member in members:
            for room in rooms:
                await member.until_seen(room, len(sent[room]))
            await member.chat.close()
    for member in members:
        assert member.seen == sent
        assert member.holes == []
        assert set(member.codes) == {RESTARTING}
        assert [frame for frame in member.frames if frame["type"] == "error"] == []
        assert all(frame["payload"]["recovered"] for frame in member.frames)
    for room in rooms:
        assert [seq for seq, _ in sent[room]] == list(range(1, len(sent[room]) + 1))
        await kafka_has(stack, room, sent[room])
    assert "Traceback" not in "\n".join(stack.lines)


async def kafka_has(stack: ChatroomUp, room: str, sent: list[tuple[int, str]]) -> None:
    """Wait until Kafka has a room's messages; the first occurrences in their order."""

    def contents(found: list[PushMsg]) -> list[tuple[int, str]]:
        messages = [
            message for one in found if one.room == room for message in json.loads(one.msg)["payload"]["messages"]
        ]
        return list(dict.fromkeys((message["seq"], message["content"]) for message in messages))

    found = await push_msgs(stack.kafka_brokers, stack.kafka_topic, lambda found: len(contents(found)) >= len(sent))
    assert contents(found) == sent
