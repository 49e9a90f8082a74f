"""Who gets a record, by its type, by the registry's answers, and without them."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from job import locator as module
from job.dispatcher import Dispatcher
from job.locator import Locator
from job.record import OFFLINE, PendingRecord
from protos.job_pb2 import PushMsg
from tests.unit.job.fakes import Finished, source

ROOM, PUSH, BROADCAST = PushMsg.ROOM, PushMsg.PUSH, PushMsg.BROADCAST


class FakePusher:
    """Notes what it is given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[Any] = []

    def push_room(self, record: PendingRecord) -> None:
        """To its room."""
        self.got.append(record.offset)

    def push_single(self, record: PendingRecord, keys: list[str]) -> None:
        """To users, or everybody."""
        self.got.append((record.offset, keys))


class World:
    """The registry, the directory and the fleet in one: nodes, of which some are known yet."""

    def __init__(self) -> None:
        self.pushers = {name: FakePusher(name) for name in "abc"}
        self.known = {"a", "b"}
        self.stand_in = FakePusher("stand-in")
        self.rooms = {"red": ["a"], "both": ["a", "b"], "late": ["c"], "ghostly": ["dead", "b"]}
        self.users = {"1": ["a"], "2": ["a", "b"], "3": ["dead"]}
        self.asked: list[list[str]] = []
        self.blind = False
        self.away = False
        self.refreshed = 0

    # The fleet.

    @property
    def registered(self) -> bool:
        """Whether any node is known."""
        return bool(self.known)

    @property
    def everyone(self) -> list[FakePusher]:
        """All that are known, or the stand-in."""
        return [self.pushers[name] for name in sorted(self.known)] or [self.stand_in]

    def get(self, name: str) -> FakePusher | None:
        """Return one that is known."""
        return self.pushers[name] if name in self.known else None

    # The directory.

    async def refresh(self) -> None:
        """Ask."""
        self.refreshed += 1

    async def refresh_if_old(self) -> None:
        """Ask, and find whoever lives."""
        self.known |= self.pushers.keys()

    async def look_for(self, names: Collection[str]) -> None:
        """Find whoever lives."""
        self.known |= set(names) & self.pushers.keys()

    def lose(self, _error: BaseException) -> None:
        """Redis is away."""
        self.blind = True

    # The registry.

    async def serving(self, rooms: list[str]) -> list[list[str]]:
        """Who serves the rooms."""
        return self._answer(rooms, self.rooms)

    async def locate(self, users: list[str]) -> list[list[str]]:
        """Where the users are."""
        return self._answer(users, self.users)

    def _answer(self, names: list[str], found: dict[str, list[str]]) -> list[list[str]]:
        self.asked.append(sorted(names))
        if self.away:
            raise RedisConnectionError("gone")
        return [found.get(name, []) for name in names]

    def got(self) -> dict[str, list[Any]]:
        """What each was given."""
        given = {name: pusher.got for name, pusher in self.pushers.items() if pusher.got}
        return given | ({"stand-in": self.stand_in.got} if self.stand_in.got else {})


@pytest.fixture
def world() -> World:
    """Nodes a and b are known, c lives, too."""
    return World()


@pytest.fixture
def finished() -> Finished:
    """Records that are done with."""
    return Finished()


Dispatch = Callable[..., Any]


@pytest.fixture
def dispatch(world: World, finished: Finished) -> Dispatch:
    """Dispatch PushMsgs given by their fields, numbered in order."""
    fakes: Any = world
    dispatcher = Dispatcher(Locator(fakes, fakes, fakes), fakes)

    async def dispatch(*messages: dict[str, Any]) -> list[PendingRecord]:
        records = []
        for offset, fields in enumerate(messages):
            record = PendingRecord(offset, 0, 0, finished)
            record.decode(source(offset, msg=b"x", **fields))
            records.append(record)
        await dispatcher.dispatch(records)
        return records

    return dispatch


async def test_rooms_go_to_the_nodes_that_serve_them(world: World, dispatch: Dispatch, finished: Finished) -> None:
    """In order, each once a node; to nobody: offline."""
    records = await dispatch(*({"type": ROOM, "room": room} for room in ("red", "both", "red", "nobody")))
    assert world.got() == {"a": [0, 1, 2], "b": [1]}
    assert [record.outstanding for record in records] == [1, 2, 1, 0]
    assert (finished.offsets, finished.results) == ([3], [OFFLINE])


async def test_a_batch_asks_once_for_all_rooms_and_once_for_all_users(world: World, dispatch: Dispatch) -> None:
    """Each name once."""
    await dispatch(
        {"type": ROOM, "room": "red"},
        {"type": PUSH, "keys": ["1", "2"]},
        {"type": ROOM, "room": "both"},
        {"type": PUSH, "keys": ["2"]},
        {"type": ROOM, "room": "red"},
    )
    assert world.asked == [["both", "red"], ["1", "2"]]


async def test_very_many_users_are_asked_for_in_parts(
    world: World, dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline of a hundred thousand would hold up everything else."""
    monkeypatch.setattr(module, "PIPELINE", 2)
    await dispatch({"type": PUSH, "keys": ["1", "2", "3", "4", "5"]})
    assert [len(asked) for asked in world.asked] == [2, 2, 1]
    assert world.got()["b"] == [(0, ["2"])]


async def test_users_are_pushed_to_where_they_are_with_only_the_ids_that_are_there(
    world: World, dispatch: Dispatch, finished: Finished
) -> None:
    """An id named twice counts once; if none is online the record is offline."""
    await dispatch({"type": PUSH, "keys": ["2", "1", "9", "2"]}, {"type": PUSH, "keys": ["3", "9"]})
    assert world.got() == {"a": [(0, ["2", "1"])], "b": [(0, ["2"])]}
    assert (finished.offsets, finished.results) == ([1], [OFFLINE])


async def test_a_broadcast_goes_to_all_and_a_server_gets_its_own_only(
    world: World, dispatch: Dispatch, finished: Finished
) -> None:
    """Whatever the type; a server that is gone: offline."""
    await dispatch(
        {"type": BROADCAST},
        {"type": BROADCAST, "server": "b"},
        {"type": ROOM, "room": "red", "server": "b"},
        {"type": PUSH, "keys": ["1", "9"], "server": "b"},
        {"type": BROADCAST, "server": "gone"},
        {"type": ROOM, "room": "red", "server": "c"},
    )
    # c was found before anything was given away, so the broadcast reaches it, too.
    assert world.got() == {"a": [(0, [])], "b": [(0, []), (1, []), 2, (3, ["1", "9"])], "c": [(0, []), 5]}
    assert finished.offsets == [4]
    assert world.asked == []


async def test_a_node_not_seen_yet_is_looked_for_and_a_dead_one_is_nobody(world: World, dispatch: Dispatch) -> None:
    """The directory is asked before the record is given away."""
    await dispatch({"type": ROOM, "room": "late"}, {"type": ROOM, "room": "ghostly"})
    assert world.got() == {"c": [0], "b": [1]}


async def test_a_broadcast_reaches_a_node_that_just_came(world: World, dispatch: Dispatch) -> None:
    """What is for everybody has no room or user whose place would name the node: the directory is asked."""
    await dispatch({"type": BROADCAST})
    assert world.got() == {"a": [(0, [])], "b": [(0, [])], "c": [(0, [])]}


async def test_with_no_node_registered_all_goes_to_the_stand_ins(world: World, dispatch: Dispatch) -> None:
    """After another look, as the first may just have come. Whom `server` means is not known then."""
    world.known = set()
    await dispatch({"type": ROOM, "room": "red", "server": "x"}, {"type": PUSH, "keys": ["1"]}, {"type": BROADCAST})
    assert world.refreshed == 1
    assert world.got() == {"stand-in": [0, (1, ["1"]), (2, [])]}


async def test_without_redis_all_nodes_get_it(world: World, dispatch: Dispatch) -> None:
    """The first failure is enough: later batches don't wait for Redis to fail once more."""
    world.away = True
    await dispatch({"type": ROOM, "room": "red"}, {"type": PUSH, "keys": ["1"], "server": "b"})
    assert world.got() == {"a": [0], "b": [0, (1, ["1"])]}
    await dispatch({"type": ROOM, "room": "red"})
    assert len(world.asked) == 1


async def test_what_serves_a_room_is_kept_for_a_moment_but_not_that_nobody_does(
    world: World, dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a busy room costs no question a batch, and a room's first member is found at once."""
    await dispatch({"type": ROOM, "room": "red"}, {"type": ROOM, "room": "empty"})
    world.rooms["empty"] = ["b"]
    await dispatch({"type": ROOM, "room": "red"}, {"type": ROOM, "room": "empty"})
    assert world.asked == [["empty", "red"], ["empty"]]
    assert world.got() == {"a": [0, 0], "b": [1]}
    del world.pushers["a"]  # it died: what was kept does not bring it back
    world.known.discard("a")
    await dispatch({"type": ROOM, "room": "red"})
    assert world.got() == {"b": [1]}
    assert len(world.asked) == 2
    monkeypatch.setattr("job.locator.time.monotonic", lambda: float("inf"))
    await dispatch({"type": ROOM, "room": "red"})
    assert world.asked[-1] == ["red"]
