"""Presence: many who join at once share one look at the other nodes."""

import asyncio
import gc
from typing import Any, cast

import orjson
import pytest

from comet import presence as module
from comet.membership import Membership
from comet.presence import Presences
from comet.room import Room
from common.envelope import User
from common.registry import Registry, RoomPresence, merge
from tests.support.eventually import eventually
from tests.support.rooms import Recorder


class FakeRegistry:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.asked_rooms: set[str] = set()
        self.gate = asyncio.Event()
        self.away = False

    async def presence(self, rooms: list[str], *, without: str) -> list[RoomPresence]:
        """As Registry.presence."""
        assert without == "node-1"
        self.asked += 1
        self.asked_rooms.update(rooms)
        await self.gate.wait()
        if self.away:
            raise ConnectionError("Redis is away")
        return [RoomPresence(5, [("bob", "Bob")]) for _ in rooms]


class FakeMembership:
    """Only a name."""

    incarnation = "node-1"


def presences(rooms: dict[str, Room] | None = None) -> tuple[FakeRegistry, Presences]:
    """Return one that asks a fake."""
    registry = FakeRegistry()
    return registry, Presences(cast("Registry", registry), cast("Membership", FakeMembership()), rooms or {})


def _shown(frame: bytes) -> tuple[int, list[str]]:
    payload = orjson.loads(frame)["payload"]
    return payload["onlineCount"], sorted(user["id"] for user in payload["users"])


def joining(of: Presences, room: Room, *users: str) -> list[asyncio.Task[int]]:
    """Let users join a room, all at once."""
    return [asyncio.create_task(of.online(room, User(user, user))) for user in users]


async def settle() -> None:
    """Let all begin that was asked for."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_joins_while_it_is_looked_gets_the_same_answer() -> None:
    """Also where the first is gone by then; and for a second after."""
    registry, of = presences()
    room = Room("r")
    first, *others = joining(of, room, "alice", "carol", "bob")
    await settle()
    first.cancel()
    registry.gate.set()
    assert await asyncio.gather(*others) == [6, 5]  # Bob is on another node, too
    assert await asyncio.gather(*joining(of, room, "dave")) == [6]
    assert registry.asked == 1


async def test_a_user_on_two_nodes_is_one_entry() -> None:
    """In a frame that is asked for, and in each that is told to who watches, whatever changes meanwhile."""
    room = Room("r")
    alice, bob = Recorder("alice"), Recorder("bob")
    registry, of = presences({"r": room})
    registry.gate.set()
    room.add(bob)
    assert _shown(await of.frame("r")) == (5, ["bob"])  # 5 on the other node, Bob among them
    room.add(alice)
    assert _shown(await of.frame("r")) == (6, ["alice", "bob"])
    room.remove(bob)
    assert _shown(await of.frame("r")) == (6, ["alice", "bob"])


def test_a_user_on_two_other_nodes_is_one_entry() -> None:
    """The nodes' own counts are put together once."""
    parts = [{"online": 2, "users": [("bob", "Bob"), ("eve", "Eve")]}, {"online": 1, "users": [("bob", "Bobby")]}]
    merged = merge(parts)
    assert (merged.online, dict(merged.users)) == (2, {"bob": "Bobby", "eve": "Eve"})


async def test_who_joins_anew_is_counted_once() -> None:
    """Also where the same user is in the room with another session."""
    registry, of = presences()
    registry.gate.set()
    room = Room("r")
    room.add(Recorder("alice"))
    assert await asyncio.gather(*joining(of, room, "alice", "carol")) == [6, 7]


async def test_watchers_are_told_of_changes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the room is looked at; a room without watchers is not."""
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    room, alone = Room("r"), Room("alone")
    watcher, carol = Recorder("alice"), Recorder("carol")
    registry, of = presences({"r": room, "alone": alone})
    registry.gate.set()
    room.add(watcher)
    room.watchers.add(watcher)
    task = asyncio.create_task(of.run())
    try:
        await eventually(lambda: registry.asked > 5)
        room.add(carol)
        looked = registry.asked
        await eventually(lambda: registry.asked > looked + 5)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert [_shown(text.encode()) for text in watcher.texts] == [
        (6, ["alice", "bob"]),
        (7, ["alice", "bob", "carol"]),
    ]
    assert registry.asked_rooms == {"r"}


async def test_a_look_that_fails_fails_for_all_and_is_not_kept() -> None:
    """The next one looks again."""
    registry, of = presences()
    registry.away = True
    waiting = joining(of, Room("r"), "alice", "carol")
    await settle()
    registry.gate.set()
    found: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [ConnectionError] * 2
    registry.away = False
    assert await asyncio.gather(*joining(of, Room("r"), "alice")) == [6]
    assert registry.asked == 2


async def test_a_look_that_fails_when_nobody_waits_any_more_is_no_fault() -> None:
    """Whoever asked is gone."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    registry, of = presences()
    registry.away = True
    [asking] = joining(of, Room("r"), "alice")
    await settle()
    asking.cancel()
    registry.gate.set()
    await settle()
    del asking
    gc.collect()
    assert faults == []
