"""The registry: which nodes live, which rooms and users each serves, as far as living nodes say."""

import asyncio

import pytest
from redis.asyncio import Redis

from common import keys
from common.envelope import User
from common.registry import DEAD_AT_ONCE, LIFE_S, LISTED_USERS, USER_TTL_S, Node, Registry, RoomPresence
from common.store import Store
from tests.support.keyspace import names_in
from tests.support.shards import SHARDS

TTL_S = 1000


@pytest.fixture
def registry(redis: Redis) -> Registry:
    """All nodes' entries."""
    return Registry(redis, SHARDS)


async def presume_dead(redis: Redis, name: str) -> None:
    """Let so much time pass that the node counts as dead."""
    await redis.delete(keys.node(name))
    await redis.zadd(keys.NODES, {name: 0})


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


async def test_names_of_the_dead_are_forgotten(registry: Registry, redis: Redis) -> None:
    """The list of nodes does not grow with every restart; whoever lives or renewed a moment ago stays on it."""
    await redis.zadd(keys.NODES, {f"dead-{i}": 1000 + i for i in range(DEAD_AT_ONCE + 1)})
    await live(registry, "a", "asleep", "long ago")
    await redis.zadd(keys.NODES, {"long ago": 1})  # which lives: its renewals could not be listed
    await redis.delete(keys.node("asleep"))
    assert await registry.dead() == [f"dead-{i}" for i in range(DEAD_AT_ONCE - 1)]
    while dead := await registry.dead():
        for name in dead:
            assert not await registry.forget(name, 10)
    assert sorted(await redis.zrange(keys.NODES, 0, -1)) == [b"a", b"asleep", b"long ago"]


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


async def test_what_the_dead_left_is_removed_step_by_step(registry: Registry, redis: Redis) -> None:
    """By several at once, each of whom may stop after any step; what others wrote into the same hashes stays."""
    await live(registry, "a", "dead")
    for name in ("a", "dead"):
        rooms: dict[str, RoomPresence | None] = {f"r{i}": RoomPresence(1, [(name, name)]) for i in range(30)}
        await registry.record(name, rooms, {f"u{i}": 1 for i in range(30)}, TTL_S)
    await registry.record("dead", {"r0": None}, {"u0": 0}, TTL_S)
    await presume_dead(redis, "dead")
    assert await registry.dead() == ["dead"]
    await registry.forget("dead", 7)
    assert TTL_S < await redis.ttl(keys.index("dead")) <= USER_TTL_S
    assert await redis.scard(keys.index("dead")) == 58 - 7
    steps = 0
    while any(await asyncio.gather(*(registry.forget("dead", 7) for _ in range(3)))):
        steps += 1
    assert 3 <= steps <= 9
    assert await names_in(redis, "dead") == []
    assert await registry.dead() == []
    assert await registry.serving([f"r{i}" for i in range(30)]) == [["a"]] * 30
    assert await registry.locate([f"u{i}" for i in range(30)]) == [["a"]] * 30


async def test_a_node_that_writes_under_the_name_of_its_past_life_is_forgotten_again(
    registry: Registry, redis: Redis
) -> None:
    """It was frozen with a write under way, which reaches Redis after the name was taken off the list."""
    await live(registry, "a", "frozen")
    await registry.record("frozen", {}, {"u": 1}, TTL_S)
    await presume_dead(redis, "frozen")
    while await registry.forget("frozen", 10):
        pass
    assert await names_in(redis, "frozen") == []
    await registry.record("frozen", {"r": RoomPresence(1, [("u", "u")])}, {"u": 1}, TTL_S)
    assert await registry.dead() == ["frozen"]
    while await registry.forget("frozen", 10):
        pass
    assert await names_in(redis, "frozen") == []


async def test_a_write_at_the_moment_of_forgetting_is_seen_by_one_of_the_two(registry: Registry, redis: Redis) -> None:
    """Whatever the order: a name with a field somewhere is on the list."""
    await live(registry, "a")
    for i in range(30):
        name = f"frozen-{i}"
        await redis.zadd(keys.NODES, {name: 0})
        await asyncio.gather(registry.forget(name, 10), registry.record(name, {}, {f"u{i}": 1}, TTL_S))
        assert await redis.zscore(keys.NODES, name) is not None
        while await registry.forget(name, 10):
            pass
        assert await names_in(redis, name) == []


async def test_a_living_node_is_never_dead_however_long_ago_it_was_listed(registry: Registry, redis: Redis) -> None:
    """Nor is one that left a moment ago: it drains, and Job may still push to it."""
    await live(registry, "a", "leaves")
    await redis.zadd(keys.NODES, {"a": 0})
    await registry.leave("leaves")
    assert await registry.dead() == []
    assert await registry.nodes() == {"a": Node("a", "a:50051", 2, 3)}


async def test_a_full_redis_can_be_cleaned(registry: Registry, redis: Redis) -> None:
    """It is then that it matters."""
    await live(registry, "a", "dead")
    await registry.record("dead", {"r": RoomPresence(1, [("u", "u")])}, {"u": 1}, TTL_S)
    await presume_dead(redis, "dead")
    await redis.config_set("maxmemory", 1)
    try:
        while await registry.forget("dead", 10):
            pass
    finally:
        await redis.config_set("maxmemory", "512mb")
    assert await names_in(redis, "dead") == []


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
