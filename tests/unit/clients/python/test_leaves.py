"""A request to leave a room is sent until it is answered; a `left` frame answers the oldest of its room."""

import asyncio
from typing import Any, cast

import pytest

from chatroom_client.connection import Connection
from chatroom_client.errors import Forbidden, RateLimited
from chatroom_client.leaves import LeaveRequests
from chatroom_client.pace import Pace
from chatroom_client.refs import Refs


class FakeConnection:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, kind: str, payload: dict[str, Any]) -> None:
        """As Connection.send."""
        assert kind == "leaveRoom"
        self.sent.append(payload)


class FakePace:
    """A pace that the test stops and starts."""

    is_shut = False

    def take(self) -> bool:
        """As Pace.take."""
        return not self.is_shut


class Rig:
    """The leave requests of one connection."""

    def __init__(self) -> None:
        self.connection, self.pace = FakeConnection(), FakePace()
        self.leaves = LeaveRequests(cast("Connection", self.connection), cast("Pace", self.pace), Refs())

    async def leaving(self, room: str) -> asyncio.Task[None]:
        """Begin to leave a room."""
        task = asyncio.create_task(self.leaves.leave(room, 10))
        await asyncio.sleep(0)
        return task


async def test_a_leave_without_an_answer_in_time_takes_no_later_answer() -> None:
    """The room was joined again and is left again: that is what the next `left` answers."""
    rig = Rig()
    with pytest.raises(TimeoutError):
        await rig.leaves.leave("r", 0.01)
    assert "r" not in rig.leaves
    again = await rig.leaving("r")
    rig.leaves.on_left("r")
    await asyncio.wait_for(again, 10)
    assert [one["roomId"] for one in rig.connection.sent] == ["r", "r"]


async def test_a_leave_that_is_refused_for_the_moment_is_sent_after_the_pause_with_another_ref() -> None:
    """Unless the room was joined again."""
    rig = Rig()
    tasks = [await rig.leaving("a"), await rig.leaving("b")]
    for one in list(rig.connection.sent):
        assert rig.leaves.on_error(one["ref"], RateLimited("slow down"))
    rig.pace.is_shut = True
    rig.leaves.send_held(set())
    assert len(rig.connection.sent) == 2
    rig.pace.is_shut = False
    rig.leaves.send_held({"b"})
    await asyncio.wait_for(tasks[1], 10)
    assert [one["roomId"] for one in rig.connection.sent] == ["a", "b", "a"]
    assert len({one["ref"] for one in rig.connection.sent}) == 3
    rig.leaves.on_lost()
    await asyncio.wait_for(tasks[0], 10)


async def test_a_leave_that_is_refused_for_good_raises() -> None:
    """An error that carries no ref of ours is somebody else's."""
    rig = Rig()
    task = await rig.leaving("a")
    assert not rig.leaves.on_error("other", Forbidden("no"))
    assert not rig.leaves.on_error(None, Forbidden("no"))
    assert rig.leaves.on_error(rig.connection.sent[0]["ref"], Forbidden("no"))
    with pytest.raises(Forbidden):
        await asyncio.wait_for(task, 10)


async def test_the_log_line_of_a_refused_leave_is_ascii(caplog: pytest.LogCaptureFixture) -> None:
    """The server's reason could act on a terminal."""
    rig = Rig()
    leaving = await rig.leaving("r\u202e")
    rig.leaves.on_error(rig.connection.sent[0]["ref"], Forbidden("\x9b31m" + "x" * 500))
    with pytest.raises(Forbidden):
        await leaving
    assert caplog.messages[0].isascii()
    assert caplog.messages[0].isprintable()
    assert len(caplog.messages[0]) < 500
