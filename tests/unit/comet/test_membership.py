"""What a node tells the registry of itself is the state of the moment, and what waits to be told is bounded."""

import asyncio
from contextlib import suppress
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


class FakeRegistry:
    """A registry that may be away."""

    def __init__(self) -> None:
        self.away = False
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


async def until(true: Any) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("hasty")
async def test_changes_that_redis_does_not_take_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound they are forgotten, and the node goes on under another name with what is true by then."""
    monkeypatch.setattr(module, "CHANGES", 100)
    registry, health, rooms = FakeRegistry(), Health(), {"there": Room("there")}
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, health)
    running = asyncio.create_task(membership.run())
    membership.came(a_session("stays"))
    membership.room_changed(rooms["there"])
    first = membership.incarnation
    await until(lambda: registry.users.get(first) == {"stays": 1})
    registry.away = True
    await until(lambda: not health.ready)
    for i in range(1000):
        session = a_session(f"user {i}")
        membership.came(session)
        membership.gone(session)
        membership.room_changed(Room(f"room {i}"))
        assert len(membership._changed_rooms) <= 102  # noqa: SLF001 - the bound is not seen from outside
        assert len(membership._changed_users) <= 102  # noqa: SLF001 - likewise
    registry.away = False
    await until(lambda: health.ready and membership.incarnation in registry.alive)
    now = membership.incarnation
    assert now != first
    await until(lambda: registry.users.get(now, {}).get("stays") == 1)
    await until(lambda: registry.rooms.get(now, {}).get("there") == RoomPresence(0, []))
    assert all(count == 0 for user, count in registry.users[now].items() if user != "stays")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.usefixtures("hasty")
async def test_a_node_with_more_rooms_than_the_bound_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is of what is gone: all that is here may change at once, and is recorded."""
    monkeypatch.setattr(module, "CHANGES", 100)
    rooms = {name: Room(name) for name in map(str, range(300))}
    registry = FakeRegistry()
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, Health())
    running, first = asyncio.create_task(membership.run()), membership.incarnation
    for room in rooms.values():
        membership.room_changed(room)
    await until(lambda: len(registry.rooms.get(first, {})) == len(rooms))
    assert membership.incarnation == first
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


@pytest.mark.usefixtures("hasty")
async def test_nothing_is_recorded_of_a_node_that_redis_does_not_know(health: Health) -> None:
    """Before it entered the registry, and when it goes on under another name: it would be taken for a dead node's."""
    registry, rooms = FakeRegistry(), {"r": Room("r")}
    membership = Membership(cast("Registry", registry), rooms, "x:1", 600, health)
    await membership.join()
    assert registry.alive == {membership.incarnation}
    membership.room_changed(rooms["r"])
    running = asyncio.create_task(membership.run())
    await until(lambda: registry.rooms.get(membership.incarnation))
    for _ in range(20):
        registry.alive.clear()  # presumed dead
        before = membership.incarnation
        await until(lambda before=before: membership.incarnation != before)
        await until(lambda: registry.rooms.get(membership.incarnation) == {"r": RoomPresence(0, [])})
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


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
