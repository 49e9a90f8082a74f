"""Who joins gets exactly what was missed and then what comes: no hole and no repeat, however messages race with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comet.join import Join
from common.errors import Unavailable
from common.positions import Position
from tests.support.comet_settings import comet_settings
from tests.support.eventually import eventually
from tests.support.fake_log import Node, running
from tests.support.rooms import Recorder

CONFIG = comet_settings(join_messages=5, recovery_limit=10)


def join(node: Node, session: Recorder) -> Join:
    """Return a session's way into room_1."""
    return Join(node.hub, node.presences, session, "room_1", CONFIG)


async def resumed(node: Node, since: Position | None) -> Recorder:
    """Join and return the session."""
    session = Recorder()
    await join(node, session).resume(since)
    return session


async def in_room(node: Node) -> Recorder:
    """Let somebody else in, so that the room is live on this node."""
    session = Recorder("first")
    await join(node, session).fresh()
    session.writes.clear()
    return session


def joined(session: Recorder) -> dict[str, Any]:
    """Return the one `joined` frame, which comes before all else."""
    assert [frame["type"] for frame in session.frames].count("joined") == 1
    assert session.frames[0]["type"] == "joined"
    payload: dict[str, Any] = session.frames[0]["payload"]
    return payload


def by_epoch(session: Recorder) -> list[tuple[int, list[int]]]:
    """Return each frame's epoch and seqs, having looked whether its messages are of that epoch."""
    found = []
    for frame in session.frames:
        epoch, messages = frame["payload"]["epoch"], frame["payload"]["messages"]
        assert [one["content"] for one in messages] == [f"{epoch}:{one['seq']} " for one in messages]
        if messages:
            found.append((epoch, [one["seq"] for one in messages]))
    return found


def after(calls: int, action: Callable[[], object]) -> Callable[[], None]:
    """Do it at that call only, counted from now."""
    left = calls

    def act() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            action()

    return act


def once(action: Callable[[], object]) -> Callable[[], None]:
    """Do it at the first call only."""
    return after(1, action)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A running node."""
    async with running(Node(history=5)) as it:
        yield it


# -- without a position --------------------------------------------------------------------------------------------


async def test_a_room_without_a_log_is_joined_at_its_beginning(node: Node) -> None:
    """Position (0, 0), nothing recovered, nothing missing; the first message ever arrives."""
    session = await resumed(node, None)
    assert joined(session) == {
        "roomId": "room_1", "epoch": 0, "seq": 0, "recovered": True, "messages": [], "onlineCount": 1
    }  # fmt: skip
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [1]


async def test_joining_anew_shows_the_newest_messages(node: Node) -> None:
    """At most `join_messages`, and then what comes."""
    node.store.append(8)
    session = await resumed(node, None)
    assert (joined(session)["seq"], joined(session)["epoch"], joined(session)["recovered"]) == (8, 1, True)
    node.bring(node.store.append(2))
    await node.settle()
    assert session.seqs == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(("length", "more"), [(0, False), (5, False), (6, True)])
async def test_a_hello_tells_whether_there_are_older_messages(node: Node, length: int, more: bool) -> None:
    """`hasMoreMessages` is about what lies before the ones shown."""
    if length:
        node.store.append(length)
    text = await join(node, Recorder()).fresh()
    assert (b'"hasMoreMessages":true' in text) is more


async def test_a_room_known_to_the_node_is_joined_without_asking_redis(node: Node) -> None:
    """The ring has the newest messages."""
    await in_room(node)
    for _ in range(7):
        node.bring(node.store.append())
    reads = node.store.reads
    session = await resumed(node, None)
    assert (session.seqs, node.store.reads) == ([3, 4, 5, 6, 7], reads)


# -- with a position -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", [0, 3, 17, 20])
async def test_exactly_what_was_missed_is_replayed(node: Node, since: int) -> None:
    """From since + 1 up to the tail, from the ring or from the stream, then live."""
    node.store.append(20)
    session = await resumed(node, Position(1, since))
    assert joined(session)["recovered"] is True
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == list(range(since + 1, 22))


async def test_what_the_ring_holds_is_replayed_without_asking_redis(node: Node) -> None:
    """Most resumes after a short break cost Redis nothing."""
    await in_room(node)
    for _ in range(9):
        node.bring(node.store.append())
    reads = node.store.reads
    session = await resumed(node, Position(1, 2))
    assert (session.seqs, node.store.reads) == ([3, 4, 5, 6, 7, 8, 9], reads)
    assert (joined(session)["epoch"], joined(session)["seq"]) == (1, 9)


async def test_what_does_not_fit_into_joined_follows_before_anything_live(node: Node) -> None:
    """`recovery_limit` messages a frame, in order, each position that of the last message so far."""
    node.store.append(35)
    session = await resumed(node, Position(1, 2))
    assert (joined(session)["seq"], len(joined(session)["messages"])) == (12, 10)
    assert {frame["type"] for frame in session.frames[1:]} == {"serverMessages"}
    assert session.seqs == list(range(3, 36))


async def test_a_recovery_runs_over_an_epochs_beginning_in_frames_of_one_epoch_each(node: Node) -> None:
    """Where Redis lost nothing, seqs run on; a `joined` ends where its epoch does, and the rest follows."""
    node.store.append(4)
    for _ in range(2):
        node.store.restart()
        node.store.append(2)
    session = await resumed(node, Position(1, 2))
    assert (joined(session)["recovered"], joined(session)["epoch"], joined(session)["seq"]) == (True, 1, 4)
    assert by_epoch(session) == [(1, [3, 4]), (2, [5, 6]), (3, [7, 8])]


async def test_the_newest_messages_of_several_epochs_come_in_frames_of_one_epoch_each(node: Node) -> None:
    """Of those shown to who joins anew; and in a hello, behind which the later ones follow."""
    node.store.append(4)
    node.store.restart()
    node.store.append(2)
    session = await resumed(node, None)
    assert (joined(session)["recovered"], joined(session)["epoch"], joined(session)["seq"]) == (True, 1, 4)
    assert by_epoch(session) == [(1, [2, 3, 4]), (2, [5, 6])]
    greeted = Recorder()
    hello = orjson.loads(await join(node, greeted).fresh())
    assert ([one["seq"] for one in hello["messages"]], hello["epoch"], hello["seq"]) == ([2, 3, 4], 1, 4)
    assert by_epoch(greeted) == [(2, [5, 6])]


async def test_after_a_restart_in_which_nothing_was_sent_the_newest_messages_are_shown(node: Node) -> None:
    """Their position is recovered later as any other; one told to who resumes is of the new epoch."""
    node.store.append(8)
    node.store.restart()
    session = await resumed(node, None)
    assert (by_epoch(session), joined(session)["seq"]) == ([(1, [4, 5, 6, 7, 8])], 8)
    late = await resumed(node, Position(1, 8))
    assert (joined(late)["recovered"], joined(late)["epoch"], joined(late)["seq"], late.seqs) == (True, 2, 8, [])


@pytest.mark.parametrize(
    ("since", "why"),
    [
        (Position(1, 3), "trimmed"),
        (Position(1, 21), "above the tail"),
        (Position(9, 15), "of no known epoch"),
        (Position(1, 18), "lost with Redis's tail"),
    ],
)
async def test_what_cannot_be_recovered_is_told(node: Node, since: Position, why: str) -> None:
    """`recovered: false` with the newest messages of the present epoch, and live from there."""
    assert why
    node.store.append(18)
    node.store.restart(lost=2)
    node.store.append(4)
    node.store.trim(before=10)
    session = await resumed(node, since)
    assert (joined(session)["recovered"], joined(session)["epoch"], joined(session)["seq"]) == (False, 2, 20)
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs == [17, 18, 19, 20, 21]


async def test_a_log_trimmed_while_it_is_replayed_is_told(node: Node) -> None:
    """Part is sent already, so a second `joined` says that there is a hole, and the session is in the room."""
    node.store.append(30)
    await in_room(node)
    node.store.on_read = once(lambda: node.store.trim(before=20))
    session = Recorder("late")
    await join(node, session).resume(Position(1, 2))
    told = [frame["payload"]["recovered"] for frame in session.frames if frame["type"] == "joined"]
    assert (told, session.seqs) == ([True, False], [*range(3, 13), *range(26, 31)])
    node.bring(node.store.append())
    await node.settle()
    assert session.seqs[-1] == 31


async def test_once_joined_is_out_redis_is_waited_for(node: Node) -> None:
    """The client takes itself to be in the room, so an error now would leave it outside without knowing."""
    node.store.append(30)
    session = Recorder()
    node.store.on_ask = after(3, lambda: setattr(node.store, "away", True))
    joining = asyncio.create_task(join(node, session).resume(Position(1, 2)))
    await eventually(lambda: node.store.reads > 4)
    assert (session.seqs, joining.done()) == (list(range(3, 13)), False)
    node.store.away = False
    await joining
    assert session.seqs == list(range(3, 31))


async def test_a_client_that_goes_while_redis_is_waited_for_ends_its_join(node: Node) -> None:
    """Nobody is left to wait for."""
    node.store.append(30)
    session = Recorder()
    node.store.on_ask = after(3, lambda: setattr(node.store, "away", True))
    joining = asyncio.create_task(join(node, session).resume(Position(1, 2)))
    await eventually(lambda: session.seqs)
    session.ended = True
    with pytest.raises(ConnectionError):
        await joining
    assert node.hub.rooms == {}


async def test_however_many_pieces_it_takes_everything_missed_is_replayed() -> None:
    """A recovery that was begun has no bound but the log's own."""
    async with running(Node(history=5)) as node:
        node.store.append(2500)
        session = Recorder()
        config = comet_settings(recovery_limit=1)
        await Join(node.hub, node.presences, session, "room_1", config).resume(Position(1, 0))
    assert session.seqs == list(range(1, 2501))
    assert {len(frame["payload"]["messages"]) for frame in session.frames[:2400]} == {1}


# -- races ---------------------------------------------------------------------------------------------------------


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


async def test_a_client_that_went_while_it_joined_is_not_in_the_room(node: Node) -> None:
    """Nobody is left, so the room ends and its channel is given up."""
    node.store.append(20)
    session = Recorder()

    def go() -> None:
        session.ended = True

    node.store.on_read = go
    await join(node, session).resume(Position(1, 0))
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
