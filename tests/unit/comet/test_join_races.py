"""Whatever races with a join, or fails during it, each message arrives once, in order, and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Unavailable
from common.positions import Position
from tests.support.fake_log import Node, running
from tests.support.joining import in_room, join, joined, once, resumed
from tests.support.rooms import Recorder


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node."""
    async with running(Node(history=5)) as it:
        yield it


@pytest.mark.parametrize("when", ["on_ask", "on_read"])
@pytest.mark.parametrize("since", [None, Position(1, 2)])
async def test_messages_that_come_while_the_stream_is_read_arrive_once(since: Position | None, when: str) -> None:
    """They are behind the answer, or in it, and the room has them before it comes."""
    async with running(Node(history=2)) as node:  # so short a ring that everybody needs the stream
        node.store.append(20)
        await in_room(node)
        setattr(node.store, when, once(lambda: [node.bring(node.store.append()) for _ in range(3)]))
        session = await resumed(node, since)
        node.bring(node.store.append())
        await node.settle()
    first = session.seqs[0]
    assert session.seqs == list(range(first, 25))
    assert first == (3 if since else joined(session)["messages"][0]["seq"])


@pytest.mark.parametrize("since", [None, Position(1, 2)])
async def test_messages_that_pubsub_lost_are_in_joined(node: Node, since: Position | None) -> None:
    """The stream is ahead of the room: the room is repaired before the session is let in."""
    node.store.append(20)
    other = await in_room(node)
    node.store.append(3)
    session = await resumed(node, since)
    if since is None:  # the ring sufficed, so nothing told of the three; the hub's check does
        await node.hub.check()
    await node.settle()
    assert session.seqs == list(range(session.seqs[0], 24))
    assert other.seqs == [21, 22, 23]


@pytest.mark.parametrize("since", [None, Position(1, 0)])
async def test_a_client_that_went_while_it_joined_is_not_in_the_room(node: Node, since: Position | None) -> None:
    """Nobody is left, so the room ends and its channel is given up."""
    node.store.append(20)
    session = Recorder()

    def go() -> None:
        session.ended = True

    node.store.on_read = go
    await join(node, session).resume(since)
    assert (session.rooms, node.hub.rooms, node.pubsub.subscribed) == ({}, {}, set())


async def test_without_redis_nobody_is_let_in(node: Node) -> None:
    """The join fails with Unavailable, leaves nothing behind, and works again with Redis."""
    node.store.away = True
    with pytest.raises(Unavailable):
        await resumed(node, None)
    assert node.hub.rooms == {}
    node.store.away = False
    assert joined(await resumed(node, None))["recovered"] is True


async def test_without_pubsub_a_room_can_be_joined(node: Node) -> None:
    """PubSub is a hint: pushes and the check of the tails carry on without it."""
    node.pubsub.away = True
    assert joined(await resumed(node, None))["recovered"] is True


async def test_many_who_join_at_once_share_one_start_of_the_room(node: Node) -> None:
    """One subscription, one read; each is let in."""
    node.store.append(3)
    sessions = await asyncio.gather(*(resumed(node, None) for _ in range(10)))
    assert node.store.reads == 1
    assert [session.seqs for session in sessions] == [[1, 2, 3]] * 10


async def test_a_room_whose_log_lost_its_tail_goes_on_in_a_new_epoch(node: Node) -> None:
    """Nobody sent since: who was in it is told, who resumes is told once, and no position runs backwards."""
    first = await in_room(node)
    for _ in range(8):
        node.bring(node.store.append(size=20_000))  # so large that the ring holds three
    await node.settle()
    node.store.restart(5)
    late = await resumed(node, Position(1, 4))
    assert (joined(late)["recovered"], joined(late)["epoch"], joined(late)["seq"], late.seqs) == (False, 2, 3, [])
    fresh = await resumed(node, None)
    assert (joined(fresh)["epoch"], joined(fresh)["seq"], fresh.seqs) == (1, 3, [1, 2, 3])
    node.bring(node.store.append())
    await node.settle()
    told = [frame["payload"] for frame in first.frames if frame["type"] == "joined"]
    assert [(one["recovered"], one["epoch"], one["seq"]) for one in told] == [(False, 2, 3)]
    assert (first.seqs, late.seqs, fresh.seqs) == ([*range(1, 9), 4], [4], [1, 2, 3, 4])


async def test_a_room_that_redis_forgot_can_still_be_joined(node: Node) -> None:
    """Nobody sent since: what the node's ring holds is shown, and the hole is told."""
    await in_room(node)
    for _ in range(8):
        node.bring(node.store.append(size=20_000))
    node.store.restart(8)
    reads = node.store.reads
    fresh = await resumed(node, None)
    late = await resumed(node, Position(1, 2))
    assert (joined(fresh)["seq"], joined(fresh)["recovered"]) == (8, True)
    assert (joined(late)["seq"], joined(late)["recovered"]) == (8, False)
    assert fresh.seqs == late.seqs == [6, 7, 8]
    assert node.store.reads - reads < 5


ACTIONS = st.lists(st.sampled_from(["nothing", "bring", "bring two", "lose", "bring late", "epoch"]), max_size=30)


@settings(max_examples=80, deadline=None)
@given(actions=ACTIONS, length=st.integers(0, 30), since=st.none() | st.integers(0, 30), known=st.booleans())
def test_whatever_races_with_joining_each_message_arrives_once_and_in_order(
    actions: list[str], length: int, since: int | None, *, known: bool
) -> None:
    """Messages come, get lost or late, and epochs begin, at every look at Redis while a session joins."""

    async def race() -> None:
        async with running(Node(history=5)) as node:
            if length:
                node.store.append(length)
            if known:
                await in_room(node)
            left, late = iter(actions), []

            def act() -> None:
                action = next(left, "nothing")
                if action == "epoch" and node.store.tail:
                    node.store.restart()
                if action in {"nothing", "epoch"}:
                    return
                appended = node.store.append(2 if action == "bring two" else 1)
                if action.startswith("bring") and action != "bring late":
                    node.bring(appended)
                elif action == "bring late":
                    late.append(appended)

            node.store.on_ask = node.store.on_read = act
            at = Position(node.store.epoch, min(since, length)) if since is not None else None
            session = await resumed(node, at)
            node.store.on_ask = node.store.on_read = lambda: None
            for appended in late:
                node.bring(appended, "push")
            node.bring(node.store.append())
            await node.hub.check()
            await node.settle()
            begin = at.seq + 1 if at else session.seqs[0]
            assert session.seqs == list(range(begin, node.store.tail + 1))
            assert joined(session)["recovered"] is True

    asyncio.run(race())
