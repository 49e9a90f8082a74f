"""Reading a log: any part of it, wherever the stream is trimmed and however its ids are spread."""

import random
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from common.envelope import User
from common.positions import Position
from common.store import PAGE_BYTES, Store
from tests.support.open_store import open_store

ALICE = User("alice", "Alice")
ROOM = "room_1"
BORN_MS = 1_700_000_000_000


async def make_log(store: Store, redis: Redis, gaps_ms: Sequence[int], first: int = 1) -> None:
    """Write a log as append.lua does, each message so many ms after the one before (0: in the same ms)."""
    room = store.keys_of(ROOM)
    pipeline = redis.pipeline(transaction=False)
    ms, part = BORN_MS, 0
    for seq, gap in enumerate(gaps_ms, first):
        ms, part = (ms + gap, 0) if gap else (ms, part + 1)
        fields = {"seq": seq, "epoch": 7, "body": f'"content":"{seq}","user":{{}}}}'}
        pipeline.xadd(room.stream, fields, id=f"{ms}-{part}")  # type: ignore[arg-type]  # a dict of str is one of str or int
    run = (await redis.info("server"))["run_id"]
    pipeline.hset(room.meta, mapping={"seq": first + len(gaps_ms) - 1, "epoch": 7, "epochs": "7:1", "run": run})
    await pipeline.execute()


async def seqs(store: Store, begin: int, count: int) -> list[int]:
    """Read and return the seqs, which the messages must bear too."""
    read = await store.read(ROOM, begin, count)
    found = [entry.seq for entry in read.entries]
    assert [message["seq"] for message in orjson.loads(b"[%b]" % read.messages)] == found
    return found


async def test_any_part_of_a_log_can_be_read(store: Store, redis: Redis) -> None:
    """Near the tail, far back, in the middle of a millisecond, past the end: always `count` messages from a seq on."""
    chance = random.Random(7)  # noqa: S311 - spreads ids, the same each time
    gaps = [chance.choice([0, 0, 0, 1, 2, 1000, 1_000_000]) for _ in range(700)]
    await make_log(store, redis, gaps)
    for begin in (1, 2, 3, 99, 100, 101, 350, 500, 650, 690, 699, 700):
        for count in (1, 7, 100, 2000):
            assert await seqs(store, begin, count) == list(range(begin, min(begin + count, 701))), (begin, count)
    assert await seqs(store, 701, 10) == await seqs(store, 5000, 10) == await seqs(store, 1, 0) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=12),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 30)), min_size=10, max_size=10),
)
async def test_bisecting_finds_every_seq(
    store: Store, redis: Redis, runs: list[tuple[int, int]], places: list[tuple[float, int]]
) -> None:
    """However many messages share a millisecond, and where the head was trimmed away."""
    await redis.delete(store.keys_of(ROOM).stream)
    gaps = [0, *(gap for gap, count in runs for _ in range(count))]
    first = 1000
    await make_log(store, redis, gaps, first)
    tail = first + len(gaps) - 1
    for place, count in places:
        begin = first + round(place * len(gaps))
        assert await seqs(store, begin, count) == list(range(begin, min(begin + count, tail + 1)))
    assert await seqs(store, 1, 5) == list(range(first, min(first + 5, tail + 1)))


async def test_the_newest_are_read_by_zero(store: Store, redis: Redis) -> None:
    """`from_seq` 0 gives the last `count`, or all where there are fewer."""
    await make_log(store, redis, [1] * 30)
    assert await seqs(store, 0, 5) == [26, 27, 28, 29, 30]
    assert await seqs(store, 0, 100) == list(range(1, 31))
    assert await seqs(store, 0, 0) == []


async def test_a_read_tells_where_the_log_stands(store: Store, redis: Redis) -> None:
    """Epoch, tail, the oldest message still held and the epochs, all of the same instant."""
    empty = await store.read(ROOM, 1, 10)
    assert (empty.log.position, empty.log.first, empty.log.epochs, empty.entries) == (Position(0, 0), 1, (), [])
    await make_log(store, redis, [1] * 10, first=91)
    log = (await store.read(ROOM, 95, 2)).log
    assert (log.position, log.first, log.epochs) == (Position(7, 100), 91, ((7, 1),))
    await redis.delete(store.keys_of(ROOM).stream)
    log = (await store.read(ROOM, 95, 2)).log
    assert (log.position, log.first) == (Position(7, 100), 101)


async def test_messages_come_as_clients_see_them(store: Store) -> None:
    """A read's bursts are what PubSub carried."""
    appended = await store.append(ROOM, ALICE, ["one", "two"])
    read = await store.read(ROOM, 1, 10)
    [burst] = read.bursts()
    assert (burst.epoch, burst.first_seq, burst.count) == (appended.epoch, 1, 2)
    assert burst.messages == read.messages
    assert [message["id"] for message in orjson.loads(b"[%b]" % read.messages)] == appended.ids


async def test_a_read_is_bounded_in_bytes(store: Store) -> None:
    """As many messages as fit, from the first asked for on; always at least one, so that a reader gets on."""
    for size in (100, 100, 100, 5000, 100):
        await store.append(ROOM, ALICE, ["x" * size])
    pages, begin = [], 1
    while begin <= 5:
        read = await store.read(ROOM, begin, 10, 400)
        pages.append([entry.seq for entry in read.entries])
        begin = read.entries[-1].seq + 1
    assert pages == [[1, 2], [3], [4], [5]]
    assert len((await store.read(ROOM, 1, 10)).entries) == 5


# -- history -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "limit"), [(25, 10), (30, 10), (1, 10), (10, 10), (7, 1)])
async def test_history_is_paged_back_to_the_beginning(store: Store, redis: Redis, length: int, limit: int) -> None:
    """Each page oldest first, ending before the last one's first message; `more` is true until the last page."""
    await make_log(store, redis, [0, 0, 1] * 10 if length == 30 else [1] * length)
    before: str | None = None
    found: list[int] = []
    flags: list[bool] = []
    while not flags or flags[-1]:
        read, more = await store.history(ROOM, before, limit)
        assert len(read.entries) <= limit
        found[:0] = [entry.seq for entry in read.entries]
        flags.append(more)
        before = read.entries[0].id.decode()
    assert found == list(range(1, length + 1))
    assert len(flags) == -(-length // limit)


async def test_a_page_of_history_is_bounded_in_bytes(store: Store) -> None:
    """The newest that fit, at least one; there are more then, and paging on loses none."""
    sizes = [PAGE_BYTES // 3, PAGE_BYTES // 3, PAGE_BYTES // 2, PAGE_BYTES // 2 - 2000, PAGE_BYTES * 2, 10]
    for size in sizes:
        await store.append(ROOM, ALICE, ["x" * size])
    before: str | None = None
    pages: list[list[int]] = []
    more = True
    while more:
        read, more = await store.history(ROOM, before, 100)
        pages.append([entry.seq for entry in read.entries])
        before = read.entries[0].id.decode()
    assert pages == [[6], [5], [3, 4], [1, 2]]


async def test_history_of_a_room_without_a_log_is_empty(store: Store) -> None:
    """And so is what lies before the first message."""
    read, more = await store.history(ROOM, None, 10)
    assert (read.entries, read.log.position, more) == ([], Position(0, 0), False)
    appended = await store.append(ROOM, ALICE, ["one"])
    read, more = await store.history(ROOM, appended.ids[0], 10)
    assert (read.entries, read.log.position, more) == ([], Position(appended.epoch, 1), False)


@pytest.mark.parametrize("before", ["0-0", "000-00", "0-1", "1-0", "9999999999999999999-9999999999999999999"])
async def test_history_before_an_id_that_nobody_has(store: Store, before: str) -> None:
    """Any id is a place in the order of ids, also the first and the last one possible."""
    await store.append(ROOM, ALICE, ["one", "two"])
    read, more = await store.history(ROOM, before, 10)
    assert ([entry.seq for entry in read.entries], more) == ([1, 2] if before[0] == "9" else [], False)


# -- tails, trimming -----------------------------------------------------------------------------------------------


async def test_tails_are_asked_for_many_rooms_at_once(store: Store) -> None:
    """In the order asked, (0, 0) for a room without a log."""
    one = await store.append("one", ALICE, ["x", "y"])
    two = await store.append("two", ALICE, ["x"])
    expected = [Position(two.epoch, 1), Position(0, 0), Position(one.epoch, 2)]
    assert await store.tails(["two", "none", "one"]) == expected
    assert await store.tails([]) == []


async def test_a_log_is_trimmed_by_length(redis_url: str) -> None:
    """About `max_messages` are kept, the newest; the read tells where the log begins now."""
    async with open_store(redis_url, max_messages=200) as store:
        for _ in range(10):
            await store.append(ROOM, ALICE, ["x"] * 100)
        read = await store.read(ROOM, 1, 1000)
        assert 200 <= len(read.entries) <= 400
        assert [entry.seq for entry in read.entries] == list(range(read.log.first, 1001))


async def test_a_log_is_trimmed_by_age(store: Store, redis: Redis) -> None:
    """Messages older than `max_age_s` go with the next append."""
    await make_log(store, redis, [1] * 300)
    assert (await redis.time())[0] - 604_800 > BORN_MS / 1000
    await store.append(ROOM, ALICE, ["new"])
    read = await store.read(ROOM, 1, 1000)
    assert read.log.first > 200
    assert read.entries[-1].seq == 301
