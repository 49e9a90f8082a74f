"""The client's events wait for one reader, in bounded number; what is dropped is told."""

import asyncio

import pytest

from chatroom_client import Disconnected, Hole, Message, Position, System, User
from chatroom_client.events import EventQueue


def message(seq: int, room: str = "r") -> Message:
    """Return a message."""
    return Message(room, 1, seq, f"1-{seq}", "x", 1, User("u", "U"), recent=False)


async def taken(events: EventQueue, count: int) -> list[object]:
    """Read so many, which wait already."""
    async with asyncio.timeout(10):
        return [await events.get() for _ in range(count)]


async def test_dropped_messages_are_told_as_one_hole_of_their_room() -> None:
    """Before the room's next message, at the position behind which messages are missing."""
    events = EventQueue(3)
    for seq in (5, 6, 7, 8):
        events.put(message(seq))
    events.put(message(1, "other"))
    assert await taken(events, 4) == [Hole("r", Position(1, 4), "unread"), message(7), message(8), message(1, "other")]


async def test_a_dropped_hole_is_told_with_its_reason() -> None:
    """What the server lost stays lost, however much is dropped behind it."""
    events = EventQueue(2)
    lost = Hole("r", Position(1, 2), "lost")
    for event in (lost, message(5), message(6), message(7)):
        events.put(event)
    assert await taken(events, 3) == [lost, message(6), message(7)]


async def test_other_events_are_dropped_without_a_hole() -> None:
    """A hole is about messages."""
    events = EventQueue(1)
    events.put(System("old"))
    events.put(System("new"))
    assert await taken(events, 1) == [System("new")]


async def test_what_waits_is_read_before_the_end() -> None:
    """The first failure is raised, again and again."""
    events = EventQueue(5)
    events.put(message(1))
    events.end(Disconnected(4003, "kicked"))
    events.end(Disconnected(1000, "closed"))
    assert await taken(events, 1) == [message(1)]
    for _ in range(2):
        with pytest.raises(Disconnected) as fault:
            await events.get()
        assert fault.value.code == 4003


def test_a_queue_holds_at_least_one() -> None:
    """Or it could tell nothing."""
    with pytest.raises(ValueError, match="at least 1"):
        EventQueue(0)
