"""The registry: which nodes live, which rooms and users each serves, as far as living nodes say."""

import asyncio

import pytest
from redis.asyncio import Redis

from common import keys
from common.envelope import User
from common.registry import LIFE_S, LISTED_USERS, USER_TTL_S, Node, Registry, RoomPresence
from common.store import Store
from tests.support.shards import SHARDS

TTL_S = 1000


@pytest.fixture
def registry(redis: Redis) -> Registry:
    """All nodes' entries."""
    return Registry(redis, SHARDS)


async def live(registry: Registry, *names: str) -> None:
    """Let nodes come to life."""
    for name in names:
        await registry.renew(Node(name, f"{name}:50051", 2, 3), first=True)


# -- nodes ---------------------------------------------------------------------------------------------------------


async def test_a_node_lives_while_it_renews(registry: Registry, redis: Redis) -> None:
    """Its entry tells where it answers, and expires by itself."""
    await live(registry, "a", "b")
    assert await registry.renew(Node("a", "a:1", 5, 6, forwards=False), first=False)
    assert await registry.nodes() == {"a": Node("a", "a:1", 5, 6, forwards=False), "b": Node("b", "b:50051", 2, 3)}
    assert LIFE_S - 2 <= await redis.ttl(keys.node("a")) <= LIFE_S


async def test_a_node_whose_life_ran_out_is_told(registry: Registry, redis: Redis) -> None:
    """It was presumed dead: it must come back under another name, not simply go on."""
    await live(registry, "a")
    await redis.delete(keys.node("a"))
    assert not await registry.renew(Node("a", "a:1"), first=False)
    assert await registry.nodes() == {}
    assert await registry.renew(Node("a2", "a:1"), first=True)
    assert list(await registry.nodes()) == ["a2"]


async def test_a_node_that_leaves_is_gone_at_once(registry: Registry) -> None:
    """Nobody pushes to it any more."""
    await live(registry, "a", "b")
    await registry.leave("a")
    await registry.leave("never came")
    assert list(await registry.nodes()) == ["b"]


async def test_names_of_the_dead_are_swept_away(registry: Registry, redis: Redis) -> None:
    """The list of nodes does not grow with every restart."""
    await redis.zadd(keys.NODES, {f"dead-{i}": 1000 + i for i in range(100)})
    await live(registry, "a")
    assert await redis.zrange(keys.NODES, 0, -1) == [b"a"]


async def test_without_nodes_there_are_none(registry: Registry) -> None:
    """An empty Redis is no error."""
    assert await registry.nodes() == {}
    assert await registry.serving([]) == []
    assert await registry.presence([]) == []


async def test_an_entry_of_a_later_version_is_understood(registry: Registry, redis: Redis) -> None:
    """A rolling upgrade has both at once."""
    await live(registry, "a")
    await redis.set(keys.node("a"), '{"grpc": "a:1", "load": 0.5}', ex=10)
    assert await registry.nodes() == {"a": Node("a", "a:1")}


# -- rooms and users -----------------------------------------------------------------------------------------------


async def test_rooms_and_users_are_found_at_their_nodes(registry: Registry, redis: Redis) -> None:
    """Who serves what, and no longer once it said so; what is written expires by itself."""
    both = {"r1": RoomPresence(1, [("u1", "U1")]), "r2": RoomPresence(0, [])}
    await registry.record("a", {**both}, {"u1": 1, "u2": 2}, TTL_S)
    await registry.record("b", {"r2": RoomPresence(1, [("u2", "U2")])}, {"u2": 1}, TTL_S)
    assert [sorted(found) for found in await registry.serving(["r1", "none", "r2"])] == [["a"], [], ["a", "b"]]
    assert [sorted(found) for found in await registry.locate(["u2", "none", "u1"])] == [["a", "b"], [], ["a"]]
    assert TTL_S - 5 < await redis.ttl(keys.room_keys(SHARDS.of("r1"), "r1").nodes) <= TTL_S
    assert USER_TTL_S - 5 < await redis.ttl(keys.user("u1")) <= USER_TTL_S
    await registry.record("a", {"r2": None}, {"u2": 0}, TTL_S)
    assert await registry.serving(["r1", "r2"]) == [["a"], ["b"]]
    assert await registry.locate(["u1", "u2"]) == [["a"], ["b"]]


async def test_who_is_in_a_room_is_put_together_over_living_nodes(registry: Registry) -> None:
    """A user on two nodes counts once, the dead count for nothing, and a node may leave itself out."""
    await live(registry, "a", "b")
    await registry.record("a", {"r": RoomPresence(2, [("u1", "U1"), ("u2", "U2")])}, {}, TTL_S)
    await registry.record("b", {"r": RoomPresence(2, [("u2", "U2"), ("u3", "U3")])}, {}, TTL_S)
    await registry.record("dead", {"r": RoomPresence(1, [("u4", "U4")])}, {}, TTL_S)
    found, nobody = await registry.presence(["r", "none"])
    assert (found.online, sorted(found.users)) == (3, [("u1", "U1"), ("u2", "U2"), ("u3", "U3")])
    assert (nobody.online, nobody.users) == (0, [])
    [elsewhere] = await registry.presence(["r"], without="a")
    assert (elsewhere.online, sorted(elsewhere.users)) == (2, [("u2", "U2"), ("u3", "U3")])


async def test_what_the_dead_left_in_a_room_is_removed(registry: Registry, redis: Redis) -> None:
    """By whoever looks, once they are off the list of nodes; appends would keep it alive as long as the room."""
    await live(registry, "a", "asleep")
    for name in ("a", "asleep", "dead-1", "dead-2"):
        await registry.record(name, {"r": RoomPresence(1, [(name, name)])}, {}, TTL_S)
    await redis.delete(keys.node("asleep"))
    [found] = await registry.presence(["r"])
    assert found.users == [("a", "a")]
    assert [sorted(names) for names in await registry.serving(["r"])] == [["a", "asleep"]]


async def test_who_asks_is_never_taken_for_dead(registry: Registry) -> None:
    """It may have come a moment ago, or its life may have run out while it was away: it is here all the same."""
    await registry.record("new", {"r": RoomPresence(1, [("u", "u")])}, {}, TTL_S)
    await registry.presence(["r"], without="new")
    assert await registry.serving(["r"]) == [["new"]]


async def test_only_so_many_users_are_listed_but_all_are_counted(registry: Registry) -> None:
    """A room of thousands costs a bounded answer."""
    await live(registry, "a", "b")
    for name in ("a", "b"):
        users = [(f"{name}{i}", "x") for i in range(80)]
        await registry.record(name, {"r": RoomPresence(5000, users)}, {}, TTL_S)
    [found] = await registry.presence(["r"])
    assert (found.online, len(found.users)) == (10_000, LISTED_USERS)


async def test_rooms_with_a_log_can_be_listed(registry: Registry, store: Store) -> None:
    """Whatever their names, piece by piece as SCAN gives them."""
    rooms = ["room_1", "a:b", "a:room:b", "x:meta", "ünï[*]", "{7}"]
    await asyncio.gather(*(store.append(room, User("u", "u"), ["x"]) for room in rooms))
    cursor, found = 0, set[str]()
    while True:
        cursor, some = await registry.rooms(cursor, 3)
        found.update(some)
        if not cursor:
            break
    assert found == set(rooms)
