"""What a node tells the registry of itself is the state of the moment, and what waits to be told is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from comet import membership as module
from comet.membership import Membership
from comet.room import Room
from comet.session import Session
from common.envelope import User
from common.health import Health
from common.registry import Node, Registry, RoomPresence
from tests.support.eventually import eventually


class FakeRegistry:
    """A registry that may be away."""

    def __init__(self) -> None:
        self.away = False
        self.refused_records = 0  # so many writes fail
        self.alive: set[str] = set()
        self.rooms: dict[str, dict[str, RoomPresence | None]] = {}  # by incarnation
        self.users: dict[str, dict[str, int]] = {}

    async def renew(self, node: Node, *, first: bool) -> bool:
        """As Registry.renew."""
        self._answer()
        if first:
            self.alive.add(node.incarnation)
        return node.incarnation in self.alive

    async def record(self, incarnation: str, rooms: dict[str, Any], users: dict[str, int], _ttl_s: int) -> None:
        """As Registry.record."""
        self._answer()
        if self.refused_records:
            self.refused_records -= 1
            raise ConnectionError("Redis was lost")
        assert incarnation in self.alive, "others would take it for a dead node's"
        self.rooms.setdefault(incarnation, {}).update(rooms)
        self.users.setdefault(incarnation, {}).update(users)

    def _answer(self) -> None:
        if self.away:
            raise ConnectionError("Redis is away")


def a_session(user_id: str) -> Session:
    """Return the part of a session that membership uses."""
    return cast("Session", SimpleNamespace(user=User(user_id, user_id)))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits long."""
    for name in ("AGAIN_S", "AGAIN_MOST_S", "RENEW_S"):
        monkeypatch.setattr(module, name, 0.001)


@asynccontextmanager
async def running(membership: Membership) -> AsyncIterator[None]:
    """Let it tell the registry while inside. It goes on to the end."""
    task = asyncio.create_task(membership.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("hasty")
async def test_changes_that_redis_does_not_take_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound they are forgotten, and the node goes on under another name with what is true by then."""
    monkeypatch.setattr(module, "CHANGES", 100)
    registry, health, rooms = FakeRegistry(), Health(), {"there": Room("there")}
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, health)
    async with running(membership):
        membership.came(a_session("stays"))
        membership.room_changed(rooms["there"])
        first = membership.incarnation
        await eventually(lambda: registry.users.get(first) == {"stays": 1})
        registry.away = True
        await eventually(lambda: not health.ready)
        for i in range(1000):
            session = a_session(f"user {i}")
            membership.came(session)
            membership.gone(session)
            membership.room_changed(Room(f"room {i}"))
            assert len(membership._changed_rooms) <= 102  # noqa: SLF001 - the bound is not seen from outside
            assert len(membership._changed_users) <= 102  # noqa: SLF001 - likewise
        for i in range(200):
            membership.room_changed(Room(f"other room {i}"))
            assert len(membership._changed_rooms) <= 102  # noqa: SLF001 - rooms alone are bounded, too
        for i in range(200):
            session = a_session(f"other {i}")
            membership.came(session)
            membership.gone(session)
            assert len(membership._changed_users) <= 102  # noqa: SLF001 - and users alone
        registry.away = False
        await eventually(lambda: health.ready and membership.incarnation in registry.alive)
        now = membership.incarnation
        assert now != first
        await eventually(lambda: registry.users.get(now, {}).get("stays") == 1)
        await eventually(lambda: registry.rooms.get(now, {}).get("there") == RoomPresence(0, []))
        assert all(count == 0 for user, count in registry.users[now].items() if user != "stays")


@pytest.mark.usefixtures("hasty")
async def test_a_node_with_more_rooms_than_the_bound_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is of what is gone: all that is here may change at once, and is recorded."""
    monkeypatch.setattr(module, "CHANGES", 100)
    rooms = {name: Room(name) for name in map(str, range(300))}
    registry = FakeRegistry()
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, Health())
    first = membership.incarnation
    async with running(membership):
        for room in rooms.values():
            membership.room_changed(room)
        await eventually(lambda: len(registry.rooms.get(first, {})) == len(rooms))
        assert membership.incarnation == first


@pytest.mark.usefixtures("hasty")
async def test_nothing_is_recorded_of_a_node_that_redis_does_not_know(health: Health) -> None:
    """Before it entered the registry, and when it goes on under another name: it would be taken for a dead node's."""
    registry, rooms = FakeRegistry(), {"r": Room("r")}
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, health)
    await membership.join()
    assert registry.alive == {membership.incarnation}
    membership.room_changed(rooms["r"])
    async with running(membership):
        await eventually(lambda: registry.rooms.get(membership.incarnation))
        for _ in range(20):
            registry.alive.clear()  # presumed dead
            before = membership.incarnation
            await eventually(lambda: membership.incarnation != before)  # noqa: B023 - asked at once
            await eventually(lambda: registry.rooms.get(membership.incarnation) == {"r": RoomPresence(0, [])})


async def test_a_node_that_starts_over_writes_nothing_before_redis_knows_it(
    health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis knew it under the name before: until the next renewal all that it wrote would be a dead node's."""
    monkeypatch.setattr(module, "CHANGES", 5)
    registry, rooms = FakeRegistry(), {"r": Room("r")}
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, health)
    await membership.join()
    first = membership.incarnation
    async with running(membership):
        membership.room_changed(rooms["r"])
        await eventually(lambda: registry.rooms.get(first))
        for i in range(10):
            membership.room_changed(Room(f"gone {i}"))
        assert membership.incarnation != first
        for _ in range(20):
            await asyncio.sleep(0)
        assert list(registry.rooms) == [first]


@pytest.mark.usefixtures("hasty")
async def test_what_a_failed_write_was_about_is_written_again_at_once(health: Health) -> None:
    """Users as well as rooms, without waiting for the periodic rewrite."""
    registry, rooms = FakeRegistry(), {"r": Room("r")}
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, health)
    await membership.join()
    registry.refused_records = 2
    membership.came(a_session("alice"))
    membership.room_changed(rooms["r"])
    async with running(membership):
        await eventually(lambda: registry.rooms.get(membership.incarnation) == {"r": RoomPresence(0, [])})
        await eventually(lambda: registry.users.get(membership.incarnation) == {"alice": 1})
    assert registry.refused_records == 0


async def test_a_node_that_can_not_enter_the_registry_does_so_later(health: Health) -> None:
    """Redis away as it starts: it starts all the same."""
    registry = FakeRegistry()
    registry.away = True
    await Membership(cast("Registry", registry), {}, "x:1", 600, health).join()
    assert registry.alive == set()


@pytest.fixture
def health() -> Health:
    """All is well."""
    return Health()
